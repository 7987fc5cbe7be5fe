//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config,Task,Package,File,Template,Directory,Link,Group,User,Unit,Service,Command,Sysctl,SQL,AptHold,Line,Assert

package tasks

import "github.com/hashicorp/packer-plugin-sdk/common"

// Config is the provisioner's configuration.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// What the play is called in the output. The default is `tasks`.
	Name string `mapstructure:"name"`
	// The tasks, in their order. The first that fails ends the play.
	Tasks []Task `mapstructure:"task"`
	// Tasks that run once each, after all others, if a task that changed something notifies them.
	Handlers []Task `mapstructure:"handler"`
	// Values for templates, there as `.vars.NAME`.
	Vars map[string]string `mapstructure:"vars"`
	// Change nothing, and show what would change. The default is false.
	Check bool `mapstructure:"check"`
}

// Task is one thing that should be so: exactly one of its blocks says what.
type Task struct {
	// What the output, and a `notify`, call it.
	Name string `mapstructure:"name" required:"true"`
	// Handlers to run when this task changed something.
	Notify []string `mapstructure:"notify"`
	// Keep content, difference, command and output out of the log. The default is false.
	Sensitive bool `mapstructure:"sensitive"`

	// Debian packages.
	Package *Package `mapstructure:"package"`
	// A file with this content.
	File *File `mapstructure:"file"`
	// A file whose content is rendered of a template.
	Template *Template `mapstructure:"template"`
	// A directory.
	Directory *Directory `mapstructure:"directory"`
	// A symbolic link.
	Link *Link `mapstructure:"link"`
	// A local group.
	Group *Group `mapstructure:"group"`
	// A local user.
	User *User `mapstructure:"user"`
	// A systemd unit or a drop-in for one.
	Unit *Unit `mapstructure:"unit"`
	// The state of a systemd unit.
	Service *Service `mapstructure:"service"`
	// A program that is run where it is needed.
	Command *Command `mapstructure:"command"`
	// A kernel parameter.
	Sysctl *Sysctl `mapstructure:"sysctl"`
	// Statements for the local database.
	SQL *SQL `mapstructure:"sql"`
	// Packages that keep their version.
	AptHold *AptHold `mapstructure:"apt_hold"`
	// One line of a file that others own.
	Line *Line `mapstructure:"line"`
	// A command that has to succeed on each instance of the image for it to be ready.
	Assert *Assert `mapstructure:"assert"`
}

// Package is Debian packages that are installed or not. Neighbouring package tasks are one transaction.
type Package struct {
	// The packages' names.
	Names []string `mapstructure:"names" required:"true"`
	// `present` (the default), `latest`, or `absent`, which purges.
	State string `mapstructure:"state"`
	// Install recommended packages too. The default is false.
	Recommends bool `mapstructure:"recommends"`
}

// File is a file with this content, mode and owner.
type File struct {
	// Where it is on the instance.
	Path string `mapstructure:"path" required:"true"`
	// The content. Either this or `source`.
	Content string `mapstructure:"content"`
	// A file on this machine with the content. Either this or `content`.
	Source string `mapstructure:"source"`
	// The mode in octal. The default is `0644`.
	Mode string `mapstructure:"mode"`
	// The owner. The default is root.
	Owner string `mapstructure:"owner"`
	// The group. The default is root.
	Group string `mapstructure:"group"`
	// A command that must succeed with the new content before it takes the file's place; `%s` is the new file.
	Validate []string `mapstructure:"validate"`
	// `present` (the default) or `absent`.
	State string `mapstructure:"state"`
}

// Template is a file whose content is rendered on this machine (text/template with sprig's functions). It knows `.vars`
// and `.facts`.
type Template struct {
	// Where it is on the instance.
	Path string `mapstructure:"path" required:"true"`
	// The template, a file on this machine.
	Source string `mapstructure:"source" required:"true"`
	// The mode in octal. The default is `0644`.
	Mode string `mapstructure:"mode"`
	// The owner. The default is root.
	Owner string `mapstructure:"owner"`
	// The group. The default is root.
	Group string `mapstructure:"group"`
	// A command that must succeed with the new content before it takes the file's place; `%s` is the new file.
	Validate []string `mapstructure:"validate"`
}

// Directory is a directory with this mode and owner.
type Directory struct {
	// Where it is on the instance.
	Path string `mapstructure:"path" required:"true"`
	// The mode in octal. The default is `0755`.
	Mode string `mapstructure:"mode"`
	// The owner. The default is root.
	Owner string `mapstructure:"owner"`
	// The group. The default is root.
	Group string `mapstructure:"group"`
	// `present` (the default), or `absent`, which removes all that is in it too.
	State string `mapstructure:"state"`
}

// Link is a symbolic link.
type Link struct {
	// Where it is on the instance.
	Path string `mapstructure:"path" required:"true"`
	// What it points to.
	Target string `mapstructure:"target"`
	// `present` (the default) or `absent`.
	State string `mapstructure:"state"`
}

