package firstboot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// situation is what the first boot found out; later units read it.
type situation struct {
	Settings instance.Settings `json:"settings"`
	Identity identity          `json:"identity"`
	// OwnCertificate says that the web server's certificate is one that the instance made, for its addresses; one that
	// the user gave is for names of the user's.
	OwnCertificate bool `json:"own_certificate,omitempty"`
}

func situationPath() string { return filepath.Join(instance.RunDir, "instance.json") }

// readSituation is what Run left; fs.ErrNotExist if the machine is no instance of a stack.
func readSituation() (situation, error) {
	var s situation
	text, err := os.ReadFile(situationPath())
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

// Run makes the instance ready for its services to start. It does the same at each boot, and what is there already
// stays. On a machine that is no instance of a stack it does nothing but tell its SSH host keys: a person may have to look
// why it does not come further.
func Run(ctx context.Context) error {
	tellHostKeys()
	image, err := instance.ReadImage(instance.DescriptionDir)
	if err != nil {
		return err
	}
	c, err := connect(ctx)
	if errors.Is(err, errNoMetadata) {
		slog.Info("this is no instance of a stack", "reason", err)
		return nil
	}
	if err != nil {
		return err
	}
	userData, err := c.userData(ctx)
	if err != nil {
		return err
	}
	settings, err := instance.ParseSettings(userData)
	if errors.Is(err, instance.ErrNotConfigured) {
		slog.Info("this is no instance of a stack", "reason", err)
		return nil
	}
	if err != nil {
		return err
	}
	id, err := c.identity(ctx)
	if err != nil {
		return err
	}
	id.Service = settings.ServiceAddress
	return prepare(ctx, c, image, situation{Settings: settings, Identity: id})
}

func prepare(ctx context.Context, c *cloud, image instance.Image, s situation) error {
	for dir, mode := range map[string]fs.FileMode{instance.RunDir: 0o755, filepath.Join(instance.RunDir, "tls"): 0o755,
		filepath.Join(instance.RunDir, "credentials"): 0o700, instance.StateDir: 0o700} {
		if err := errors.Join(os.MkdirAll(dir, mode), os.Chmod(dir, mode)); err != nil {
			return err
		}
	}
	if s.Settings.Tier == "db" {
		if image.MySQL == nil {
			return fmt.Errorf("become the db tier of stack %s: there is no database server in image %s", s.Settings.Stack, s.Identity.ImageID)
		}
		if err := prepareDatabase(ctx, c, *image.MySQL, s); err != nil {
			return err
		}
	} else {
		if image.Webapp == nil || image.Nginx == nil {
			return fmt.Errorf("become the web tier of stack %s: there is no web application or no web server in image %s", s.Settings.Stack, s.Identity.ImageID)
		}
		if err := prepareWeb(ctx, c, *image.Webapp, &s); err != nil {
			return err
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return place(situationPath(), text, 0o644, 0, 0)
}

// prepareDatabase sets the addresses that the server listens on and lets in, and makes its key and certificate.
func prepareDatabase(ctx context.Context, c *cloud, image instance.MySQLImage, s situation) error {
	prefix := s.Settings.Parameters + "/db/"
	values, err := c.parameters(ctx, []string{prefix + "app_password", prefix + "ca", prefix + "ca_key"}, nil)
	if err != nil {
		return err
	}
	if err := strong(values[prefix+"app_password"], image.Username); err != nil {
		return fmt.Errorf("take the application's password from parameter %s: %w; put another one there for both tiers", prefix+"app_password", err)
	}
	uid, gid, err := ids("mysql")
	if err != nil {
		return err
	}
	if image.BindAddress == "instance" {
		if err := bindTo(image.Config, cmp.Or(s.Identity.Service, s.Identity.Private), gid); err != nil {
			return err
		}
	}
	if err := letIn(ctx, image.Unit, s.Settings.ClientCIDR); err != nil {
		return err
	}
	if err := renewServerID(image); err != nil {
		return err
	}
	certificate, key, err := signed(values[prefix+"ca"], values[prefix+"ca_key"], s.Identity)
	if err != nil {
		return c.withClock(err)
	}
	tls := filepath.Join(instance.RunDir, "tls")
	settings := fmt.Sprintf("# Made at boot.\n[mysqld]\nssl_ca = %[1]s/ca.crt\nssl_cert = %[1]s/db.crt\nssl_key = %[1]s/db.key\nrequire_secure_transport = ON\n", tls)
	return errors.Join(
		place(filepath.Join(tls, "ca.crt"), []byte(values[prefix+"ca"]), 0o644, 0, 0),
		place(filepath.Join(tls, "db.crt"), certificate, 0o644, 0, 0),
		place(filepath.Join(tls, "db.key"), key, 0o600, uid, gid),
		place(filepath.Join(image.DropDir, "zz-goldsmith-instance.cnf"), []byte(settings), 0o640, 0, gid),
		place(filepath.Join(instance.RunDir, "credentials", "db_password"), []byte(values[prefix+"app_password"]), 0o600, 0, 0))
}

// strong tells what is wrong with a password, by the rules that the servers are configured with; their own words would
// not say which.
func strong(password, username string) error {
	var missing []string
	for kind, has := range map[string]func(rune) bool{
		"capital letter": unicode.IsUpper, "small letter": unicode.IsLower, "digit": unicode.IsDigit,
		"character of another kind": func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) },
	} {
		if !strings.ContainsFunc(password, has) {
			missing = append(missing, "a "+kind)
		}
	}
	slices.Sort(missing)
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

// letIn has systemd let the web tier's addresses through to the server, until the next boot. Its unit refuses all but
// the machine's own.
func letIn(ctx context.Context, unit, cidr string) error {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return fmt.Errorf("client_cidr: %w", err)
	}
	out, err := exec.CommandContext(ctx, "systemctl", "set-property", "--runtime", unit, "IPAddressAllow="+prefix.Masked().String()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("let %s through to %s: %w: %s", prefix, unit, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// bindTo replaces the one bind-address of the configuration that the image was baked with. gid is the group that may
// read it.
func bindTo(path, address string, gid int) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("set the address that the database listens on: %w", err)
	}
	if len(instance.BindLine.FindAll(text, -1)) != 1 {
		return fmt.Errorf("set the address that the database listens on: %s should have one bind-address line", path)
	}
	wanted := instance.BindLine.ReplaceAll(text, []byte("bind-address = "+address))
	if string(wanted) == string(text) {
		return nil
	}
	return place(path, wanted, 0o640, 0, gid)
}

// renewServerID has MySQL make a UUID of its own on an instance that has none yet: the image's would be the same on
// all. Which machine the data directory belongs to is kept beside it.
func renewServerID(image instance.MySQLImage) error {
	if image.Flavor != "mysql" {
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
	return place(note, machine, 0o600, 0, 0)
}

// prepareWeb tells the application where its database is, and makes or fetches the web server's certificate.
func prepareWeb(ctx context.Context, c *cloud, image instance.WebappImage, s *situation) error {
	prefix := s.Settings.Parameters
	certificateName, keyName := prefix+"/web/tls_certificate", prefix+"/web/tls_key"
	values, err := c.parameters(ctx, []string{prefix + "/db/app_password", prefix + "/db/ca"}, []string{certificateName, keyName})
	if err != nil {
		return err
	}
	certificate, key := []byte(values[certificateName]), []byte(values[keyName])
	if (len(certificate) == 0) != (len(key) == 0) {
		return fmt.Errorf("take the web server's certificate from the parameters: of %s and %s only one is there", certificateName, keyName)
	}
	if s.OwnCertificate = len(certificate) == 0; s.OwnCertificate {
		if certificate, key, err = ownCertificate(filepath.Join(instance.StateDir, "tls"), s.Identity); err != nil {
			return err
		}
	} else if err := matching(certificate, key); err != nil {
		return c.withClock(fmt.Errorf("take the web server's certificate from parameter %s: %w", certificateName, err))
	}
	if err := letIn(ctx, image.Unit, databaseRange(s.Settings.DatabaseHost)); err != nil {
		return err
	}
	port := s.Settings.DatabasePort
	if port == 0 {
		port = 3306
	}
	environment := fmt.Sprintf("DB_HOST=%s\nDB_PORT=%d\nDB_NAME=%s\nDB_USER=%s\nDB_TLS=verify\n", s.Settings.DatabaseHost, port, image.Database, image.Username)
	credentials, tls := filepath.Join(instance.RunDir, "credentials"), filepath.Join(instance.RunDir, "tls")
	return errors.Join(
		place(filepath.Join(tls, "web.crt"), certificate, 0o644, 0, 0),
		place(filepath.Join(tls, "web.key"), key, 0o640, 0, webServerGroup()),
		place(filepath.Join(credentials, "db_password"), []byte(values[prefix+"/db/app_password"]), 0o600, 0, 0),
		place(filepath.Join(credentials, "db_ca"), []byte(values[prefix+"/db/ca"]), 0o600, 0, 0),
		place(filepath.Join(instance.RunDir, "web.env"), []byte(environment), 0o644, 0, 0))
}

// webServerGroup is the group that may read the web server's key: the server is not root. Where there is none only root
// may.
func webServerGroup() int {
	found, err := user.LookupGroup("www-data")
	if err != nil {
		return 0
	}
	gid, err := strconv.Atoi(found.Gid)
	if err != nil {
		return 0
	}
	return gid
}

// databaseRange is what systemd has to let the application through to. A name may stand for any address, and has to be
// asked for somewhere: then nothing is refused.
func databaseRange(host string) string {
	address, err := netip.ParseAddr(host)
	if err != nil {
		return "0.0.0.0/0"
	}
	return netip.PrefixFrom(address, address.BitLen()).String()
}

func ids(name string) (uid, gid int, err error) {
	found, err := user.Lookup(name)
	if err != nil {
		return 0, 0, err
	}
	uid, err1 := strconv.Atoi(found.Uid)
	gid, err2 := strconv.Atoi(found.Gid)
	return uid, gid, errors.Join(err1, err2)
}

// place writes a file as a whole or not at all, with this mode and owner from the start.
func place(path string, content []byte, mode fs.FileMode, uid, gid int) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	owned := error(nil)
	if os.Geteuid() == 0 {
		owned = f.Chown(uid, gid)
	}
	_, err = f.Write(content)
	if err := errors.Join(owned, f.Chmod(mode), err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
