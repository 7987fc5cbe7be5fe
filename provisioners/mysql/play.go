package mysql

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/mysqlsetup"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// flavor has the differences between the two servers.
type flavor struct {
	name      string
	unit      string
	configDir string
	privilege string // the table of accounts
	// exposed is a condition on mysql.user: accounts that have no place in an image.
	exposed  string
	validate []string
}

// Nobody but whoever is on the machine already may come: by the local socket, as the operating system's account says,
// or not at all. An account with a password would have the same one on all instances.
var flavors = map[string]flavor{
	"mariadb": {
		"mariadb",
		"mariadb.service",
		"/etc/mysql/mariadb.conf.d",
		"mysql.global_priv",
		"Host <> 'localhost' OR User = '' OR NOT EXISTS (SELECT 1 FROM mysql.global_priv p WHERE p.User = u.User " +
			"AND p.Host = u.Host" +
			" AND (JSON_VALUE(Priv, '$.account_locked') = 1 OR Priv LIKE '%\"unix_socket\"%' AND JSON_VALUE(Priv, " +
			"'$.authentication_string') IN ('', 'invalid') AND Priv NOT LIKE " +
			"'%\"auth_or\"%\"authentication_string\"%'))",
		[]string{"/usr/sbin/mariadbd", "--defaults-file=%s", "--user=mysql", "--help", "--verbose"},
	},
	"mysql": {"mysql", "mysql.service", "/etc/mysql/mysql.conf.d", "mysql.user",
		"Host <> 'localhost' OR User = '' OR account_locked <> 'Y' AND plugin <> 'auth_socket'",
		[]string{"/usr/sbin/mysqld", "--defaults-file=%s", "--user=mysql", "--validate-config"}},
}

// Where both servers keep things.
const (
	dataDir  = "/var/lib/mysql"
	filesDir = "/var/lib/mysql-files" // all that LOAD DATA and SELECT INTO OUTFILE may read and write
	logDir   = "/var/log/mysql"
	errorLog = logDir + "/error.log"
)

// candidates are the packages that the choice of a server depends on.
var candidates = []string{"mysql-server", "mariadb-server"}

