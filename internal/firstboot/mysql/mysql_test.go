package mysql

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/mysqlsetup"
)

func TestStrongPasswords(t *testing.T) {
	for password, want := range map[string]string{
		"Kx7-vR2mXz94pLs8":          "",
		"Kx7-vR2mXz94":              "14 characters",
		"":                          "14 characters",
		"kx7-vr2mxz94pls8":          "a capital letter",
		"KX7-VR2MXZ94PLS8":          "a small letter",
		"Kxa-vRamXzaapLsa":          "a digit",
		"Kx7avR2mXz94pLs8":          "a character of another kind",
		"KX7AVR2MXZ94PLS8":          "a character of another kind and a small letter",
		"Kx7-Clerk-vR2mXz94":        "the account's name",
		"Kx7-vR2mXz94pLs8\n":        "a control character",
		"Kx7'vR2\"mXz\\94`p$L%s#8ä": "",
	} {
		err := strong(password, "clerk")
		if (err == nil) != (want == "") ||
			err != nil &&
				(!strings.Contains(err.Error(), want) || password != "" && strings.Contains(err.Error(), password)) {
			t.Errorf("%q: got %v, want %q", password, err, want)
		}
	}
}

// TestServerErrorsHideTheStatement: MariaDB's client repeats a statement that failed, with the password in it.
func TestServerErrorsHideTheStatement(t *testing.T) {
	const password = "Kx7-vR2mXz94pLs8"
	for _, c := range []struct{ stderr, want string }{
		{"--------------\nALTER USER 'app'@'h' IDENTIFIED VIA ed25519 USING PASSWORD('" + password + "')\n" +
			"--------------\n\n" +
			"ERROR 1819 (HY000) at line 4: Your password does not satisfy the current policy requirements\n",
			"ERROR 1819 (HY000) at line 4: Your password does not satisfy the current policy requirements"},
		{"ERROR 1064 (42000) at line 2: You have an error in your SQL syntax; check the manual for the right " +
			"syntax to use near '" + password + "' at line 1\n",
			"ERROR 1064 (42000) at line 2: You have an error in your SQL syntax; check the manual for the right " +
				"syntax to use"},
		{password, ""},
	} {
		if got := serverErrors(c.stderr); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// TestPasswordIsSetAtEachBoot: no policy for people's passwords may stand in its way.
func TestPasswordIsSetAtEachBoot(t *testing.T) {
	for flavor, want := range map[string]string{
		"mysql":   "REQUIRE SSL PASSWORD EXPIRE NEVER PASSWORD HISTORY 0 PASSWORD REUSE INTERVAL 0 DAY;\n",
		"mariadb": "REQUIRE SSL PASSWORD EXPIRE NEVER;\n",
	} {
		got := accountStatements(mysqlsetup.Settings{Flavor: flavor, Database: "app", Username: "app"}, []string{"h"},
			"p", nil)
		if strings.Count(got, want) != 2 {
			t.Errorf("%s: %q is not in both statements of\n%s", flavor, want, got)
		}
	}
}

func TestBindTo(t *testing.T) {
	for _, c := range []struct{ name, before, after, fault string }{
		{
			"replaced in place",
			"[mysqld]\nbind-address = 127.0.0.1\nport = 3306\n",
			"[mysqld]\nbind-address = 10.0.2.10\nport = 3306\n",
			"",
		},
		{"already so", "bind-address = 10.0.2.10\n", "bind-address = 10.0.2.10\n", ""},
		{"none", "[mysqld]\n", "", "one bind-address"},
		{"two", "bind-address = 1.1.1.1\nbind-address = 2.2.2.2\n", "", "one bind-address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "server.cnf")
			if err := os.WriteFile(path, []byte(c.before), 0o644); err != nil {
				t.Fatal(err)
			}
			err := bindTo(path, "10.0.2.10", os.Getgid())
			after, _ := os.ReadFile(path)
			if c.fault == "" && (err != nil || string(after) != c.after) {
				t.Errorf("got %q, %v", after, err)
			}
			if c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault) || string(after) != c.before) {
				t.Errorf("got %v and %q, want an error with %q and nothing changed", err, after, c.fault)
			}
		})
	}
	if err := bindTo(filepath.Join(t.TempDir(), "none"), "10.0.2.10", 0); err == nil {
		t.Error("a missing file is no error")
	}
}

