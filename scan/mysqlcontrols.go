package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// A databaseControl is one thing that should be so of a database server. Exactly one of variable, option and value says
// what.
type databaseControl struct {
	// id is the number that the dev-sec MySQL baseline (mysql-…) or the CIS benchmark (cis-…) gives it.
	id string
	// flavor is mariadb or mysql where only one of them has such a thing.
	flavor string
	// variable is a global system variable.
	variable string
	// option is one of the server's start, from its option files; one that is not there has no value.
	option string
	// value computes what is to be judged. Those that list offenders list none where all is well.
	value func(d *database) string
	// what says it in words, where variable and option do not.
	what string
	// want is a regular expression that the whole value must match.
	want string
}

// databaseControls are all that apply to a server of one application in a subnet of its own. The benchmark's controls
// for replication, and those of its second level, are not among them.
var databaseControls = []databaseControl{
	{id: "mysql-conf-02", what: "server processes", value: fact("processes"), want: `1`},
	{id: "mysql-conf-03-user", what: "the server's operating system user", value: fact("process_user"), want: `mysql`},
	{id: "mysql-conf-03-safe-user-create", option: "safe-user-create", want: on},
	{id: "mysql-conf-03-old-passwords", flavor: "mariadb", variable: "old_passwords", want: off},
	{id: "mysql-conf-03-skip-show-database", variable: "skip_show_database", want: on},
	{id: "mysql-conf-03-automatic-sp-privileges", variable: "automatic_sp_privileges", want: off},
	{id: "mysql-conf-04", what: "owner of the data directory", value: owner("datadir"), want: `mysql:mysql`},
	{
		id:    "mysql-conf-05",
		what:  "owner and mode of ibdata1",
		value: ownerAndMode("ibdata1"),
		want:  `mysql:mysql [0-7][0-7]0`,
	},
	{
		id:    "mysql-conf-06",
		what:  "owner and mode of the error log",
		value: ownerAndMode("log"),
		want:  `mysql:adm [0-7][0-7]0`,
	},
	{
		id:    "mysql-conf-07",
		what:  "owner and mode of /etc/mysql/my.cnf",
		value: ownerAndMode("my.cnf"),
		want:  `root:mysql [0-7][0-4]0`,
	},
	{
		id:    "mysql-conf-08",
		what:  "option files that others can read, or that are not root's",
		value: openOptionFiles,
		want:  none,
	},
	{id: "mysql-conf-09", what: "MYSQL_PWD in an environment", value: fact("mysql_pwd"), want: none},
	{id: "mysql-db-01", what: "an edition that its vendor gives no support for", value: func(d *database) string {
		return regexp.MustCompile("(?i)community").FindString(d.variable("version_comment"))
	}, want: none},
	{id: "mysql-db-02", variable: "version", want: `([5-9]|[1-9][0-9]+)\..*`},
	{id: "mysql-db-03", what: "databases for tests and examples", value: exampleDatabases, want: none},
	{
		id:    "mysql-db-04",
		what:  "anonymous accounts",
		value: accounts(func(a account) bool { return a.user == "" }),
		want:  none,
	},
	{
		id:    "mysql-db-05",
		what:  "accounts without a password",
		value: accounts(func(a account) bool { return !a.locked && !a.secret && !a.socket }),
		want:  none,
	},
	{id: "mysql-db-06", what: "accounts that may grant", value: accountsWith("GRANT OPTION"), want: none},
	{
		id:    "mysql-db-07",
		what:  "accounts of any host",
		value: accounts(func(a account) bool { return strings.ContainsAny(a.host, "%_") || a.host == "" }),
		want:  none,
	},
	{id: "mysql-db-08", what: "root from elsewhere", value: accounts(func(a account) bool {
		return a.user == "root" && !slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, a.host)
	}), want: none},

	{id: "cis-1.1", what: "file system of the data", value: dataFileSystem, want: `its own`},
	{id: "cis-1.3", what: "command histories of the client", value: fact("histories"), want: none},
	{id: "cis-1.5", what: "shell of the server's user", value: fact("shell"), want: `/(usr/)?s?bin/(nologin|false)`},
	{id: "cis-2.1.5-log", variable: "log_bin", want: on},
	{id: "cis-2.1.5-expiry", variable: "binlog_expire_logs_seconds", want: `[1-9][0-9]*`},
	{id: "cis-2.3", what: "command line of the server with a password", value: fact("password_arguments"), want: none},
	{id: "cis-2.5", variable: "ssl_cert", want: `/run/.+`},
	{id: "cis-2.7", variable: "default_password_lifetime", want: `[1-9][0-9]?|[12][0-9][0-9]|3[0-5][0-9]|36[0-5]`},
	{id: "cis-2.8-history", flavor: "mysql", variable: "password_history", want: `[5-9]|[1-9][0-9]+`},
	{
		id:       "cis-2.8-interval",
		flavor:   "mysql",
		variable: "password_reuse_interval",
		want:     `36[5-9]|3[7-9][0-9]|[4-9][0-9][0-9]|[0-9]{4,}`,
	},
	{
		id:    "cis-2.14",
		what:  "address that the server listens on, and those of the machine on its port",
		value: listens,
		want:  `one`,
	},
	{id: "cis-2.15", variable: "tls_version", want: `TLSv1\.3`},
	{id: "cis-2.17", flavor: "mariadb", variable: "ssl_cipher", want: suites},
	{id: "cis-2.17", flavor: "mysql", variable: "tls_ciphersuites", want: suites},
	{
		id:       "cis-2.18",
		flavor:   "mysql",
		variable: "component_connection_control.failed_connections_threshold",
		want:     `[1-5]`,
	},
	{
		id:    "cis-3.1",
		what:  "owner and mode of the data directory",
		value: ownerAndMode("datadir"),
		want:  `mysql:mysql 7[05]0`,
	},
	{
		id:    "cis-3.2",
		what:  "owner and mode of the binary log's index",
		value: ownerAndMode("binlog"),
		want:  `mysql:mysql 6[0246]0`,
	},
	{
		id:    "cis-3.3",
		what:  "owner and mode of the error log",
		value: ownerAndMode("log"),
		want:  `mysql:(mysql|adm) 6[0246]0`,
	},
	{id: "cis-3.7", what: "owner and mode of the TLS key", value: ownerAndMode("key"), want: `mysql:mysql [46]00`},
	{
		id:    "cis-3.8",
		what:  "owner and mode of the plugins' directory",
		value: ownerAndMode("plugins"),
		want:  `root:root 7[05][05]`,
	},
	{id: "cis-4.2", what: "databases for tests and examples", value: exampleDatabases, want: none},
	{id: "cis-4.3", option: "allow-suspicious-udfs", want: off},
	{id: "cis-4.4", variable: "local_infile", want: off},
	{id: "cis-4.5", option: "skip-grant-tables", want: none},
	{id: "cis-4.6", variable: "have_symlink", want: `DISABLED|NO`},
	{id: "cis-4.8", variable: "secure_file_priv", want: `/var/lib/mysql-files/`},
	{
		id:    "cis-4.8-mode",
		what:  "owner and mode of the directory for files in and out",
		value: ownerAndMode("files"),
		want:  `mysql:mysql 7[05]0`,
	},
	{id: "cis-4.9", variable: "sql_mode", want: `(.*,)?STRICT_ALL_TABLES(,.*)?`},
	{id: "cis-5.1", what: "accounts with a right on everything", value: accountsWith(""), want: none},
	{id: "cis-5.9", what: "rights beyond reading and writing rows", value: schemaRights, want: none},
	{id: "cis-6.1", variable: "log_error", want: `/.+`},
	{id: "cis-6.3", flavor: "mariadb", variable: "log_warnings", want: `2`},
	{id: "cis-6.3", flavor: "mysql", variable: "log_error_verbosity", want: `2`},
	{id: "cis-6.4", flavor: "mysql", option: "log_raw", want: off},
	{id: "cis-7.1", what: "accounts of the network with a weak method", value: accounts(func(a account) bool {
		return a.host != "localhost" && a.plugin != "ed25519" && a.plugin != "parsec" &&
			a.plugin != "caching_sha2_password"
	}), want: none},
	{id: "cis-7.2", what: "passwords in option files", value: fact("passwords"), want: none},
	{
		id:    "cis-7.3",
		what:  "accounts without a password",
		value: accounts(func(a account) bool { return !a.locked && !a.secret && !a.socket }),
		want:  none,
	},
	{id: "cis-7.5", flavor: "mariadb", variable: "simple_password_check_minimal_length", want: fourteen},
	{id: "cis-7.5-strict", flavor: "mariadb", variable: "strict_password_validation", want: on},
	{id: "cis-7.5", flavor: "mysql", variable: "validate_password.length", want: fourteen},
	{id: "cis-7.5-policy", flavor: "mysql", variable: "validate_password.policy", want: `MEDIUM|STRONG`},
	{
		id:    "cis-7.6",
		what:  "accounts of any host",
		value: accounts(func(a account) bool { return strings.ContainsAny(a.host, "%_") || a.host == "" }),
		want:  none,
	},
	{
		id:    "cis-7.7",
		what:  "anonymous accounts",
		value: accounts(func(a account) bool { return a.user == "" }),
		want:  none,
	},
	{id: "cis-8.1", variable: "require_secure_transport", want: on},
	{
		id:    "cis-8.2",
		what:  "accounts of the network that need no TLS",
		value: accounts(func(a account) bool { return a.host != "localhost" && !a.tls }),
		want:  none,
	},

	// Of neither list, and from the same reasoning.
	{id: "name-resolve", variable: "skip_name_resolve", want: on},
	{id: "x-protocol", flavor: "mysql", option: "mysqlx", want: off},
	{
		id:     "sockets-masked",
		flavor: "mariadb",
		what:   "socket units that are not masked",
		value:  fact("sockets"),
		want:   none,
	},
}