// Group is a local group.
type Group struct {
	// Its name.
	Group string `mapstructure:"group" required:"true"`
	// A system group, with a number below 1000. The default is false.
	System bool `mapstructure:"system"`
	// `present` (the default) or `absent`.
	State string `mapstructure:"state"`
}

// User is a local user without a password.
type User struct {
	// Its name.
	User string `mapstructure:"user" required:"true"`
	// A system user, with a number below 1000 and no shell. The default is false.
	System bool `mapstructure:"system"`
	// The primary group. The default is one of the user's name.
	Group string `mapstructure:"group"`
	// More groups, beside those that it has.
	Groups []string `mapstructure:"groups"`
	// The home directory.
	Home string `mapstructure:"home"`
	// Make the home directory. The default is false.
	CreateHome bool `mapstructure:"create_home"`
	// The login shell.
	Shell string `mapstructure:"shell"`
	// `present` (the default) or `absent`.
	State string `mapstructure:"state"`
}

// Unit is a unit file, or a drop-in, in /etc/systemd/system.
type Unit struct {
	// The unit's name, for example `app.service`.
	Unit string `mapstructure:"unit" required:"true"`
	// The name of a drop-in, for example `50-limits.conf`; without it, the unit itself is meant.
	DropIn string `mapstructure:"drop_in"`
	// The content. Either this or `source`.
	Content string `mapstructure:"content"`
	// A template on this machine with the content. Either this or `content`.
	Source string `mapstructure:"source"`
	// `present` (the default) or `absent`.
	State string `mapstructure:"state"`
}

// Service is the state of a systemd unit.
type Service struct {
	// The unit's name, for example `nginx.service`.
	Unit string `mapstructure:"unit" required:"true"`
	// `started`, `stopped`, `restarted` or `reloaded`. The default leaves it as it is.
	State string `mapstructure:"state"`
	// Whether it starts at boot. The default leaves it as it is.
	Enabled *bool `mapstructure:"enabled"`
	// Whether it can be started at all. The default leaves it as it is.
	Masked *bool `mapstructure:"masked"`
}

// Command is a program that is run where it is needed. Without `creates`, `unless` and `only_if` it always is.
type Command struct {
	// The program and its arguments. Either this or `shell`.
	Argv []string `mapstructure:"argv"`
	// A script for /bin/sh -eu. Either this or `argv`.
	Shell string `mapstructure:"shell"`
	// A path; if it exists, there is nothing to do.
	Creates string `mapstructure:"creates"`
	// A program with arguments; if it succeeds, there is nothing to do.
	Unless []string `mapstructure:"unless"`
	// A program with arguments; if it fails, the task is skipped.
	OnlyIf []string `mapstructure:"only_if"`
	// The directory to run in.
	Dir string `mapstructure:"dir"`
	// More environment.
	Env map[string]string `mapstructure:"env"`
	// How long it may take, as in `90s`. The default is `10m`.
	Timeout string `mapstructure:"timeout"`
}

// Sysctl is a kernel parameter.
type Sysctl struct {
	// Its name, for example `net.ipv4.tcp_syncookies`.
	Key string `mapstructure:"key" required:"true"`
	// Its value.
	Value string `mapstructure:"value"`
	// The file that keeps it. The default is `/etc/sysctl.d/60-goldsmith.conf`.
	File string `mapstructure:"file"`
	// `present` (the default) or `absent`.
	State string `mapstructure:"state"`
}

// SQL is statements for the local database, run as its root over the socket.
type SQL struct {
	// The statements.
	Statements string `mapstructure:"statements" required:"true"`
	// The database to run them in.
	Database string `mapstructure:"database"`
	// A query; if its first column is not empty, NULL or 0, there is nothing to do.
	Unless string `mapstructure:"unless"`
}

// AptHold is packages that keep their version.
type AptHold struct {
	// The packages' names.
	Names []string `mapstructure:"names" required:"true"`
	// `present` (the default) or `absent`.
	State string `mapstructure:"state"`
}

// Line is one line of a file that others own.
type Line struct {
	// The file.
	Path string `mapstructure:"path" required:"true"`
	// Which line to replace, the last that matches. The default is none: the line is appended where it is missing.
	Regexp string `mapstructure:"regexp"`
	// The line.
	Line string `mapstructure:"line"`
	// `present` (the default), or `absent`, which removes every match.
	State string `mapstructure:"state"`
	// Make the file if there is none. The default is false.
	Create bool `mapstructure:"create"`
}

// Assert is a command that each instance of the image runs, as root, when it verifies itself at boot. Its outcome is part
// of the report by which an image is proved and a deploy sees that an instance is ready. It is repeated until it succeeds,
// for two minutes at most.
type Assert struct {
	// The program and its arguments. Either this or `shell`.
	Argv []string `mapstructure:"argv"`
	// A script for `/bin/sh -eu`. Either this or `argv`.
	Shell string `mapstructure:"shell"`
	// A regular expression that the standard output has to match.
	Output string `mapstructure:"output"`
	// How long it may take, a minute at most. The default is `10s`.
	Timeout string `mapstructure:"timeout"`
}
