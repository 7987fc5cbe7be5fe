// Package mysql is the first boot of a MySQL or MariaDB server: its certificate, the address that it listens on, the
// application's account, and the rows that an instance which gives up its data counts for the next one. It is the setup
// that package mysqlsetup names, and knows nothing of tiers but what firstboot tells it.
package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/procfs"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/firstboot"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/mysqlsetup"
)

// user is the server's user and group, of both flavors.
const user = "mysql"

type server struct{ mysqlsetup.Settings }

// New is the setup with these settings.
func New(settings json.RawMessage) (firstboot.Setup, error) {
	var s server
	if err := json.Unmarshal(settings, &s.Settings); err != nil {
		return nil, err
	}
	if s.Flavor != "mysql" && s.Flavor != "mariadb" {
		return nil, fmt.Errorf("flavor %q: mysql or mariadb is needed", s.Flavor)
	}
	return &s, nil
}

// Prepare sets the address that the server listens on, and makes its key and certificate.
func (s *server) Prepare(_ context.Context, b firstboot.Boot) error {
	if err := strong(b.Secret("", mysqlsetup.PasswordParameter), s.Username); err != nil {
		return fmt.Errorf(
			"take the application's password from parameter %s/%s/%s: %w; put another one there for all tiers",
			b.Settings.Parameters,
			b.Settings.Tier,
			mysqlsetup.PasswordParameter,
			err,
		)
	}
	uid, gid, err := firstboot.UserIDs(user)
	if err != nil {
		return err
	}
	if s.Bind {
		if err = bindTo(s.Config, b.Identity.Address(), gid); err != nil {
			return err
		}
	}
	if err = s.renewID(); err != nil {
		return err
	}
	certificate, key, err := firstboot.SignedCertificate(b.Secret("", mysqlsetup.CAParameter),
		b.Secret("", mysqlsetup.CAKeyParameter), b.Identity)
	if err != nil {
		return err
	}
	pool, err := s.bufferPool()
	if err != nil {
		return err
	}
	config := "# Made at boot.\n[mysqld]\n" + s.transport() + pool
	return errors.Join(
		firstboot.WriteFile(mysqlsetup.CertificatePath, certificate, 0o644, 0, 0),
		firstboot.WriteFile(mysqlsetup.CertificateKeyPath, key, 0o600, uid, gid),
		firstboot.WriteFile(filepath.Join(s.DropDir, instanceConfig), []byte(config), 0o640, 0, gid))
}

// transport are the settings of TLS. MySQL knows no switch for it.
func (s *server) transport() string {
	const text = "ssl_ca = %s\nssl_cert = %s\nssl_key = %s\nrequire_secure_transport = ON\n"
	settings := fmt.Sprintf(text, mysqlsetup.CAPath, mysqlsetup.CertificatePath, mysqlsetup.CertificateKeyPath)
	if s.Flavor == "mariadb" {
		settings += "ssl = ON\n"
	}
	return settings
}

// instanceConfig is the file of the settings that are the instance's own. The server reads it last.
const instanceConfig = "zz-goldsmith-instance.cnf"

// bufferPool is the line that gives the server its memory, by that of this machine: the image was baked on another.
// Where the image's configuration says how much, it is empty.
func (s *server) bufferPool() (string, error) {
	paths, err := filepath.Glob(filepath.Join(s.DropDir, "*.cnf"))
	if err != nil {
		return "", err
	}
	for _, path := range append(paths, s.Config) {
		text, readErr := os.ReadFile(path)
		if readErr != nil {
			return "", fmt.Errorf("look for the server's memory: %w", readErr)
		}
		if filepath.Base(path) != instanceConfig && poolLine.Match(text) {
			return "", nil
		}
	}
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return "", fmt.Errorf("find out the size of the memory: %w", err)
	}
	memory, err := proc.Meminfo()
	if err == nil && memory.MemTotal == nil {
		err = errors.New("/proc/meminfo has no MemTotal")
	}
	if err != nil {
		return "", fmt.Errorf("find out the size of the memory: %w", err)
	}
	return fmt.Sprintf("innodb_buffer_pool_size = %dM\n", poolMB(*memory.MemTotal)), nil
}

var poolLine = regexp.MustCompile(`(?m)^[ \t]*(?:loose[-_])?innodb[-_]buffer[-_]pool[-_]size\s*=`)

// poolMB is a quarter of the memory, no less than the servers' default and no more than 2 GiB.
func poolMB(kilobytes uint64) uint64 { return min(max(kilobytes/1024/4, 128), 2048) }

// strong tells what is wrong with a password, by the rules that the servers are configured with; their own words would
// not say which.
func strong(password, username string) error {
	var missing []string
	for _, kind := range []struct {
		name string
		has  func(rune) bool
	}{
		{"capital letter", unicode.IsUpper},
		{"character of another kind", func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }},
		{"digit", unicode.IsDigit},
		{"small letter", unicode.IsLower},
	} {
		if !strings.ContainsFunc(password, kind.has) {
			missing = append(missing, "a "+kind.name)
		}
	}
	switch {
	case utf8.RuneCountInString(password) < 14:
		return errors.New("it should have 14 characters or more")
	case len(missing) > 0:
		return fmt.Errorf("it should have %s", strings.Join(missing, " and "))
	case strings.Contains(strings.ToLower(password), strings.ToLower(username)) && len(username) > 3:
		return errors.New("it has the account's name in it")
	case strings.ContainsFunc(password, unicode.IsControl):
		return errors.New("it has a control character in it, a line's end maybe")
	}
	return nil
}

// bindTo has the server listen on an address. gid is the group that may read the configuration.
func bindTo(path, address string, gid int) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("set the address that the database listens on: %w", err)
	}
	wanted, err := mysqlsetup.SetBindAddress(text, address)
	if err != nil {
		return fmt.Errorf("set the address that the database listens on in %s: %w", path, err)
	}
	if string(wanted) == string(text) {
		return nil
	}
	return firstboot.WriteFile(path, wanted, 0o640, 0, gid)
}

// renewID has MySQL make a UUID of its own on an instance that has none yet: the image's would be the same on all.
// Which machine the data directory belongs to is kept beside it.
func (s *server) renewID() error {
	if s.Flavor != "mysql" {
		return nil
	}
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return err
	}
	note := filepath.Join(instance.StateDir, "mysql-machine-id")
	if before, err := os.ReadFile(note); err == nil && string(before) == string(machine) {
		return nil
	}
	if err := os.Remove("/var/lib/mysql/auto.cnf"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return firstboot.WriteFile(note, machine, 0o600, 0, 0)
}

var versionNumber = regexp.MustCompile(`\bVer ([0-9]+(?:\.[0-9]+)+)`)

// Server asks the server's program for its version.
func (s *server) Server(ctx context.Context) (instance.Server, error) {
	program := "mysqld"
	if s.Flavor == "mariadb" {
		program = "mariadbd"
	}
	out, err := exec.CommandContext(ctx, program, "--no-defaults", "--version").Output()
	found := versionNumber.FindSubmatch(out)
	if err != nil || found == nil {
		return instance.Server{}, fmt.Errorf("ask %s for its version: %w: %q", program, err, out)
	}
	return instance.Server{Flavor: s.Flavor, Version: string(found[1])}, nil
}
