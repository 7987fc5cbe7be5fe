package main

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/status"
)

// TestEachCommandHasAnExampleAndItsExitCodes walks over all commands.
func TestEachCommandHasAnExampleAndItsExitCodes(t *testing.T) {
	ofCobra := map[string]bool{"help": true, "completion": true}
	var walk func(*cobra.Command) int
	walk = func(c *cobra.Command) int {
		count := 0
		if c.Runnable() && !c.Hidden && c.HasParent() && !ofCobra[c.Name()] && !ofCobra[c.Parent().Name()] {
			count++
			if c.Example == "" || !strings.Contains(c.Example, c.CommandPath()) {
				t.Errorf("%s: it has no example of itself", c.CommandPath())
			}
			if !strings.Contains(c.Long, "Exit codes: 0 ") {
				t.Errorf("%s: it does not tell its exit codes", c.CommandPath())
			}
		}
		for _, child := range c.Commands() {
			count += walk(child)
		}
		return count
	}
	if count := walk(rootCommand()); count < 20 {
		t.Errorf("only %d commands were looked at", count)
	}
}

func TestConfirm(t *testing.T) {
	for _, c := range []struct {
		answer string
		yes    bool
		want   string
	}{
		{"golden\n", false, ""},
		{" golden \n", false, ""},
		{"golden", false, ""},
		{"y\n", false, `"y" is not golden, and nothing was done`},
		{"", false, "nothing was done"},
		{"", true, ""},
	} {
		cmd := &cobra.Command{}
		cmd.SetContext(t.Context())
		cmd.SetIn(strings.NewReader(c.answer))
		var said bytes.Buffer
		cmd.SetErr(&said)
		err := confirm(cmd, c.yes, "remove the network of stack golden", "golden")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q, yes %v: got %v, want %q", c.answer, c.yes, err, c.want)
		}
		if asked := strings.Contains(said.String(), "Type the stack's name, golden,"); asked == c.yes {
			t.Errorf("%q, yes %v: it said %q", c.answer, c.yes, said.String())
		}
	}
}

func TestLogCommand(t *testing.T) {
	whole := imagespec.Log{}
	files := imagespec.Log{Name: "nginx", Unit: "nginx.service", Path: "/var/log/nginx/*.log"}
	for _, c := range []struct {
		log    imagespec.Log
		since  string
		lines  int
		follow bool
		want   string
	}{
		{whole, "", 5, false, "sudo -n journalctl --no-pager --lines=5"},
		{whole, "today", 0, false, "sudo -n journalctl --no-pager --since=today"},
		{
			whole, "it's 10:00", 5, true,
			`sudo -n journalctl --no-pager --lines=5 --since='it'"'"'s 10:00' --follow`,
		},
		{
			imagespec.Log{Name: "app", Unit: "goldsmith-webapp.service"}, "", 7, false,
			"sudo -n journalctl --no-pager --lines=7 --unit=goldsmith-webapp.service",
		},
		{files, "", 7, true, "sudo -n sh -c 'tail --lines=7 --follow=name --retry /var/log/nginx/*.log'"},
		{
			imagespec.Log{Name: "mysql", Path: "/var/log/mysql/error.log"}, "", 7, false,
			"sudo -n sh -c 'tail --lines=7 /var/log/mysql/error.log'",
		},
	} {
		got, err := logRequest{since: c.since, lines: c.lines, follow: c.follow}.command(c.log)
		if err != nil || got != c.want {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
	got, err := logRequest{since: "today", lines: 5}.command(files)
	if err == nil || !strings.Contains(err.Error(), "--since") {
		t.Errorf("the time of a file's lines: got %q, %v", got, err)
	}
}

// twoTiers is a stack whose tiers have other names than those of the default one.
func twoTiers() *stack.Stack {
	return &stack.Stack{Tiers: []stack.Tier{{Name: "store"}, {Name: "front"}}}
}

func TestTransferOf(t *testing.T) {
	for _, c := range []struct {
		args   []string
		where  string
		upload bool
		want   []string
	}{
		{[]string{"front:/var/log/x", "front:y", "-odd"}, "front", false, []string{"/var/log/x", "y", "-odd"}},
		{[]string{"-odd", "/tmp/a:b", "web:d", "store:"}, "store", true, []string{"-odd", "/tmp/a:b", "web:d", ""}},
		{[]string{"i-0123456789abcdef0:a:b", "."}, "i-0123456789abcdef0", false, []string{"a:b", "."}},
	} {
		got, err := transferOf(twoTiers(), c.args)
		if err != nil || got.instance != c.where || got.upload != c.upload {
			t.Errorf("%q: got %+v, %v", c.args, got, err)
		}
		if paths := append(slices.Clone(got.what.Sources), got.what.Target); !slices.Equal(paths, c.want) {
			t.Errorf("%q: got %q, want %q", c.args, paths, c.want)
		}
	}
	for _, bad := range [][]string{
		{"a", "b"},
		{"front:a", "store:b"},
		{"front", "store"},
		{"front:a", "front:b"},
		{"a", "front:b", "c"},
	} {
		if got, err := transferOf(twoTiers(), bad); err == nil {
			t.Errorf("%q: got %+v", bad, got)
		}
	}
}

func TestProgress(t *testing.T) { synctest.Test(t, testProgress) }

func testProgress(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.width = 60 // as a terminal's
	web := p.step("web ready")
	db := p.step("db on standby")
	p.say("launched %s", "i-1")
	time.Sleep(300 * time.Millisecond) // drawn anew at least once
	web(nil)
	db(errors.New("no"))
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"... web ready 0.0 s, db on standby 0.0 s",
		"  launched i-1\n",
		"web ready 0.2 s",
		"  web ready: 0.3 s\n",
		"  db on standby: failed after 0.3 s\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %q", want, text)
		}
	}
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\r' || r == '\n' }) {
		if n := len([]rune(strings.TrimPrefix(line, "\x1b[K"))); n >= 60 && !strings.Contains(line, "launched") {
			t.Errorf("a line of %d characters is wider than the terminal: %q", n, line)
		}
	}
	if want := []string{"web ready\t0.3"}; !slices.Equal(p.table, want) {
		t.Errorf("the table is %q, want %q: a step that failed has no time", p.table, want)
	}
}

