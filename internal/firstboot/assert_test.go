package firstboot

import (
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

func TestAssertions(t *testing.T) {
	for _, c := range []struct {
		name      string
		assertion instance.Assertion
		want      string // in the detail, or in the error
		ok        bool
	}{
		{"succeeds", instance.Assertion{Argv: []string{"echo", "fine", "here"}}, "fine here", true},
		{"script", instance.Assertion{Shell: "test 1 -lt 2\necho yes", Output: "^yes$"}, "yes", true},
		{"fails", instance.Assertion{Shell: "echo the reason >&2; exit 3"}, "exit status 3: the reason", false},
		{"a script stops at what fails", instance.Assertion{Shell: "false\necho never"}, "exit status 1", false},
		{
			"other output",
			instance.Assertion{Argv: []string{"echo", "no"}, Output: "^yes"},
			`"no" does not match "^yes"`,
			false,
		},
		{"no such program", instance.Assertion{Argv: []string{"/no/such/program"}}, "no such file", false},
		{"too slow", instance.Assertion{Argv: []string{"sleep", "60"}, Timeout: "50ms"}, "longer than 50ms", false},
		{"endless output", instance.Assertion{Shell: "yes | head -c 100000; exit 1"}, "...", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.assertion.Name = c.name
			report := once(t.Context(), Instance{}, []check{assertionCheck("assert "+c.name, c.assertion, Instance{})})
			got := report.Checks[0]
			if got.OK != c.ok || !strings.Contains(got.Detail, c.want) || got.Name != "assert "+c.name {
				t.Errorf("got %+v, want ok %v with %q", got, c.ok, c.want)
			}
			if len(got.Detail) > 300 {
				t.Errorf("the detail has %d bytes", len(got.Detail))
			}
		})
	}
}