// choose is the server and its package: the installed one, else the one that was asked for, else what there is. Where
// a distribution has no MySQL, its mysql-server is either absent or without a candidate.
func choose(wanted string, facts task.Facts) (flavor, string, error) {
	if installed := facts.Database; installed != nil {
		if wanted != "auto" && wanted != installed.Flavor {
			return flavor{}, "", fmt.Errorf("flavor: %s is wanted, but the image has %s %s", wanted, installed.Flavor,
				installed.Version)
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

// bakedAddress is the address that the server listens on while the image is baked, and until an instance knows its own.
func (c *Config) bakedAddress() string {
	if c.BindAddress == "instance" {
		return "127.0.0.1"
	}
	return c.BindAddress
}

// anyBindLine is whatever the server reads as the setting that first boot replaces.
var anyBindLine = regexp.MustCompile(`(?m)^[ \t]*(?:loose[-_])?bind[-_]address\s*=.*$`)

// values are the variables of the templates.
func (c *Config) values(flavor string, facts task.Facts) map[string]any {
	return map[string]any{
		"flavor":       flavor,
		"bind_address": c.bakedAddress(),
		"port":         c.Port,
		"database":     c.Database,
		"username":     c.Username,
		"files":        filesDir,
		"log":          errorLog,
		"vars":         c.Vars,
		"facts":        render.Facts(facts),
	}
}

func (c *Config) render(flavor string, facts task.Facts) ([]byte, error) {
	text, err := render.File(c.ConfigFile, c.values(flavor, facts))
	if err != nil {
		return nil, err
	}
	found := anyBindLine.FindAll(text, -1)
	if len(found) != 1 || !mysqlsetup.IsBindLine(found[0]) || !bytes.Contains(found[0], []byte(c.bakedAddress())) {
		return nil, fmt.Errorf(
			"template %s: it should have one line `bind-address = {{ .bind_address }}`",
			c.ConfigFile,
		)
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
	dropIn, err := render.File(c.DropIn, c.values(f.name, facts))
	if err != nil {
		return task.Play{}, fmt.Errorf("drop_in: %w", err)
	}
	boot, err := c.bootTasks(f, agent)
	if err != nil {
		return task.Play{}, err
	}
	contents, err := c.contents()
	if err != nil {
		return task.Play{}, err
	}
	restart := []string{"restart the server"}
	return task.Play{
		Name: "mysql",
		Tasks: slices.Concat(
			boot,
			[]task.Task{
				{Name: "install " + server, Spec: task.Package{Names: []string{server}}},
				instance.WaitForData(f.unit),
			},
			places(restart),
			confine(f, profileDir, restart),
			f.serverTasks(settings, dropIn, restart),
			secure(f, restart),
			contents,
			[]task.Task{onlyReadByServer(), noExposedAccount(f)},
		),
		Handlers: []task.Task{{Name: restart[0], Spec: task.Command{Shell: restartScript(f.unit)}}},
	}, nil
}

// bootTasks prepare first boot, and describe the tier to it.
func (c *Config) bootTasks(f flavor, agent task.Blob) ([]task.Task, error) {
	first, err := instance.FirstBootTasks(agent)
	if err != nil {
		return nil, err
	}
	data, err := instance.DataTasks()
	if err != nil {
		return nil, err
	}
	description, err := c.description(f, f.configPath())
	if err != nil {
		return nil, err
	}
	describe, err := imagespec.Task("mysql", description)
	if err != nil {
		return nil, err
	}
	return append(slices.Concat(first, data), describe), nil
}

// configPath is the file of our settings. The server reads the files of a directory by name, and what it reads last
// counts. MySQL's own are named by letters.
func (f flavor) configPath() string { return f.configDir + "/z-goldsmith.cnf" }

// serverTasks configure and start the server.
func (f flavor) serverTasks(settings, dropIn []byte, restart []string) []task.Task {
	yes := true
	tasks := []task.Task{
		{
			Name:   "keep the server in",
			Notify: restart,
			Spec:   task.Unit{Unit: f.unit, DropIn: "20-hardening.conf", Content: task.Bytes(dropIn)},
		},
		{
			Name:   "configure the server",
			Notify: restart,
			Spec: task.File{
				Path:    f.configPath(),
				Mode:    "0640",
				Group:   "mysql",
				Content: task.Bytes(settings),
				Test:    f.validate,
			},
		},
		oneBindAddress(f.configPath(), restart),
	}
	if f.name == "mariadb" {
		// A socket unit would listen on addresses of its own.
		for _, socket := range []string{"mariadb.socket", "mariadb-extra.socket"} {
			tasks = append(tasks, task.Task{Name: "mask " + socket, Spec: task.Service{Unit: socket, Masked: &yes}})
		}
	}
	return append(tasks,
		task.Task{Name: "start the server", Spec: task.Service{Unit: f.unit, State: task.Started, Enabled: &yes}})
}

// restartScript is the real start that every new configuration is put to. systemctl says only that it failed; the
// server's own words are in its log, or in the journal before it reads where its log is. The first is the reason, and
// comes last, as an error shows a program's last line.
func restartScript(unit string) string {
	return fmt.Sprintf(
		"systemctl restart %[1]s && exit 0\njournalctl --no-pager --output=cat --lines=20 --unit=%[1]s >&2\n"+
			"grep -sF '[ERROR]' %[2]s | grep -vw Aborting | tail -n 5 | tac >&2\nexit 1",
		unit,
		errorLog,
	)
}

// places are directories that the server needs and a package may not make. One that is missing keeps the unit from
// starting, as it may write nowhere else.
func places(notify []string) []task.Task {
	return []task.Task{
		{
			Name: "directory of the data",
			Spec: task.Directory{Path: dataDir, Mode: "0750", Owner: "mysql", Group: "mysql"},
		},
		{
			Name:   "directory for files in and out",
			Notify: notify,
			Spec:   task.Directory{Path: filesDir, Mode: "0750", Owner: "mysql", Group: "mysql"},
		},
		{
			Name:   "directory of the log",
			Notify: notify,
			Spec:   task.Directory{Path: logDir, Mode: "2750", Owner: "mysql", Group: "adm"},
		},
	}
}

// onlyReadByServer lets root and the server alone read the server's configuration, wherever the distribution has put
// it.
func onlyReadByServer() task.Task {
	const open = `find /etc/mysql -type f -name '*.cnf*' \( -perm /0137 -o ! -group mysql \) ! -name debian.cnf`
	return task.Task{Name: "configuration for the server's eyes", Spec: task.Command{
		Shell:  open + ` -exec chgrp mysql {} + -exec chmod u-x,g-wx,o-rwx {} +`,
		Unless: []string{"/bin/sh", "-c", "! " + open + " | grep -q ."},
	}}
}

// noExposedAccount ends the bake at an account that a seed has made for the network.
func noExposedAccount(f flavor) task.Task {
	from := "FROM mysql.user u WHERE " + f.exposed
	return task.Task{Name: "no account but of the local socket", Spec: task.SQL{
		Unless: "SELECT COUNT(*) = 0 " + from,
		Statements: "SET @found = (SELECT LEFT(CONCAT('the image has accounts that are not held to the local " +
			"socket: ', GROUP_CONCAT(CONCAT(QUOTE(User), '@', QUOTE(Host)) SEPARATOR ', ')), 128) " + from + ");\n" +
			"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = @found;",
	}}
}

// oneBindAddress turns every other bind-address into a comment, wherever the distribution put it.
func oneBindAddress(config string, notify []string) task.Task {
	const line = `^[[:space:]]*(loose[-_])?bind[-_]address`
	others := fmt.Sprintf(`grep -rlE '%s' /etc/mysql --include='*.cnf' | grep -vxF %s`, line, config)
	return task.Task{Name: "no other bind-address", Notify: notify, Spec: task.Command{
		Shell:  others + fmt.Sprintf(` | xargs -r sed -i -E 's/%s/# set in z-goldsmith.cnf: &/'`, line),
		Unless: []string{"/bin/sh", "-c", "! " + others + " | grep -q ."},
	}}
}

// secure does what mysql_secure_installation does, and takes away what would be the same on all instances: the
// maintenance account that Debian's MySQL makes with a password, and keys.
func secure(f flavor, notify []string) []task.Task {
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
			Unless: `SELECT (SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'test') + ` +
				`(SELECT COUNT(*) FROM mysql.db WHERE Db LIKE 'test%') = 0`,
			Statements: `DROP DATABASE IF EXISTS test; DELETE FROM mysql.db WHERE Db LIKE 'test%'; FLUSH PRIVILEGES;`,
		}},
	}
	if f.name == "mariadb" {
		return tasks
	}
	return append(
		tasks,
		component("validate_password", notify),
		component("connection_control", notify),
		remove("no maintenance account with a password", "User = 'debian-sys-maint'"),
		task.Task{
			Name: "maintenance over the local socket",
			Spec: task.File{Path: "/etc/mysql/debian.cnf", Mode: "0600", Content: task.Bytes([]byte(
				"[client]\nhost = localhost\nuser = root\n[mysql_upgrade]\nhost = localhost\nuser = root\n"))},
		},
		task.Task{Name: "no keys of the image's own", Spec: task.Command{
			Shell:  "rm -f /var/lib/mysql/*.pem",
			Unless: []string{"/bin/sh", "-c", "! ls /var/lib/mysql/*.pem >/dev/null 2>&1"},
		}},
	)
}

// component installs one of MySQL's components, where the package has it.
func component(name string, notify []string) task.Task {
	const client = "mysql --no-defaults --protocol=socket --user=root --batch --skip-column-names --execute="
	return task.Task{Name: "component " + name, Notify: notify, Spec: task.Command{
		OnlyIf: []string{"/usr/bin/test", "-e", "/usr/lib/mysql/plugin/component_" + name + ".so"},
		Unless: []string{
			"/bin/sh",
			"-c",
			fmt.Sprintf(`%s"SELECT component_urn FROM mysql.component" | grep -qx file://component_%s`, client, name),
		},
		Shell: fmt.Sprintf(`%s"INSTALL COMPONENT 'file://component_%s'"`, client, name),
	}}
}

// unfinished is a table that is there while the seed runs, and stays if it fails.
const unfinished = "goldsmith_seed_unfinished"

// contents are the application's database and what is in it.
func (c *Config) contents() ([]task.Task, error) {
	half := fmt.Sprintf(
		"SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '%s' AND table_name = '%s'",
		c.Database,
		unfinished,
	)
	tasks := []task.Task{{Name: "no half of a seed", Spec: task.SQL{
		Unless:     fmt.Sprintf("SELECT (%s) = 0", half),
		Statements: fmt.Sprintf("DROP DATABASE `%s`", c.Database),
	}}, {Name: "database " + c.Database, Spec: task.SQL{
		Unless: fmt.Sprintf(
			"SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '%s'", c.Database,
		),
		Statements: fmt.Sprintf("CREATE DATABASE `%s` CHARACTER SET utf8mb4", c.Database),
	}}}
	if c.Seed == "" {
		return tasks, nil
	}
	seed, err := os.ReadFile(c.Seed)
	if err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	// The server's client would take a byte order mark behind other text for text.
	if seed = bytes.TrimPrefix(seed, []byte("\uFEFF")); len(bytes.TrimSpace(seed)) == 0 {
		return nil, fmt.Errorf("seed: %s is empty", c.Seed)
	}
	// What comes before it is on its first line, so that the lines which the client names in an error are the file's.
	statements := fmt.Sprintf("CREATE TABLE %[1]s (one INT); %[2]s\n;\nDROP TABLE `%[3]s`.%[1]s;", unfinished, seed,
		c.Database)
	return append(
		tasks,
		task.Task{Name: "seed the database from " + c.Seed, Spec: task.SQL{
			Database:   c.Database,
			Statements: statements,
			Unless: fmt.Sprintf(
				"SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '%s'",
				c.Database,
			),
		}},
	), nil
}