// Values that several want.
const (
	on       = `ON|1|YES|TRUE`
	off      = `OFF|0|NO|FALSE`
	none     = ``
	fourteen = `1[4-9]|[2-9][0-9]|[1-9][0-9]{2,}`
	suites   = `TLS_(AES_(128|256)_GCM_SHA(256|384)|CHACHA20_POLY1305_SHA256)(:TLS_(AES_(128|256)_GCM_SHA(256|384)|` +
		`CHACHA20_POLY1305_SHA256))*`
)

// database holds the collected state of a server and its machine.
type database struct {
	flavor    string
	facts     map[string]string // of the machine, by the names that collect gives them
	variables map[string]string
	options   map[string]string // with dashes
	files     map[string]string // as in "mysql:mysql 750"
	optionsIn []string          // option files, as in "root:mysql 640 /etc/mysql/my.cnf"
	schemas   []string
	accounts  []account
	rights    []right
}

type account struct {
	user, host, plugin          string
	locked, secret, socket, tls bool
}

func (a account) String() string { return a.user + "@" + a.host }

// serversOwn tells the accounts that come with the server: nobody but root and the server can use them.
func (a account) serversOwn() bool {
	return a.host == "localhost" &&
		(a.locked || a.socket && slices.Contains([]string{"root", "mysql", "debian-sys-maint"}, a.user))
}

