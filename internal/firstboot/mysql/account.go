package mysql

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/firstboot"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/mysqlsetup"
)

// Start compares the rows with the counts of the instance before this one, and gives the application its account: from
// the clients' addresses only, over TLS only, and with no right but to read and write its own database's rows. Accounts
// of its name for other addresses are removed.
func (s *server) Start(ctx context.Context, i firstboot.Instance) error {
	if err := s.compareRows(ctx); err != nil {
		return err
	}
	password, err := os.ReadFile(mysqlsetup.PasswordPath)
	if err != nil {
		return fmt.Errorf("read the application's password: %w", err)
	}
	var hosts []string
	for _, client := range i.Settings.Clients {
		host, invalid := hostPattern(client)
		if invalid != nil {
			return invalid
		}
		hosts = append(hosts, host)
	}
	found, err := sql(ctx, fmt.Sprintf("SELECT host FROM mysql.user WHERE user = %s", quote(s.Username)))
	if err != nil {
		return fmt.Errorf("look for accounts of %s: %w", s.Username, err)
	}
	others := slices.DeleteFunc(strings.Fields(found), func(host string) bool { return slices.Contains(hosts, host) })
	if _, err := sql(ctx, accountStatements(s.Settings, hosts, string(password), others)); err != nil {
		return fmt.Errorf("make the account of %s: %w", s.Username, err)
	}
	return nil
}

// hostPattern is a range as MySQL's host part takes it: the network and its mask.
func hostPattern(cidr string) (string, error) {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return "", fmt.Errorf("clients: %w", err)
	}
	return prefix.Masked().Addr().String() + "/" + net.IP(net.CIDRMask(prefix.Bits(), 32)).String(), nil
}

// accountStatements bring the accounts to the wanted state from any other. Nothing of it goes into the binary log: it
// belongs to this instance.
func accountStatements(settings mysqlsetup.Settings, hosts []string, password string, others []string) string {
	username := quote(settings.Username)
	var b strings.Builder
	b.WriteString("SET sql_log_bin = 0;\n")
	for _, other := range others {
		fmt.Fprintf(&b, "DROP USER %s@%s;\n", username, quote(other))
	}
	method := "IDENTIFIED WITH caching_sha2_password BY " + quote(password)
	// The password changes with its parameter and at no other time, and each boot sets it again.
	options := "REQUIRE SSL PASSWORD EXPIRE NEVER PASSWORD HISTORY 0 PASSWORD REUSE INTERVAL 0 DAY"
	if settings.Flavor == "mariadb" {
		b.WriteString("INSTALL PLUGIN IF NOT EXISTS ed25519 SONAME 'auth_ed25519';\n")
		method = "IDENTIFIED VIA ed25519 USING PASSWORD(" + quote(password) + ")"
		options = "REQUIRE SSL PASSWORD EXPIRE NEVER"
	}
	for _, host := range hosts {
		account := username + "@" + quote(host)
		fmt.Fprintf(&b, "CREATE USER IF NOT EXISTS %s %s %s;\n", account, method, options)
		fmt.Fprintf(&b, "ALTER USER %s %s %s;\n", account, method, options)
		fmt.Fprintf(&b, "REVOKE ALL PRIVILEGES, GRANT OPTION FROM %s;\n", account)
		fmt.Fprintf(&b, "GRANT SELECT, INSERT, UPDATE, DELETE ON `%s`.* TO %s;\n", settings.Database, account)
	}
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
	cmd := exec.CommandContext(ctx, client,
		"--no-defaults", "--protocol=socket", "--user=root", "--batch", "--skip-column-names")
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
