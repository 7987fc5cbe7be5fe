package mysql

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// playOf is the play of a configuration on a machine that can have the server of this flavor alone.
func playOf(t *testing.T, flavor string, config map[string]any) task.Play {
	t.Helper()
	p := &Provisioner{}
	if err := p.Prepare(map[string]any{"config": templateFile, "drop_in": dropInFile}, config); err != nil {
		t.Fatal(err)
	}
	facts := render.SampleFacts()
	facts.Candidates = map[string]string{flavor + "-server": "1"}
	play, err := p.config.play(facts, task.Bytes([]byte("agent")))
	if err != nil {
		t.Fatal(err)
	}
	return play
}

func contentOf(t *testing.T, blob task.Blob) string {
	t.Helper()
	content, err := blob.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	text, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// file is the one file task of a play with this path.
func file(t *testing.T, play task.Play, path string) (task.Task, task.File) {
	t.Helper()
	for _, each := range play.Tasks {
		if file, ok := each.Spec.(task.File); ok && file.Path == path {
			return each, file
		}
	}
	t.Fatalf("no task writes %s", path)
	return task.Task{}, task.File{}
}

func TestConfigurationOfTheServer(t *testing.T) {
	for _, c := range []struct {
		flavor, path string
		config       map[string]any
		with         []string
		without      []string
	}{
		{"mariadb", "/etc/mysql/mariadb.conf.d/z-goldsmith.cnf", nil,
			[]string{
				"bind-address = 127.0.0.1\n", "port = 3306\n",
				"\nssl_cipher = TLS_AES_256", "\nssl = OFF\n",
				"\nsimple_password_check_minimal_length = 14\n", "\nlog_warnings = 2\n",
			},
			[]string{
				"mysqlx", "auto_generate_certs", "tls_ciphersuites", "validate_password", "password_history",
				"log_error_verbosity", "\ninnodb_buffer_pool_size",
			}},
		{"mysql", "/etc/mysql/mysql.conf.d/z-goldsmith.cnf", map[string]any{"bind_address": "10.0.2.10", "port": 3307},
			[]string{
				"bind-address = 10.0.2.10\n", "port = 3307\n", "mysqlx = OFF\n", "auto_generate_certs = OFF\n",
				"caching_sha2_password_auto_generate_rsa_keys = OFF\n",
				"\ntls_ciphersuites = TLS_AES_256", "\nloose-validate_password.length = 14\n",
				"\nlog_error_verbosity = 2\n",
			},
			[]string{
				"127.0.0.1", "ssl_cipher", "simple_password_check", "log_warnings", "NO_AUTO_CREATE_USER",
				"disconnect_on_expired",
			}},
	} {
		t.Run(c.flavor, func(t *testing.T) {
			wrote, file := file(t, playOf(t, c.flavor, c.config), c.path)
			text := contentOf(t, file.Content)
			for _, want := range c.with {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			for _, unwanted := range c.without {
				if strings.Contains(text, unwanted) {
					t.Errorf("%q is in\n%s", unwanted, text)
				}
			}
			if !slices.Contains(wrote.Notify, "restart the server") ||
				!slices.Contains(file.Test, "--defaults-file=%s") {
				t.Errorf("it notifies %v, and %v tests it", wrote.Notify, file.Test)
			}
		})
	}
}

// TestMaintenanceAccount: only Debian's MySQL has one with a password, and keys in its data directory.
func TestMaintenanceAccount(t *testing.T) {
	for flavor, want := range map[string]bool{"mysql": true, "mariadb": false} {
		found := map[string]bool{}
		for _, each := range playOf(t, flavor, nil).Tasks {
			switch spec := each.Spec.(type) {
			case task.File:
				found["client's file"] = found["client's file"] ||
					spec.Path == "/etc/mysql/debian.cnf" && spec.Mode == "0600"
			case task.SQL:
				found["account"] = found["account"] || strings.Contains(spec.Statements, "debian-sys-maint")
			case task.Command:
				found["keys"] = found["keys"] || strings.Contains(spec.Shell, "*.pem")
			}
		}
		for _, what := range []string{"client's file", "account", "keys"} {
			if found[what] != want {
				t.Errorf("%s: %s is seen to: %v, want %v", flavor, what, found[what], want)
			}
		}
	}
}

func TestSeedIsRunInTheDatabase(t *testing.T) {
	tasks := playOf(t, "mysql", map[string]any{"database": "shop", "seed": seedFile}).Tasks
	created, seeded := -1, -1
	for i, each := range tasks {
		spec, _ := each.Spec.(task.SQL)
		if strings.HasPrefix(spec.Statements, "CREATE DATABASE `shop`") && strings.Contains(spec.Unless, "'shop'") {
			created = i
		}
		if strings.Contains(spec.Statements, "admin@example.com") && spec.Database == "shop" &&
			strings.Contains(spec.Unless, "'shop'") {
			seeded = i
		}
	}
	if created < 0 || seeded < created {
		t.Errorf("the database is created by task %d and seeded by task %d", created, seeded)
	}
	for _, each := range playOf(t, "mysql", nil).Tasks {
		if strings.HasPrefix(each.Name, "seed the database") {
			t.Error("a seed that nobody gave is run")
		}
	}
}

func TestEmptySeedIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seed.sql")
	if err := os.WriteFile(path, []byte(" \n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := &Config{Database: "app", Seed: path}
	if tasks, err := c.contents(); err == nil || !strings.Contains(err.Error(), path) || tasks != nil {
		t.Errorf("got %v, %v", tasks, err)
	}
}

// TestOneBindAddress: settings that the server would read as bind-address must not pass beside the template's own.
func TestOneBindAddress(t *testing.T) {
	for name, line := range map[string]string{
		"underscore": "bind_address = 0.0.0.0",
		"indented":   "  bind-address = 0.0.0.0",
		"loose":      "loose-bind-address=0.0.0.0",
		"tab":        "\tloose_bind_address\t= ::",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "server.cnf.tmpl")
			if err := os.WriteFile(
				path,
				[]byte("[mysqld]\nbind-address = {{ .bind_address }}\n"+line+"\n"),
				0o644,
			); err != nil {
				t.Fatal(err)
			}
			if err := new(Provisioner).Prepare(map[string]any{"config": path}); err == nil ||
				!strings.Contains(err.Error(), "bind-address") {
				t.Errorf("%q passed beside another one: %v", line, err)
			}
		})
	}
}

