//go:build acceptance

package bakes

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

func TestMariaDB(t *testing.T) {
	assertDatabase(t, "db", "MariaDB", rig.DatabaseAddress)
}

// TestDatabaseOfOtherReleases bakes the same db image on other releases of Debian, and asks it the same questions: sid,
// whose mysql-server is Oracle's, and Debian 12, whose MariaDB makes no certificate by itself.
func TestDatabaseOfOtherReleases(t *testing.T) {
	for _, c := range []struct {
		base, ami, owner, product, address string
		more                               bool // of a kind that another case shows too
	}{
		{"sid", "debian-sid-amd64-daily-*", "903794441882", "MySQL", "10.0.2.20", false},
		{"bookworm", "debian-12-amd64-*", "136693071363", "MariaDB", "10.0.2.21", true},
	} {
		if c.more && rig.Sampled() {
			continue
		}
		t.Run(c.base, func(t *testing.T) {
			rig.Must(t, rig.Goldsmith(), "cloud", "up", "--base", c.base)
			rig.KeepRelease(t)
			before := rig.Inventory(t)
			t.Cleanup(func() { rig.AssertNothingLeft(t, before) })
			rig.Must(t, rig.Packer(t), "build", "-only", "goldsmith-ami.db", "-var", "stack="+rig.StackName, "-var",
				"ami_prefix=on-"+c.base, "-var", "base_ami_name="+c.ami, "-var", "base_ami_owner="+c.owner, ".")
			image := rig.ImageNamed(t, "on-"+c.base+"-*")
			rig.DeregisterAtEnd(t, image)
			rig.LaunchDatabase(t, *image.ImageId, c.base, c.address)
			assertDatabase(t, c.base, c.product, c.address)
		})
	}
}

