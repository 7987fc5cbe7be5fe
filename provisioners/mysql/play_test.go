package mysql

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
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
			[]string{"bind-address = 127.0.0.1\n", "port = 3306\n", "innodb_buffer_pool_size = 512M\n"}, []string{"mysqlx", "auto_generate_certs"}},
		{"mysql", "/etc/mysql/mysql.conf.d/z-goldsmith.cnf", map[string]any{"bind_address": "10.0.2.10", "port": 3307},
			[]string{"bind-address = 10.0.2.10\n", "port = 3307\n", "mysqlx = OFF\n", "auto_generate_certs = OFF\n", "caching_sha2_password_auto_generate_rsa_keys = OFF\n"}, []string{"127.0.0.1"}},
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
			if !slices.Contains(wrote.Notify, "restart the server") || !slices.Contains(file.Test, "--defaults-file=%s") {
				t.Errorf("it notifies %v, and %v tests it", wrote.Notify, file.Test)
			}
		})
	}
}

func TestDescriptionSaysWhatIsBaked(t *testing.T) {
	play := playOf(t, "mariadb", map[string]any{"seed": seedFile, "database": "shop", "username": "clerk", "port": 3307})
	dir := t.TempDir()
	_, described := file(t, play, instance.DescriptionDir+"/mysql.json")
	if err := os.WriteFile(filepath.Join(dir, "mysql.json"), []byte(contentOf(t, described.Content)), 0o644); err != nil {
		t.Fatal(err)
	}
	image, err := instance.ReadImage(dir)
	want := instance.MySQLImage{Flavor: "mariadb", Unit: "mariadb.service", Config: "/etc/mysql/mariadb.conf.d/z-goldsmith.cnf", DropDir: "/etc/mysql/mariadb.conf.d",
		Port: 3307, Database: "shop", Username: "clerk", BindAddress: "instance", Log: "/var/log/mysql/error.log", Seeded: true}
	if err != nil || image.MySQL == nil || *image.MySQL != want {
		t.Errorf("got %+v, %v, want %+v", image.MySQL, err, want)
	}
}

// TestMaintenanceAccount: only Debian's MySQL has one with a password, and keys in its data directory.
func TestMaintenanceAccount(t *testing.T) {
	for flavor, want := range map[string]bool{"mysql": true, "mariadb": false} {
		found := map[string]bool{}
		for _, each := range playOf(t, flavor, nil).Tasks {
			switch spec := each.Spec.(type) {
			case task.File:
				found["client's file"] = found["client's file"] || spec.Path == "/etc/mysql/debian.cnf" && spec.Mode == "0600"
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
		if strings.Contains(spec.Statements, "admin@example.com") && spec.Database == "shop" && strings.Contains(spec.Unless, "'shop'") {
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
		"underscore": "bind_address = 0.0.0.0", "indented": "  bind-address = 0.0.0.0", "loose": "loose-bind-address=0.0.0.0", "tab": "\tloose_bind_address\t= ::",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "server.cnf.tmpl")
			if err := os.WriteFile(path, []byte("[mysqld]\nbind-address = {{ .bind_address }}\n"+line+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := new(Provisioner).Prepare(map[string]any{"config": path}); err == nil || !strings.Contains(err.Error(), "bind-address") {
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
		own:                               "bind-address = 127.0.0.1\n",
		filepath.Join(dir, "50-b.cnf"):    "[mysqld]\nbind-address = 0.0.0.0\n# bind-address = 1.2.3.4\nmax_connections = 5\n",
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
	files[filepath.Join(dir, "50-b.cnf")] = "[mysqld]\n# set in z-goldsmith.cnf: bind-address = 0.0.0.0\n# bind-address = 1.2.3.4\nmax_connections = 5\n"
	files[filepath.Join(dir, "60-c.cnf")] = "# set in z-goldsmith.cnf:   loose_bind_address=::\n"
	for path, want := range files {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", filepath.Base(path), got, err, want)
		}
	}
}

func TestServersOwnDatabasesAreRefused(t *testing.T) {
	for _, name := range []string{"mysql", "sys", "test", "information_schema", "performance_schema"} {
		if err := new(Provisioner).Prepare(map[string]any{"config": templateFile, "database": name}); err == nil || !strings.Contains(err.Error(), "database: "+name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