// TestOthersBecomeComments runs the command of the task on a copy of what a distribution puts into /etc/mysql.
func TestOthersBecomeComments(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, "z-goldsmith.cnf")
	files := map[string]string{
		own: "bind-address = 127.0.0.1\n",
		filepath.Join(dir, "50-b.cnf"): "[mysqld]\nbind-address = 0.0.0.0\n# bind-address = 1.2.3.4\n" +
			"max_connections = 5\n",
		filepath.Join(dir, "60-c.cnf"):    "  loose_bind_address=::\n",
		filepath.Join(dir, "notes.txt"):   "bind-address = 0.0.0.0\n",
		filepath.Join(dir, "without.cnf"): "[client]\n",
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	spec := oneBindAddress(own, nil).Spec.(task.Command)
	here := strings.NewReplacer("/etc/mysql", dir)
	settled := func() bool {
		argv := slices.Clone(spec.Unless)
		argv[len(argv)-1] = here.Replace(argv[len(argv)-1])
		return exec.Command(argv[0], argv[1:]...).Run() == nil
	}
	if settled() {
		t.Error("there is something to do, and the task would not do it")
	}
	if out, err := exec.Command("/bin/sh", "-euc", here.Replace(spec.Shell)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !settled() {
		t.Error("a second time there is still something to do")
	}
	files[filepath.Join(dir, "50-b.cnf")] = "[mysqld]\n# set in z-goldsmith.cnf: bind-address = 0.0.0.0\n" +
		"# bind-address = 1.2.3.4\nmax_connections = 5\n"
	files[filepath.Join(dir, "60-c.cnf")] = "# set in z-goldsmith.cnf:   loose_bind_address=::\n"
	for path, want := range files {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", filepath.Base(path), got, err, want)
		}
	}
}

