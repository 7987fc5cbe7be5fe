package firstboot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// Account gives the application its account: from the web tier's addresses only, over TLS only, and with no right but
// to read and write its own database's rows. Accounts of its name for other addresses are removed.
func Account(ctx context.Context) error {
	s, err := readSituation()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no instance of a stack
	}
	if err != nil {
		return err
	}
	image, err := instance.ReadImage(instance.DescriptionDir)
	if err != nil || image.MySQL == nil {
		return err
	}
	if err := compareRows(ctx, *image.MySQL); err != nil {
		return err
	}
	password, err := os.ReadFile(filepath.Join(instance.RunDir, "credentials", "db_password"))
	if err != nil {
		return fmt.Errorf("read the application's password: %w", err)
	}
	host, err := hostPattern(s.Settings.ClientCIDR)
	if err != nil {
		return err
	}
	others, err := sql(ctx, fmt.Sprintf("SELECT host FROM mysql.user WHERE user = %s AND host <> %s", quote(image.MySQL.Username), quote(host)))
	if err != nil {
		return fmt.Errorf("look for accounts of %s: %w", image.MySQL.Username, err)
	}
	if _, err := sql(ctx, accountStatements(*image.MySQL, host, string(password), strings.Fields(others))); err != nil {
		return fmt.Errorf("make the account of %s: %w", image.MySQL.Username, err)
	}
	return nil
}

// hostPattern is a range as MySQL's host part takes it: the network and its mask.
func hostPattern(cidr string) (string, error) {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return "", fmt.Errorf("client_cidr: %w", err)
	}
	return prefix.Masked().Addr().String() + "/" + net.IP(net.CIDRMask(prefix.Bits(), 32)).String(), nil
}

// accountStatements make the account what it should be, whatever it was. Nothing of it goes into the binary log: it
// belongs to this instance.
func accountStatements(image instance.MySQLImage, host, password string, others []string) string {
	account := quote(image.Username) + "@" + quote(host)
	var b strings.Builder
	b.WriteString("SET sql_log_bin = 0;\n")
	for _, other := range others {
		fmt.Fprintf(&b, "DROP USER %s@%s;\n", quote(image.Username), quote(other))
	}
	method := "IDENTIFIED WITH caching_sha2_password BY " + quote(password)
	// The password changes with its parameter and at no other time, and each boot sets it again.
	options := "REQUIRE SSL PASSWORD EXPIRE NEVER PASSWORD HISTORY 0 PASSWORD REUSE INTERVAL 0 DAY"
	if image.Flavor == "mariadb" {
		b.WriteString("INSTALL PLUGIN IF NOT EXISTS ed25519 SONAME 'auth_ed25519';\n")
		method = "IDENTIFIED VIA ed25519 USING PASSWORD(" + quote(password) + ")"
		options = "REQUIRE SSL PASSWORD EXPIRE NEVER"
	}
	fmt.Fprintf(&b, "CREATE USER IF NOT EXISTS %s %s %s;\n", account, method, options)
	fmt.Fprintf(&b, "ALTER USER %s %s %s;\n", account, method, options)
	fmt.Fprintf(&b, "REVOKE ALL PRIVILEGES, GRANT OPTION FROM %s;\n", account)
	fmt.Fprintf(&b, "GRANT SELECT, INSERT, UPDATE, DELETE ON `%s`.* TO %s;\n", image.Database, account)
	return b.String()
}

// quote is a text as a string of SQL.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// sql runs statements as root over the local socket. They go in by standard input: an argument could be read by every
// process of the machine.
func sql(ctx context.Context, statements string) (string, error) {
	client := "mysql"
	if _, err := exec.LookPath("mariadb"); err == nil {
		client = "mariadb"
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, client, "--no-defaults", "--protocol=socket", "--user=root", "--batch", "--skip-column-names")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(statements), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", client, err, serverErrors(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// serverErrors are the lines of a client's output in which the server says what is wrong. The others repeat the
// statement, with a password in it maybe; so may what a syntax error quotes.
func serverErrors(stderr string) string {
	var lines []string
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "ERROR ") {
			continue
		}
		line, _, _ = strings.Cut(line, " near '")
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "; ")
}