func TestPrintStatus(t *testing.T) {
	var out bytes.Buffer
	err := printStatus(
		&out,
		status.Status{
			Stack:     "golden",
			Region:    "us-east-1",
			URL:       "https://192.0.2.1/",
			Addresses: map[string]string{"db": "10.0.2.10"},
			Release:   "r2",
			Deploying: &status.Deploying{ID: "d1", Who: "ann@host", Since: time.Now()},
			Instances: []status.Instance{
				{
					Instance: stack.Instance{
						ID:      "i-1",
						Tier:    "db",
						Role:    "serving",
						State:   "running",
						Image:   "ami-1",
						Private: "10.0.2.4",
						Since:   time.Now().Add(-90 * time.Second),
					},
					Release: "r1",
					Health:  status.Good,
				},
				{
					Instance: stack.Instance{
						ID:    "i-2",
						Tier:  "web",
						Role:  "serving",
						State: "running",
						Image: "ami-2",
						Since: time.Now().Add(-50 * time.Hour),
					},
					Health: status.Bad,
					Reason: "no answer",
				},
			},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(" +").ReplaceAllString(out.String(), " ")
	for _, want := range []string{
		"page https://192.0.2.1/\n",
		"database 10.0.2.10\n",
		"deploying d1, by ann@host since ",
		"release r2; the next goldsmith deploy takes it, and r1 serves\n",
		"db serving i-1 good running r1",
		"1m30s\n",
		"2d\n",
		"\nweb i-2 is bad: no answer\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

// The exit code tells a script whether it was its own fault.
func TestCode(t *testing.T) {
	t.Setenv("GOLDSMITH_CLOUD", "nobodys")
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"cloud", "status", "--name", "../x"}, exitBadInput},
		{[]string{"cloud", "env", "--name", ""}, exitBadInput},
		{[]string{"cloud", "logs"}, exitBadInput},
		{[]string{"cloud", "up", "--colour", "red"}, exitBadInput},
		{[]string{"cloud", "status"}, exitFailed},
	} {
		root := rootCommand()
		root.SetArgs(c.args)
		if err := root.Execute(); err == nil || code(err) != c.want {
			t.Errorf("%v: %v, want exit code %d", c.args, err, c.want)
		}
	}
}