// right is a privilege on all databases, or on one.
type right struct{ grantee, schema, privilege string }

// mysqlControls judges a server by the list, as root over the local socket.
func mysqlControls(ctx context.Context, m *machine) (string, []finding, error) {
	out, err := m.root(ctx, "sh -s", []byte(collect()))
	if err != nil {
		return "", nil, err
	}
	d, err := parseDatabase(out)
	if err != nil {
		return "", nil, err
	}
	return d.judge()
}

func (d *database) judge() (string, []finding, error) {
	var found []finding
	passed := 0
	for _, c := range databaseControls {
		if c.flavor != "" && c.flavor != d.flavor {
			continue
		}
		what, got := c.what, ""
		switch {
		case c.variable != "":
			what, got = c.variable, d.variable(c.variable)
		case c.option != "":
			what, got = "option "+c.option, d.options[strings.ReplaceAll(c.option, "_", "-")]
		default:
			got = c.value(d)
		}
		if regexp.MustCompile(`^(?:` + c.want + `)$`).MatchString(got) {
			passed++
			continue
		}
		found = append(found, finding{c.id, fmt.Sprintf("%s: %q, it should match %q", what, got, c.want)})
	}
	return fmt.Sprintf("%s: %d of %d controls", d.facts["version"], passed, passed+len(found)), found, nil
}