func TestHostPattern(t *testing.T) {
	for cidr, want := range map[string]string{
		"10.0.1.0/24":  "10.0.1.0/255.255.255.0",
		"10.0.1.77/24": "10.0.1.0/255.255.255.0",
		"10.0.0.0/16":  "10.0.0.0/255.255.0.0",
		"10.1.2.3/32":  "10.1.2.3/255.255.255.255",
	} {
		if got, err := hostPattern(cidr); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", cidr, got, err, want)
		}
	}
	if _, err := hostPattern("everywhere"); err == nil {
		t.Error("a range that is none is no error")
	}
}

func TestAccountStatements(t *testing.T) {
	settings := mysqlsetup.Settings{Flavor: "mysql", Database: "app", Username: "app"}
	got := accountStatements(settings, []string{"10.0.1.0/255.255.255.0"}, `it's\a`, []string{"%"})
	for _, want := range []string{
		"SET sql_log_bin = 0;\n", "DROP USER 'app'@'%';", `BY 'it\'s\\a' REQUIRE SSL`, "REVOKE ALL PRIVILEGES",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON `app`.* TO 'app'@'10.0.1.0/255.255.255.0'",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "ed25519") {
		t.Error("MySQL has no ed25519 accounts")
	}
	settings.Flavor = "mariadb"
	if got := accountStatements(settings, []string{"h"}, "p", nil); !strings.Contains(got, "VIA ed25519") ||
		strings.Contains(got, "DROP USER") {
		t.Errorf("for MariaDB:\n%s", got)
	}
}

// programs makes PATH hold these shell scripts and nothing else.
func programs(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

// TestStatementsAreNoArgument: an argument could be read by every process, and statements hold a password.
func TestStatementsAreNoArgument(t *testing.T) {
	const client = `[ "$*" = "--no-defaults --protocol=socket --user=root --batch --skip-column-names" ] || {
  echo "arguments $*" >&2
  exit 1
}
/bin/cat`
	for _, name := range []string{"mariadb", "mysql"} {
		programs(t, map[string]string{name: client})
		if got, err := sql(t.Context(), "SELECT 'secret'"); err != nil || got != "SELECT 'secret'" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	programs(t, map[string]string{"mariadb": "/bin/cat >/dev/null; echo 'ERROR 1045' >&2; exit 1"})
	if _, err := sql(t.Context(), "SELECT 'secret'"); err == nil || !strings.Contains(err.Error(), "ERROR 1045") ||
		strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want the server's error and no statement", err)
	}
}

// TestAccountForEachClient has the account come from each range, and from no other.
func TestAccountForEachClient(t *testing.T) {
	got := accountStatements(mysqlsetup.Settings{Flavor: "mysql", Database: "app", Username: "app"},
		[]string{"a", "b"}, "p", nil)
	for _, want := range []string{"TO 'app'@'a';", "TO 'app'@'b';"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is not once in\n%s", want, got)
		}
	}
}

func TestUnknownFlavor(t *testing.T) {
	for _, settings := range []string{`{"flavor":"oracle"}`, `{"flavor":`} {
		if setup, err := New([]byte(settings)); err == nil || setup != nil {
			t.Errorf("%s: got %v, %v", settings, setup, err)
		}
	}
}

