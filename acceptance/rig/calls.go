//go:build acceptance

package rig

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/policyeval"
)

// Call is a call in the cloud's trail.
type Call struct {
	Time       time.Time         `json:"eventTime"`
	Source     string            `json:"eventSource"`
	Name       string            `json:"eventName"`
	UserAgent  string            `json:"userAgent"`
	Parameters map[string]string `json:"requestParameters"`
	ErrorCode  string            `json:"errorCode"`
	Attempt    int               `json:"attempt"`
	// Authorization are the requests that IAM decides on.
	Authorization []policyeval.Request `json:"authorization"`
}

// Action is the call as IAM writes it.
func (c Call) Action() string { return strings.TrimSuffix(c.Source, ".amazonaws.com") + ":" + c.Name }

var command = regexp.MustCompile(`(?:^| )md/command#(\S+)`)

// Command is the command or component of Goldsmith's that made the call; empty is for calls of others, the tests' own
// among them.
func (c Call) Command() string {
	if match := command.FindStringSubmatch(c.UserAgent); match != nil {
		return match[1]
	}
	return ""
}

// CallsSince are Goldsmith's own calls since then, in order.
func CallsSince(t testing.TB, since time.Time) []Call {
	t.Helper()
	cmd := exec.Command(Goldsmith(), "cloud", "trail", "--json", "--since", since.UTC().Format(time.RFC3339))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("goldsmith cloud trail: %v", err)
	}
	all, err := ReadCalls(bytes.NewReader(out))
	if err != nil {
		t.Fatalf("read the trail: %v", err)
	}
	return slices.DeleteFunc(all, func(c Call) bool { return c.Time.Before(since) })
}

// ReadCalls reads Goldsmith's own calls of a trail.
func ReadCalls(trail io.Reader) ([]Call, error) {
	var all []Call
	lines := bufio.NewScanner(trail)
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		var c Call
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return nil, fmt.Errorf("%w: %s", err, lines.Text())
		}
		if c.Command() != "" && c.Source != "checkip.amazonaws.com" {
			all = append(all, c)
		}
	}
	return all, lines.Err()
}

// Count has the numbers of some calls.
type Count struct {
	Calls int // that do something or find something out
	// Polls look again at a thing that is waited for, or say again that a process is at work.
	Polls int
	Again int // were refused before
}

var (
	looks = regexp.MustCompile(`^(ec2:GetConsoleOutput|iam:GetInstanceProfile|` +
		`autoscaling:Describe(AutoScalingGroups|InstanceRefreshes)|elasticloadbalancing:DescribeTargetHealth)$`)
	byID = regexp.MustCompile(`^(Instance|Volume|Snapshot|NatGateway|NetworkInterface|Image)Id\.1$`)
	// beats are the parameters in which builds and deployments say that they are at work.
	beats = regexp.MustCompile(`/builds/.*|/lock$`)
)

// polls tells whether a call is a poll where it was made before with the same parameters.
func (c Call) polls() bool {
	named := slices.ContainsFunc(slices.Collect(maps.Keys(c.Parameters)), byID.MatchString)
	action := c.Action()
	return looks.MatchString(action) || strings.HasPrefix(action, "ec2:Describe") && named ||
		action == "ssm:PutParameter" && beats.MatchString(c.Parameters["Name"]) ||
		action == "ssm:GetParameter" && strings.Contains(c.Parameters["Name"], "/builds/")
}

// CountOf counts calls, of one command each.
func CountOf(calls []Call) Count {
	var n Count
	last := map[string]Call{}
	for _, c := range calls {
		parameters, err := json.Marshal(c.Parameters) // sorted by name
		if err != nil {
			panic(err)
		}
		key := c.Command() + " " + c.Action() + " " + string(parameters)
		before, seen := last[key]
		last[key] = c
		switch {
		case seen && before.ErrorCode != "" && !c.polls(), c.Attempt > 1:
			n.Again++
		case seen && c.polls():
			n.Polls++
		default:
			n.Calls++
		}
	}
	return n
}

// AssertCalls holds the calls of a command since then to a row of docs/aws-calls.md, which begins so. A row that says
// more than twice of what is called fails too: it tells nobody anything.
func AssertCalls(t testing.TB, since time.Time, command, row string) {
	t.Helper()
	var own []Call
	for _, c := range CallsSince(t, since) {
		if c.Command() == command {
			own = append(own, c)
		}
	}
	n, most := CountOf(own), documented(t, row)
	t.Logf("%s: %d calls of %d, %d polls, %d again", row, n.Calls, most, n.Polls, n.Again)
	if n.Calls > most || n.Calls < most/2 {
		t.Errorf("%s makes %d calls; docs/aws-calls.md says up to %d:\n%s", row, n.Calls, most, actionsOf(own))
	}
}

// documented is the number of calls in a row of docs/aws-calls.md.
func documented(t testing.TB, row string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Repository, "docs", "aws-calls.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || !strings.HasPrefix(strings.TrimSpace(cells[1]), row) {
			continue
		}
		most, err := strconv.Atoi(strings.TrimSpace(cells[2]))
		if err != nil {
			t.Fatalf("docs/aws-calls.md, %s: %v", row, err)
		}
		return most
	}
	t.Fatalf("docs/aws-calls.md has no row that begins with %s", row)
	return 0
}

// actionsOf are the actions of calls with their numbers, the most frequent first.
func actionsOf(calls []Call) string {
	number := map[string]int{}
	for _, c := range calls {
		number[c.Action()]++
	}
	actions := slices.SortedFunc(maps.Keys(number), func(a, b string) int {
		return cmp.Or(cmp.Compare(number[b], number[a]), cmp.Compare(a, b))
	})
	var lines strings.Builder
	for _, action := range actions {
		fmt.Fprintf(&lines, "%5d %s\n", number[action], action)
	}
	return lines.String()
}