// notThere is the value of a variable that the server has not.
const notThere = "(not there)"

func (d *database) variable(name string) string {
	if value, ok := d.variables[name]; ok {
		return value
	}
	return notThere
}

func fact(name string) func(*database) string {
	return func(d *database) string { return d.facts[name] }
}

func dataFileSystem(d *database) string {
	if d.facts["data_device"] == d.facts["root_device"] {
		return "the system's"
	}
	return "its own"
}

func ownerAndMode(file string) func(*database) string {
	return func(d *database) string { return d.files[file] }
}

func owner(file string) func(*database) string {
	return func(d *database) string {
		name, _, _ := strings.Cut(d.files[file], " ")
		return name
	}
}

// openOptionFiles are those that more than root and the server can read, or that another could have written.
func openOptionFiles(d *database) string {
	closed := regexp.MustCompile(`^(root:mysql [0-7][0-4]0|root:root [0-7]00) `)
	return strings.Join(slices.DeleteFunc(slices.Clone(d.optionsIn), closed.MatchString), ", ")
}

func exampleDatabases(d *database) string {
	examples := []string{"test", "sakila", "world", "world_x", "menagerie", "employees"}
	return strings.Join(
		slices.DeleteFunc(slices.Clone(d.schemas), func(s string) bool { return !slices.Contains(examples, s) }),
		", ",
	)
}

// accounts lists those that a condition is true of.
func accounts(bad func(account) bool) func(*database) string {
	return func(d *database) string {
		var found []string
		for _, a := range d.accounts {
			if bad(a) {
				found = append(found, a.String())
			}
		}
		return strings.Join(found, ", ")
	}
}

// accountsWith lists accounts, but the server's own, that have a right on all databases, this one or any.
func accountsWith(privilege string) func(*database) string {
	return func(d *database) string {
		var found []string
		for _, r := range d.rights {
			if d.serversOwn(r.grantee) || privilege == "" && (r.schema != "" || r.privilege == "USAGE") ||
				privilege != "" && r.privilege != privilege {
				continue
			}
			found = append(found, r.grantee+" "+r.privilege)
		}
		return strings.Join(found, ", ")
	}
}

// schemaRights lists rights on a database that an application's account has no use for.
func schemaRights(d *database) string {
	var found []string
	for _, r := range d.rights {
		if r.schema == "" || d.serversOwn(r.grantee) ||
			slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE"}, r.privilege) &&
				!strings.ContainsAny(r.schema, "%") &&
				!slices.Contains([]string{"mysql", "sys", "information_schema", "performance_schema"}, r.schema) {
			continue
		}
		found = append(found, r.grantee+" "+r.privilege+" on "+r.schema)
	}
	return strings.Join(found, ", ")
}

func (d *database) serversOwn(grantee string) bool {
	return slices.ContainsFunc(d.accounts, func(a account) bool { return a.String() == grantee && a.serversOwn() })
}

// listens says "one" if the server listens on exactly one address, its configured one, which is of no wider kind.
func listens(d *database) string {
	address, err := netip.ParseAddr(d.variable("bind_address"))
	if err != nil || address.IsUnspecified() {
		return "bind_address " + d.variable("bind_address")
	}
	if want := address.String() + ":" + d.variable("port"); d.facts["listeners"] != want {
		return "listeners " + d.facts["listeners"]
	}
	return "one"
}