func TestServersOwnDatabasesAreRefused(t *testing.T) {
	for _, name := range []string{"mysql", "sys", "test", "information_schema", "performance_schema"} {
		if err := new(Provisioner).Prepare(map[string]any{"config": templateFile, "database": name}); err == nil ||
			!strings.Contains(err.Error(), "database: "+name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestSeedKeepsItsLines: the server's client names lines, and they have to be the file's.
func TestSeedKeepsItsLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seed.sql")
	if err := os.WriteFile(
		path,
		[]byte("\uFEFFCREATE TABLE a (i INT);\nINSRT INTO a;\n-- the end"),
		0o644,
	); err != nil {
		t.Fatal(err)
	}
	for _, each := range playOf(t, "mariadb", map[string]any{"seed": path}).Tasks {
		if !strings.HasPrefix(each.Name, "seed the database") {
			continue
		}
		lines := strings.Split(each.Spec.(task.SQL).Statements, "\n")
		if !strings.HasSuffix(lines[0], " CREATE TABLE a (i INT);") || lines[1] != "INSRT INTO a;" ||
			lines[2] != "-- the end" ||
			lines[3] != ";" {
			t.Errorf("got the lines %q", lines)
		}
		if !strings.Contains(each.Name, path) {
			t.Errorf("%q does not name the file", each.Name)
		}
		return
	}
	t.Error("no task seeds the database")
}

// TestHalfASeedIsNotKept: before the seed is run again, the database that its first run left is dropped; the mark of a
// run is made by the seed's own task.
func TestHalfASeedIsNotKept(t *testing.T) {
	dropped, created, seeded := -1, -1, -1
	for i, each := range playOf(t, "mysql", map[string]any{"database": "shop", "seed": seedFile}).Tasks {
		spec, _ := each.Spec.(task.SQL)
		switch {
		case spec.Statements == "DROP DATABASE `shop`" && strings.Contains(spec.Unless, "'"+unfinished+"'"):
			dropped = i
		case strings.HasPrefix(spec.Statements, "CREATE DATABASE"):
			created = i
		case strings.HasPrefix(spec.Statements, "CREATE TABLE "+unfinished+" ") &&
			strings.HasSuffix(spec.Statements, "DROP TABLE `shop`."+unfinished+";"):
			seeded = i
		}
	}
	if dropped < 0 || created < dropped || seeded < created {
		t.Errorf("half a seed is dropped by task %d, the database created by %d and seeded by %d", dropped, created,
			seeded)
	}
}

// TestAccountsAreAuditedLast: nothing that could make an account comes after.
func TestAccountsAreAuditedLast(t *testing.T) {
	for _, flavor := range []string{"mysql", "mariadb"} {
		tasks := playOf(t, flavor, map[string]any{"seed": seedFile}).Tasks
		last, _ := tasks[len(tasks)-1].Spec.(task.SQL)
		if !strings.Contains(last.Statements, "SIGNAL SQLSTATE '45000'") ||
			!strings.HasPrefix(last.Unless, "SELECT COUNT(*) = 0 FROM mysql.user u WHERE Host <> 'localhost'") {
			t.Errorf("%s: the last task is %q", flavor, tasks[len(tasks)-1].Name)
		}
	}
}

// TestOptionFilesAreClosed runs the command of the task on a copy of what a distribution puts into /etc/mysql.
func TestOptionFilesAreClosed(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{
		"my.cnf":          0o644,
		"my.cnf.fallback": 0o666,
		"debian.cnf":      0o600,
		"debian-start":    0o755,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	spec := onlyReadByServer().Spec.(task.Command)
	// The group of whoever runs the test stands for the server's.
	group, err := exec.Command("id", "-gn").Output()
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSpace(string(group))
	here := strings.NewReplacer("/etc/mysql", dir, "-group mysql", "-group "+name, "chgrp mysql", "chgrp "+name)
	settled := func() bool { return exec.Command("/bin/sh", "-c", here.Replace(spec.Unless[2])).Run() == nil }
	if settled() {
		t.Error("there is something to do, and the task would not do it")
	}
	if out, err := exec.Command("/bin/sh", "-euc", here.Replace(spec.Shell)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !settled() {
		t.Error("a second time there is still something to do")
	}
	for name, want := range map[string]os.FileMode{
		"my.cnf":          0o640,
		"my.cnf.fallback": 0o640,
		"debian.cnf":      0o600,
		"debian-start":    0o755,
	} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

// TestRestartSaysWhy runs the handler where the unit does not start, and wants the server's reason last.
func TestRestartSaysWhy(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"systemctl":  "#!/bin/sh\necho 'Job for mysql.service failed' >&2\nexit 1\n",
		"journalctl": "#!/bin/sh\necho 'mysql.service: Main process exited'\n",
		"error.log":  "[Note] start\n[ERROR] the reason\n[ERROR] what came of it\n[ERROR] Aborting\n[Note] end\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(
		"/bin/sh",
		"-euc",
		strings.ReplaceAll(restartScript("mysql.service"), errorLog, filepath.Join(dir, "error.log")),
	)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.HasSuffix(string(out), "[ERROR] the reason\n") ||
		!strings.Contains(string(out), "Main process exited") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestDropIn looks at what differs between the servers, and at what the first boot builds on.
func TestDropIn(t *testing.T) {
	for flavor, want := range map[string][]string{
		"mariadb": {"ExecStartPost=+/etc/mysql/debian-start\n", "ExecStartPre=\n"},
		"mysql":   {"ExecStartPre=+/usr/share/mysql/mysql-systemd-start pre\n"},
	} {
		found := false
		for _, each := range playOf(t, flavor, nil).Tasks {
			unit, ok := each.Spec.(task.Unit)
			if !ok || unit.DropIn != "20-hardening.conf" {
				continue
			}
			found = true
			text := contentOf(t, unit.Content)
			for _, line := range append(want, "IPAddressDeny=any\n", "ProtectSystem=strict\n",
				"ReadWritePaths=/var/lib/mysql /var/lib/mysql-files /var/log/mysql\n") {
				if !strings.Contains(text, line) {
					t.Errorf("%s: no %q in\n%s", flavor, line, text)
				}
			}
			if unit.Unit != flavor+".service" || !slices.Contains(each.Notify, "restart the server") {
				t.Errorf("it is for %s and notifies %v", unit.Unit, each.Notify)
			}
		}
		if !found {
			t.Errorf("%s: there is none", flavor)
		}
	}
}
