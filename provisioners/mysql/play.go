package mysql

import (
	"bytes"
	"fmt"
	"os"
	"regexp"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// flavor is what differs between the two servers.
type flavor struct {
	name      string
	unit      string
	configDir string // read last
	privilege string // the table of accounts
	validate  []string
}

var flavors = map[string]flavor{
	"mariadb": {"mariadb", "mariadb.service", "/etc/mysql/mariadb.conf.d", "mysql.global_priv", []string{"/usr/sbin/mariadbd", "--defaults-file=%s", "--user=mysql", "--help", "--verbose"}},
	"mysql":   {"mysql", "mysql.service", "/etc/mysql/mysql.conf.d", "mysql.user", []string{"/usr/sbin/mysqld", "--defaults-file=%s", "--user=mysql", "--validate-config"}},
}

// candidates are the packages that the choice of a server depends on.
var candidates = []string{"mysql-server", "mariadb-server"}

// choose is the server and its package: the installed one, else the one that was asked for, else what there is. Where
// a distribution has no MySQL, its mysql-server is either absent or without a candidate.
func choose(wanted string, facts task.Facts) (flavor, string, error) {
	if installed := facts.Database; installed != nil {
		if wanted != "auto" && wanted != installed.Flavor {
			return flavor{}, "", fmt.Errorf("flavor: %s is wanted, but the image has %s %s", wanted, installed.Flavor, installed.Version)
		}
		f := flavors[installed.Flavor]
		return f, f.name + "-server", nil
	}
	for _, name := range []string{"mysql", "mariadb"} {
		if (wanted == "auto" || wanted == name) && facts.Candidates[name+"-server"] != "" {
			return flavors[name], name + "-server", nil
		}
	}
	if wanted == "auto" {
		return flavor{}, "", fmt.Errorf("flavor: %s has neither mysql-server nor mariadb-server", facts.OS.Pretty)
	}
	return flavor{}, "", fmt.Errorf("flavor: %s has no %s-server", facts.OS.Pretty, wanted)
}

// bakedAddress is what the server listens on while the image is baked, and until an instance knows its own address.
func (c *Config) bakedAddress() string {
	if c.BindAddress == "instance" {
		return "127.0.0.1"
	}
	return c.BindAddress
}

// bindLine is the line that the first boot replaces; anyBindLine is whatever else the server reads as the same setting.
var (
	bindLine    = regexp.MustCompile(`(?m)^bind-address\s*=.*$`)
	anyBindLine = regexp.MustCompile(`(?m)^[ \t]*(?:loose[-_])?bind[-_]address\s*=.*$`)
)

func (c *Config) render(flavor string, facts task.Facts) ([]byte, error) {
	text, err := render.File(c.ConfigFile, map[string]any{
		"flavor": flavor, "bind_address": c.bakedAddress(), "port": c.Port, "database": c.Database, "username": c.Username,
		"vars": c.Vars, "facts": render.Facts(facts),
	})
	if err != nil {
		return nil, err
	}
	found := anyBindLine.FindAll(text, -1)
	if len(found) != 1 || !bindLine.Match(found[0]) || !bytes.Contains(found[0], []byte(c.bakedAddress())) {
		return nil, fmt.Errorf("template %s: it should have one line `bind-address = {{ .bind_address }}`", c.ConfigFile)
	}
	return text, nil
}

func (c *Config) play(facts task.Facts, agent task.Blob) (task.Play, error) {
	f, server, err := choose(c.Flavor, facts)
	if err != nil {
		return task.Play{}, err
	}
	settings, err := c.render(f.name, facts)
	if err != nil {
		return task.Play{}, fmt.Errorf("config: %w", err)
	}
	first, err := instance.FirstBootTasks(agent)
	if err != nil {
		return task.Play{}, err
	}
	configPath := f.configDir + "/99-goldsmith.cnf"
	describe, err := instance.Describe("mysql", instance.MySQLImage{Flavor: f.name, Unit: f.unit, Config: configPath, DropDir: f.configDir,
		Port: c.Port, Database: c.Database, Username: c.Username, BindAddress: c.BindAddress, Seeded: c.Seed != ""})
	if err != nil {
		return task.Play{}, err
	}
	play := task.Play{Name: "mysql", Tasks: append(first, describe), Handlers: []task.Task{
		{Name: "restart the server", Spec: task.Service{Unit: f.unit, State: task.Restarted}},
	}}
	yes := true
	restart := []string{"restart the server"}
	play.Tasks = append(play.Tasks,
		task.Task{Name: "install " + server, Spec: task.Package{Names: []string{server}}},
		instance.WaitForFirstBoot(f.unit),
		task.Task{Name: "configure the server", Notify: restart, Spec: task.File{Path: configPath, Content: task.Bytes(settings), Test: f.validate}},
		oneBindAddress(configPath, restart))
	if f.name == "mariadb" {
		// A socket unit would listen on addresses of its own.
		for _, socket := range []string{"mariadb.socket", "mariadb-extra.socket"} {
			play.Tasks = append(play.Tasks, task.Task{Name: "mask " + socket, Spec: task.Service{Unit: socket, Masked: &yes}})
		}
	}
	play.Tasks = append(play.Tasks, task.Task{Name: "start the server", Spec: task.Service{Unit: f.unit, State: task.Started, Enabled: &yes}})
	play.Tasks = append(play.Tasks, secure(f)...)
	contents, err := c.contents()
	if err != nil {
		return task.Play{}, err
	}
	play.Tasks = append(play.Tasks, contents...)
	return play, nil
}

// oneBindAddress turns every other bind-address into a comment, wherever the distribution put it.
func oneBindAddress(config string, notify []string) task.Task {
	const line = `^[[:space:]]*(loose[-_])?bind[-_]address`
	others := fmt.Sprintf(`grep -rlE '%s' /etc/mysql --include='*.cnf' | grep -vxF %s`, line, config)
	return task.Task{Name: "no other bind-address", Notify: notify, Spec: task.Command{
		Shell:  others + fmt.Sprintf(` | xargs -r sed -i -E 's/%s/# set in 99-goldsmith.cnf: &/'`, line),
		Unless: []string{"/bin/sh", "-c", "! " + others + " | grep -q ."},
	}}
}

// secure does what mysql_secure_installation does, and takes away what would be the same on all instances: the
// maintenance account that Debian's MySQL makes with a password, and keys.
func secure(f flavor) []task.Task {
	remove := func(name, where string) task.Task {
		return task.Task{Name: name, Spec: task.SQL{
			Unless:     fmt.Sprintf("SELECT COUNT(*) = 0 FROM mysql.user WHERE %s", where),
			Statements: fmt.Sprintf("DELETE FROM %s WHERE %s; FLUSH PRIVILEGES;", f.privilege, where),
		}}
	}
	tasks := []task.Task{
		remove("no anonymous accounts", "User = ''"),
		remove("root on the local socket only", "User = 'root' AND Host <> 'localhost'"),
		{Name: "no test database", Spec: task.SQL{
			Unless:     `SELECT (SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'test') + (SELECT COUNT(*) FROM mysql.db WHERE Db LIKE 'test%') = 0`,
			Statements: `DROP DATABASE IF EXISTS test; DELETE FROM mysql.db WHERE Db LIKE 'test%'; FLUSH PRIVILEGES;`,
		}},
	}
	if f.name == "mariadb" {
		return tasks
	}
	return append(tasks,
		remove("no maintenance account with a password", "User = 'debian-sys-maint'"),
		task.Task{Name: "maintenance over the local socket", Spec: task.File{Path: "/etc/mysql/debian.cnf", Mode: "0600", Content: task.Bytes([]byte(
			"[client]\nhost = localhost\nuser = root\n[mysql_upgrade]\nhost = localhost\nuser = root\n"))}},
		task.Task{Name: "no keys of the image's own", Spec: task.Command{
			Shell: "rm -f /var/lib/mysql/*.pem", Unless: []string{"/bin/sh", "-c", "! ls /var/lib/mysql/*.pem >/dev/null 2>&1"}}})
}

// contents are the application's database and what is in it.
func (c *Config) contents() ([]task.Task, error) {
	tasks := []task.Task{{Name: "database " + c.Database, Spec: task.SQL{
		Unless:     fmt.Sprintf("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '%s'", c.Database),
		Statements: fmt.Sprintf("CREATE DATABASE `%s` CHARACTER SET utf8mb4", c.Database),
	}}}
	if c.Seed == "" {
		return tasks, nil
	}
	seed, err := os.ReadFile(c.Seed)
	if err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	if len(bytes.TrimSpace(seed)) == 0 {
		return nil, fmt.Errorf("seed: %s is empty", c.Seed)
	}
	return append(tasks, task.Task{Name: "seed the database", Spec: task.SQL{Database: c.Database, Statements: string(seed),
		Unless: fmt.Sprintf("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '%s'", c.Database)}}), nil
}
