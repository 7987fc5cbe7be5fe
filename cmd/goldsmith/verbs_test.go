package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// typed runs the command as somebody typed it; nothing of it gets as far as a call.
func typed(t *testing.T, line string) (stderr string, exit int) {
	t.Helper()
	root := rootCommand()
	var out, complaints bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&complaints)
	root.SetArgs(strings.Fields(line)[1:])
	if err := root.ExecuteContext(t.Context()); err != nil {
		return complaints.String() + err.Error(), code(err)
	}
	return complaints.String(), 0
}

// each calls f with every command that a user can type.
func each(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, child := range cmd.Commands() {
		each(child, f)
	}
}

// mistyped is a name with its middle characters exchanged, or its last one twice.
func mistyped(name string) string {
	if i := len(name) / 2; len(name) > 3 && name[i-1] != name[i] {
		return name[:i-1] + name[i:i+1] + name[i-1:i] + name[i+1:]
	}
	return name + name[len(name)-1:]
}

func TestMistypedVerbs(t *testing.T) {
	count := 0
	each(rootCommand(), func(cmd *cobra.Command) {
		if !cmd.HasParent() || !cmd.IsAvailableCommand() {
			return
		}
		count++
		parent := cmd.Parent().CommandPath()
		for _, line := range []string{
			parent + " " + mistyped(cmd.Name()),
			parent + " " + mistyped(cmd.Name()) + " --no-flag-of-anything",
			strings.Replace(parent, "goldsmith", "goldsmith help", 1) + " " + mistyped(cmd.Name()),
		} {
			said, exit := typed(t, line)
			if exit != exitBadInput || !strings.Contains(said, "hint: "+cmd.CommandPath()) {
				t.Errorf(
					"%s: exit code %d and %q, want %d and a hint of %s",
					line,
					exit,
					said,
					exitBadInput,
					cmd.CommandPath(),
				)
			}
		}
	})
	if count < 25 {
		t.Errorf("only %d verbs were mistyped", count)
	}
}

// TestMalformedIDs: an id that cannot be one is bad input, before anything is asked of EC2 or noted in the history.
func TestMalformedIDs(t *testing.T) {
	for _, line := range []string{
		"goldsmith deploy --web-ami foo",
		"goldsmith deploy --db-ami ami-123",
		"goldsmith stack plan --web-ami AMI-0123456789abcdef0",
		"goldsmith rollback --snapshot vol-0123456789abcdef0",
	} {
		said, exit := typed(t, line)
		if exit != exitBadInput || !strings.Contains(said, "an id is needed, as ") {
			t.Errorf("%s: exit code %d and %q", line, exit, said)
		}
	}
}

// TestOptionsBehindAnInstance: they are never read as the command line's own; what a command there has reaches it.
func TestOptionsBehindAnInstance(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for _, verb := range []string{"goldsmith ssh", "goldsmith cloud ssh"} {
		for _, line := range []string{verb + " web -t", verb + " web --tty ls", verb + " web --help"} {
			said, exit := typed(t, line)
			if exit != exitBadInput || !strings.Contains(said, "hint: options go ahead of the name") {
				t.Errorf("%s: exit code %d and %q", line, exit, said)
			}
		}
		for _, line := range []string{verb + " web ls -t --no-such", verb + " web -- ls --tty"} {
			said, exit := typed(t, line)
			if exit == exitBadInput || strings.Contains(said, "flag") {
				t.Errorf("%s: exit code %d and %q", line, exit, said)
			}
		}
	}
}

func TestWrongArguments(t *testing.T) {
	// Those that take as many as there are.
	open := map[string]bool{
		"goldsmith ssh":       true,
		"goldsmith scp":       true,
		"goldsmith cloud ssh": true,
		"goldsmith help":      true,
	}
	each(rootCommand(), func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		lines := []string{path + " --no-such-flag"}
		if !open[path] {
			lines = append(lines, path+" one two three")
		}
		for _, line := range lines {
			said, exit := typed(t, line)
			if exit != exitBadInput || !strings.Contains(said, "hint: "+path+" ") {
				t.Errorf("%s: exit code %d and %q, want %d and a hint", line, exit, said, exitBadInput)
			}
		}
	})
	for line, want := range map[string]string{
		"goldsmith cloud ssh":          "it is used as goldsmith cloud ssh [OPTION...] NAME [COMMAND...]",
		"goldsmith diff ami-1":         "it is used as goldsmith diff IMAGE IMAGE",
		"goldsmith cloud logs":         "it is used as goldsmith cloud logs NAME|--daemon",
		"goldsmith cloud logs db web":  "it is used as goldsmith cloud logs NAME|--daemon",
		"goldsmith logs":               "it is used as goldsmith logs TIER|ID",
		"goldsmith ssh":                "a tier or an instance's id",
		"goldsmith scp one":            "a source and a target",
		"goldsmith deploy now":         "goldsmith deploy now: it is used as goldsmith deploy [flags]",
		"goldsmith images prnue --yes": `it has no verb "prnue"`,
		"goldsmith nonsense":           "it has cloud, completion, deploy, ",
	} {
		said, exit := typed(t, line)
		if exit != exitBadInput || !strings.Contains(said, want) {
			t.Errorf("%s: exit code %d and %q, want %d and %q", line, exit, said, exitBadInput, want)
		}
	}
}

// A group of verbs does nothing by itself; what it has is told where errors are.
func TestMissingVerb(t *testing.T) {
	for _, name := range []string{"", " network", " stack", " cloud", " completion"} {
		group := "goldsmith" + name
		said, exit := typed(t, group)
		told := strings.Contains(said, "Usage:") && strings.Contains(said, group+": a verb is missing: ")
		if exit != exitBadInput || !told {
			t.Errorf("%s: exit code %d and %q", group, exit, said)
		}
		for _, line := range []string{group + " --help", strings.Replace(group, "goldsmith", "goldsmith help", 1)} {
			if said, exit := typed(t, line); exit != 0 || said != "" {
				t.Errorf("%s: exit code %d and %q", line, exit, said)
			}
		}
	}
}
