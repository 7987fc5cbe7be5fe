// Package task is the shape of the work that Goldsmith does on a machine: typed, idempotent descriptions of one thing
// each, ordered into plays. It is data only. Provisioners build plays from it on the operator's side, the wire codec
// carries them, and package engine makes them so on the instance.
package task

// Play is an ordered list of tasks, and the handlers that they may notify.
type Play struct {
	// Name is what the output calls the play.
	Name string
	// Tasks run in this order; the first that fails ends the play.
	Tasks []Task
	// Handlers run once each, in this order, after the last task, and only if a task that changed something named them.
	Handlers []Task
}

// Task is one thing that should be so.
type Task struct {
	// Name is what the output and a Notify call the task; unique among a play's handlers.
	Name string
	// Notify names handlers of the same play.
	Notify []string
	// Sensitive keeps content, diff, command line and output of the task out of every event.
	Sensitive bool
	// Spec says what should be so.
	Spec Spec
}

// Spec is one kind of task. The concrete types of this package are the only ones.
type Spec interface {
	// Kind is the name on the wire and in HCL.
	Kind() string
	// Validate reports what is wrong with the description itself, naming the attribute.
	Validate() error
}

// State values, as Ansible names them. Which of them a kind takes is said at the kind.
const (
	Present   = "present"
	Absent    = "absent"
	Latest    = "latest"
	Started   = "started"
	Stopped   = "stopped"
	Restarted = "restarted"
	Reloaded  = "reloaded"
)

// Package is Debian packages that are installed or not. Neighbouring Package tasks of a play run as one apt transaction.
type Package struct {
	Names []string `json:"names"`
	// State is present (default), latest or absent (purged).
	State string `json:"state,omitempty"`
	// Recommends installs recommended packages too; false by default.
	Recommends bool `json:"recommends,omitempty"`
}

// File is a regular file with this content, mode and owner.
type File struct {
	Path    string `json:"path"`
	Content Blob   `json:"content"`
	// Mode is octal, as in "0644" (default).
	Mode  string `json:"mode,omitempty"`
	Owner string `json:"owner,omitempty"` // default root
	Group string `json:"group,omitempty"` // default root
	// Test is a command that must succeed with the new content before it takes the file's place; %s in an argument
	// stands for the temporary file. Ansible and the wire call it validate.
	Test []string `json:"validate,omitempty"`
	// State is present (default) or absent.
	State string `json:"state,omitempty"`
}

// Directory is a directory with this mode and owner; absent removes it with all that is in it.
type Directory struct {
	Path  string `json:"path"`
	Mode  string `json:"mode,omitempty"` // default 0755
	Owner string `json:"owner,omitempty"`
	Group string `json:"group,omitempty"`
	State string `json:"state,omitempty"` // present (default) or absent
}

// Link is a symbolic link.
type Link struct {
	Path   string `json:"path"`
	Target string `json:"target"`
	State  string `json:"state,omitempty"` // present (default) or absent
}

// Group is a local group.
type Group struct {
	Group  string `json:"group"`
	System bool   `json:"system,omitempty"`
	State  string `json:"state,omitempty"`
}

// User is a local user. A system user has no password and, unless Shell says otherwise, no login shell.
type User struct {
	User       string   `json:"user"`
	System     bool     `json:"system,omitempty"`
	Group      string   `json:"group,omitempty"`  // primary group; default one of the same name
	Groups     []string `json:"groups,omitempty"` // supplementary, in addition to what it has
	Home       string   `json:"home,omitempty"`
	CreateHome bool     `json:"create_home,omitempty"`
	Shell      string   `json:"shell,omitempty"`
	State      string   `json:"state,omitempty"`
}

// Unit is a systemd unit file or, with DropIn, a drop-in for one, in /etc/systemd/system. systemd is told to read its
// configuration again when the file changed.
type Unit struct {
	Unit    string `json:"unit"`              // for example app.service
	DropIn  string `json:"drop_in,omitempty"` // for example 50-limits.conf
	Content Blob   `json:"content"`
	State   string `json:"state,omitempty"` // present (default) or absent
}

// Service is the state of a systemd unit.
type Service struct {
	Unit string `json:"unit"`
	// State is started, stopped, restarted or reloaded; empty leaves it as it is. Restarted and reloaded always change.
	State   string `json:"state,omitempty"`
	Enabled *bool  `json:"enabled,omitempty"`
	Masked  *bool  `json:"masked,omitempty"`
}

// Command runs a program when it is needed. Without Creates, Unless and OnlyIf it always runs and always changes.
type Command struct {
	Argv    []string          `json:"argv,omitempty"`  // either Argv
	Shell   string            `json:"shell,omitempty"` // or Shell, run by /bin/sh -eu
	Creates string            `json:"creates,omitempty"`
	Unless  []string          `json:"unless,omitempty"`  // argv; success means there is nothing to do
	OnlyIf  []string          `json:"only_if,omitempty"` // argv; failure means there is nothing to do
	Dir     string            `json:"dir,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	// Timeout is a Go duration; default 10m.
	Timeout string `json:"timeout,omitempty"`
}

// Sysctl is a kernel parameter, in /etc/sysctl.d and, where the kernel lets it be set, at once.
type Sysctl struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	File  string `json:"file,omitempty"`  // default /etc/sysctl.d/60-goldsmith.conf
	State string `json:"state,omitempty"` // present (default) or absent
}

// SQL runs statements as the database's root over the local socket. Unless is a query; a first column of the first row
// that is neither empty, NULL nor 0 means there is nothing to do.
type SQL struct {
	// Statements are one or several, as the mysql client takes them, in any encoding.
	Statements string `json:"statements"`
	Database   string `json:"database,omitempty"`
	Unless     string `json:"unless,omitempty"`
}

// AptHold keeps packages at the version they have.
type AptHold struct {
	Names []string `json:"names"`
	State string   `json:"state,omitempty"` // present (default) or absent
}

// Line is one line in a file that others own. Regexp finds the line to replace (the last match); without a match the
// line is appended. Absent removes every match.
type Line struct {
	Path   string `json:"path"`
	Regexp string `json:"regexp,omitempty"`
	Line   string `json:"line,omitempty"`
	State  string `json:"state,omitempty"`
	Create bool   `json:"create,omitempty"`
}

func (Package) Kind() string   { return "package" }
func (File) Kind() string      { return "file" }
func (Directory) Kind() string { return "directory" }
func (Link) Kind() string      { return "link" }
func (Group) Kind() string     { return "group" }
func (User) Kind() string      { return "user" }
func (Unit) Kind() string      { return "unit" }
func (Service) Kind() string   { return "service" }
func (Command) Kind() string   { return "command" }
func (Sysctl) Kind() string    { return "sysctl" }
func (SQL) Kind() string       { return "sql" }
func (AptHold) Kind() string   { return "apt_hold" }
func (Line) Kind() string      { return "line" }