func TestVersionOfTheServer(t *testing.T) {
	for _, c := range []struct{ flavor, program, says, want string }{
		{"mariadb", "mariadbd", "mariadbd  Ver 11.8.3-MariaDB-0+deb13u1 for debian-linux-gnu", "mariadb 11.8.3"},
		{"mysql", "mysqld", "/usr/sbin/mysqld  Ver 8.0.43-0ubuntu0.22.04.1 for Linux", "mysql 8.0.43"},
		{"mysql", "mysqld", "nothing", ""},
	} {
		programs(t, map[string]string{c.program: "echo '" + c.says + "'"})
		setup, err := New([]byte(`{"flavor":"` + c.flavor + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		got, err := setup.Server(t.Context())
		if (err == nil) != (c.want != "") || err == nil && got.String() != c.want {
			t.Errorf("%s: got %s, %v", c.says, got, err)
		}
	}
}

// TestRowsAreCompared: fewer rows than before are a loss, and so is a table that CHECK TABLE finds corrupt; a server
// that is slow, with nothing in its memory yet, is not.
func TestRowsAreCompared(t *testing.T) {
	const fine = `printf 'app.users\tcheck\tstatus\tOK\n'`
	for _, c := range []struct {
		name   string
		count  string
		check  string
		faults []string
	}{
		{"as many", "echo 3", fine, nil},
		{"more", "echo 4", fine, nil},
		{"as many, after more than countLimit", "/bin/sleep 0.7; echo 3", fine, nil},
		{"fewer", "echo 2", fine, []string{"table users has 2 rows, and had 3"}},
		{"no answer", "echo 'ERROR 1146 (42S02) at line 1: no table' >&2; exit 1", fine, []string{"ERROR 1146"}},
		{"broken", "echo 3", `printf 'app.users\tcheck\terror\tCorrupt\n'`, []string{"table users: Corrupt"}},
		{"fewer, and broken", "echo 2", `printf 'app.users\tcheck\terror\tCorrupt\n'`,
			[]string{"has 2 rows", "Corrupt"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			programs(t, map[string]string{
				"mariadb": "case $(/bin/cat) in *COUNT*) " + c.count + ";; CHECK*) " + c.check + ";; *) exit 9;; esac",
			})
			s := server{Settings: mysqlsetup.Settings{Flavor: "mariadb", Database: "app"}}
			err := s.compare(t.Context(), rows{"users": 3})
			if len(c.faults) == 0 && err != nil || len(c.faults) > 0 && err == nil {
				t.Fatalf("got %v, want %q", err, c.faults)
			}
			for _, want := range c.faults {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
}

// TestBufferPoolIsOfThisMachine, and not of the one on which the image was baked, unless the image says how much.
func TestBufferPoolIsOfThisMachine(t *testing.T) {
	for kilobytes, want := range map[uint64]uint64{
		480_000:     128, // t3.nano
		1_980_000:   483, // t3.small
		7_900_000:   1928,
		125_000_000: 2048,
	} {
		if got := poolMB(kilobytes); got != want {
			t.Errorf("of %d kB: %d MB, want %d", kilobytes, got, want)
		}
	}
	const unset = "[mysqld]\n# innodb_buffer_pool_size = 8G\ninnodb_buffer_pool_instances = 2\n"
	for name, c := range map[string]struct {
		config, other string
		ours          bool
	}{
		"nobody says":        {unset, "", true},
		"the template says":  {unset + "innodb_buffer_pool_size = 1G\n", "", false},
		"in another writing": {unset + " loose-innodb-buffer-pool-size=1G\n", "", false},
		"another file says":  {unset, "[mysqld]\ninnodb_buffer_pool_size = 3G\n", false},
	} {
		dir := t.TempDir()
		s := &server{mysqlsetup.Settings{Config: filepath.Join(dir, "z-goldsmith.cnf"), DropDir: dir}}
		for file, text := range map[string]string{
			"z-goldsmith.cnf": c.config,
			"90-mine.cnf":     c.other,
			instanceConfig:    "innodb_buffer_pool_size = 77M\n", // of an earlier boot
		} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		line, err := s.bufferPool()
		if err != nil || strings.HasPrefix(line, "innodb_buffer_pool_size = ") != c.ours {
			t.Errorf("%s: got %q, %v", name, line, err)
		}
	}
}

// TestTransport: MariaDB's template has TLS off until there is a certificate, and MySQL has no such switch.
func TestTransport(t *testing.T) {
	for flavor, want := range map[string]bool{"mariadb": true, "mysql": false} {
		s := &server{mysqlsetup.Settings{Flavor: flavor}}
		got := s.transport()
		if strings.Contains(got, "\nssl = ON\n") != want || !strings.Contains(got, "require_secure_transport = ON\n") {
			t.Errorf("%s: got %s", flavor, got)
		}
	}
}