// collect is a script that prints what database holds, a line each, the parts divided by tabs.
func collect() string {
	names := []string{"'bind_address'", "'port'", "'version_comment'"}
	for _, c := range databaseControls {
		if c.variable != "" {
			names = append(names, "'"+c.variable+"'")
		}
	}
	return strings.ReplaceAll(collector, "@names@", strings.Join(names, ", "))
}

const collector = `set -eu
export LC_ALL=C
flavor=mysql server=mysqld client=mysql
if [ -x /usr/sbin/mariadbd ]; then flavor=mariadb server=mariadbd client=mariadb; fi
sql() { $client --no-defaults --protocol=socket --user=root --batch --skip-column-names --execute="$1"; }
fact() { printf 'fact\t%s\t%s\n' "$1" "$2"; }
line() { tr '\n' ' ' | sed 's/ *$//'; }
file() { if [ -e "$2" ]; then printf 'file\t%s\t%s\n' "$1" "$(stat -L -c '%U:%G %a' "$2")"; fi; }
value() { sql "SELECT @@$1"; }
printf 'flavor\t%s\n' $flavor
fact version "$(sql 'SELECT VERSION()')"
fact processes "$(ps -C $server -o pid= | wc -l)"
fact process_user "$(ps -C $server -o user= | line)"
fact shell "$(getent passwd mysql | cut -d: -f7)"
profiles="/etc/environment /etc/profile /etc/profile.d/* /etc/bash.bashrc"
profiles="$profiles /root/.profile /root/.bashrc /home/*/.profile /home/*/.bashrc"
fact mysql_pwd "$({ grep -lsz '^MYSQL_PWD=' /proc/[0-9]*/environ; grep -ls MYSQL_PWD $profiles; } | line)"
fact histories "$(
  for f in /root/.mysql_history /root/.mariadb_history /home/*/.mysql_history /home/*/.mariadb_history; do
    if [ -s "$f" ] && [ ! -c "$f" ]; then echo "$f"; fi
  done | line
)"
fact password_arguments "$(
  for p in $(ps -C $server,$client -o pid=); do
    tr '\0' '\n' <"/proc/$p/cmdline" | grep -E -e '^(--password=|-p).' || true
  done | cut -c1-10 | line
)"
fact passwords "$(
  grep -rlEs '^[[:space:]]*password[[:space:]]*=[[:space:]]*[^[:space:]]' \
    /etc/mysql /root/.my.cnf /home/*/.my.cnf | line
)"
fact data_device "$(stat -c %d "$(value datadir)")"
fact root_device "$(stat -c %d /)"
fact listeners "$(ss -Hltnp | grep "\"$server\"" | awk '{ print $4 }' | line)"
if [ $flavor = mariadb ]; then
  fact sockets "$(
    systemctl show --property=Id,LoadState \
      mariadb.socket mariadb-extra.socket mariadb@.socket mariadb-extra@.socket 2>/dev/null |
      awk -F= '$1 == "Id" { id = $2 }
        $1 == "LoadState" && $2 != "masked" && $2 != "not-found" { print id }' | line
  )"
fi
file datadir "$(value datadir)"
file ibdata1 "$(value datadir)/ibdata1"
file log "$(value log_error)"
file my.cnf /etc/mysql/my.cnf
file key "$(value ssl_key)"
file plugins "$(value plugin_dir)"
file files "$(value secure_file_priv)"
file binlog "$(value log_bin_index)"
find -L /etc/mysql -type f -name '*.cnf*' -printf 'options\t%u:%g %m %p\n'
/usr/sbin/$server --print-defaults | tail -n 1 | tr ' ' '\n' | sed -n 's/^--\([^=]*\)=\{0,1\}\(.*\)$/option\t\1\t\2/p'
ps -C $server -o args= | tr ' ' '\n' | sed -n 's/^--\([^=]*\)=\{0,1\}\(.*\)$/option\t\1\t\2/p'
variables=$(sql "SHOW GLOBAL VARIABLES WHERE Variable_name IN (@names@)")
echo "$variables" | sed 's/^/variable\t/'
sql "SELECT 'schema', schema_name FROM information_schema.schemata"
sql "SELECT 'right', REPLACE(grantee, '''', ''), '', privilege_type FROM information_schema.user_privileges
  UNION ALL SELECT 'right', REPLACE(grantee, '''', ''), '', 'GRANT OPTION'
    FROM information_schema.user_privileges WHERE is_grantable = 'YES'
  UNION ALL SELECT 'right', REPLACE(grantee, '''', ''), table_schema, privilege_type
    FROM information_schema.schema_privileges
  UNION ALL SELECT 'right', REPLACE(grantee, '''', ''), table_schema, 'GRANT OPTION'
    FROM information_schema.schema_privileges WHERE is_grantable = 'YES'"
if [ $flavor = mariadb ]; then
  sql "SELECT 'account', User, Host, JSON_VALUE(Priv, '\$.plugin'), IFNULL(JSON_VALUE(Priv, '\$.account_locked'), 0),
    IFNULL(JSON_VALUE(Priv, '\$.authentication_string'), '') NOT IN ('', 'invalid'), Priv LIKE '%\"unix_socket\"%',
    IFNULL(JSON_VALUE(Priv, '\$.ssl_type'), 0) > 0
    FROM mysql.global_priv WHERE IFNULL(JSON_VALUE(Priv, '\$.is_role'), 0) = 0"
else
  sql "SELECT 'account', User, Host, plugin, account_locked = 'Y',
    authentication_string <> '' AND plugin <> 'auth_socket', plugin = 'auth_socket', ssl_type <> '' FROM mysql.user"
fi
echo end
`