// assertDatabase asks a running database instance everything that the mysql provisioner and the first boot promise.
func assertDatabase(t *testing.T, name, flavor, address string) {
	query := func(statement string) string {
		t.Helper()
		return rig.MustOnInstance(
			t,
			name,
			fmt.Sprintf("sudo mysql --batch --skip-column-names --execute %q", statement),
		)
	}
	for _, c := range []struct{ name, got, want string }{
		{"product", fmt.Sprint(strings.Contains(query("SELECT VERSION()"), "MariaDB")),
			fmt.Sprint(flavor == "MariaDB")},
		{"bind_address", query("SELECT @@bind_address"), address},
		{"skip_name_resolve", query("SELECT @@skip_name_resolve"), "1"},
		{"anonymous users", query("SELECT COUNT(*) FROM mysql.user WHERE user = ''"), "0"},
		{"remote root", query("SELECT COUNT(*) FROM mysql.user WHERE user = 'root' AND host <> 'localhost'"), "0"},
		{"accounts for any host", query("SELECT COUNT(*) FROM mysql.user WHERE host LIKE '%\\%%'"), "0"},
		{"test database", query("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'test'"), "0"},
		{"application account", query("SELECT host FROM mysql.user WHERE user = 'app'"), "10.0.1.0/255.255.255.0"},
		{"columns",
			query("SELECT GROUP_CONCAT(CONCAT(column_name, ' ', column_type, ' ', is_nullable, ' ', extra) ORDER BY " +
				"ordinal_position SEPARATOR ', ') FROM information_schema.columns WHERE table_schema = 'app' AND " +
				"table_name = 'users'"),
			""},
		{"seed", query("SELECT username, email FROM app.users ORDER BY id LIMIT 2"),
			"admin\tadmin@example.com\ntest\ttest@example.com"},
		{"bind-address lines",
			rig.MustOnInstance(t, name,
				`sudo grep -rhcE '^[[:space:]]*(loose[-_])?bind[-_]address' /etc/mysql | awk '{ n += $1 } END { `+
					`print n }'`),
			"1"},
		{"listeners", rig.MustOnInstance(t, name, `sudo ss -Hltn | awk '{ print $4 }' | grep -E ':(3306|33060)$'`),
			address + ":3306"},
		{"system", rig.MustOnInstance(t, name, "systemctl is-system-running"), "running"},
	} {
		if c.name == "columns" {
			assertColumns(t, c.got)
			continue
		}
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
	grants := query("SHOW GRANTS FOR 'app'@'10.0.1.0/255.255.255.0'")
	for line := range strings.Lines(grants) {
		line = strings.ReplaceAll(strings.TrimSpace(line), "`", "'")
		if !strings.HasPrefix(line, "GRANT USAGE ON *.*") &&
			!strings.HasPrefix(line, "GRANT SELECT, INSERT, UPDATE, DELETE ON 'app'.*") {
			t.Errorf("the application account has a right that it does not need: %s", line)
		}
	}
	if out, err := rig.OnInstance(
		t,
		name,
		"sudo systemd-analyze security --no-pager --threshold=10 mysql.service",
	); err != nil {
		t.Errorf("the server's unit is not kept in: %v\n%s", err, rig.End(t, out))
	}
	// What of the server's own work the unit could stand in the way of.
	if out := query(
		"CREATE TABLE app.r (a INT) ENGINE=MyISAM; INSERT INTO app.r VALUES (1); REPAIR TABLE app.r; SELECT * FROM " +
			"app.r INTO OUTFILE '/var/lib/mysql-files/r'; DROP TABLE app.r",
	); !strings.Contains(out, "repair\tstatus\tOK") {
		t.Errorf("a table cannot be repaired: %s", out)
	}
	rig.MustOnInstance(t, name, "sudo rm /var/lib/mysql-files/r")
	if flavor == "MariaDB" {
		rig.MustOnInstance(t, name, "sudo mariadb-upgrade --force")
	}
	assertControls(t, name, flavor, query)
}

// assertControls has the scanner judge the database, as it is and with faults.
func assertControls(t *testing.T, name, flavor string, query func(string) string) {
	t.Helper()
	scan := func() (string, error) {
		args := []string{"run", "./scan", "--stack", rig.StackName, "--only", "mysql-controls"}
		if name != "db" {
			args = append(args, "--db", name)
		}
		return rig.Output("go", args...)
	}
	if out, err := scan(); err != nil {
		t.Errorf("%v\n%s", err, rig.End(t, out))
	}
	// Both servers refuse an account without a password: it is written past them.
	blank := "INSERT INTO mysql.user (Host, User, ssl_cipher, x509_issuer, x509_subject, plugin, " +
		"authentication_string) VALUES ('localhost', 'blank', '', '', '', 'caching_sha2_password', ''); FLUSH " +
		"PRIVILEGES"
	if flavor == "MariaDB" {
		blank = `INSERT INTO mysql.global_priv VALUES ('localhost', 'blank', ` +
			`'{"plugin":"mysql_native_password","authentication_string":""}'); FLUSH PRIVILEGES`
	}
	for _, c := range []struct{ name, plant, remove, want string }{
		{
			"account of any host",
			"CREATE USER 'any'@'%' IDENTIFIED BY 'Kx7-vR2mXz94pLs8'",
			"DROP USER 'any'@'%'",
			"mysql-db-07: accounts of any host: \"any@%\"",
		},
		{
			"account without a password",
			blank,
			"DROP USER 'blank'@'localhost'",
			"mysql-db-05: accounts without a password: \"blank@localhost\"",
		},
		{
			"local_infile",
			"SET GLOBAL local_infile = ON",
			"SET GLOBAL local_infile = OFF",
			"cis-4.4: local_infile: \"ON\"",
		},
	} {
		rig.MustOnInstance(
			t,
			name,
			"echo "+base64.StdEncoding.EncodeToString([]byte(c.plant))+" | base64 -d | sudo mysql",
		)
		if out, err := scan(); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v, without %s:\n%s", c.name, err, c.want, rig.End(t, out))
		}
		query(c.remove)
	}
	if out, err := scan(); err != nil {
		t.Errorf("with the faults gone: %v\n%s", err, rig.End(t, out))
	}
}

func assertColumns(t *testing.T, got string) {
	t.Helper()
	got = strings.ToLower(got)
	for _, want := range []string{
		"id int", "auto_increment", "username varchar(50) no", "email varchar(100) no", "created_at timestamp yes",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("table users has the columns %q, which lack %q", got, want)
		}
	}
}