// fieldsOf says how many fields follow each kind of line that collect prints.
var fieldsOf = map[string]int{
	"flavor":   1,
	"fact":     2,
	"variable": 2,
	"option":   2,
	"file":     2,
	"options":  1,
	"schema":   1,
	"account":  7,
	"right":    3,
	"end":      0,
}

// parseDatabase reads what collect printed, to its end.
func parseDatabase(out string) (*database, error) {
	d := &database{
		facts:     map[string]string{},
		variables: map[string]string{},
		options:   map[string]string{},
		files:     map[string]string{},
	}
	whole := false
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
		kind, fields := fields[0], fields[1:]
		whole = kind == "end"
		if want, known := fieldsOf[kind]; !known || len(fields) != want {
			return nil, fmt.Errorf(
				"read what the database says: the line %q has %d fields",
				strings.TrimSpace(line),
				len(fields)+1,
			)
		}
		d.add(kind, fields)
	}
	if !whole || d.flavor == "" || len(d.accounts) == 0 || len(d.variables) == 0 {
		return nil, fmt.Errorf(
			"read what the database says: it ends early, after %d variables and %d accounts",
			len(d.variables),
			len(d.accounts),
		)
	}
	return d, nil
}

// add takes one line of what collect printed.
func (d *database) add(kind string, fields []string) {
	switch kind {
	case "flavor":
		d.flavor = fields[0]
	case "fact":
		d.facts[fields[0]] = fields[1]
	case "variable":
		d.variables[strings.ToLower(fields[0])] = fields[1]
	case "option":
		d.options[strings.ReplaceAll(fields[0], "_", "-")] = strings.ToUpper(cmp.Or(fields[1], "ON"))
	case "file":
		d.files[fields[0]] = fields[1]
	case "options":
		d.optionsIn = append(d.optionsIn, fields[0])
	case "schema":
		d.schemas = append(d.schemas, fields[0])
	case "account":
		is := func(i int) bool { return fields[i] == "1" || fields[i] == "true" }
		d.accounts = append(
			d.accounts,
			account{
				user:   fields[0],
				host:   fields[1],
				plugin: fields[2],
				locked: is(3),
				secret: is(4),
				socket: is(5),
				tls:    is(6),
			},
		)
	case "right":
		d.rights = append(d.rights, right{fields[0], fields[1], fields[2]})
	}
}
