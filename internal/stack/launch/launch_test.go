package launch

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/stacktest"
)

func TestLaunchWithAProfileThatIsNew(t *testing.T) {
	bodies := map[string]string{"RunInstances": "<instancesSet>" + fmt.Sprintf(stacktest.AnInstance, "i-1",
		"pending") + "</instancesSet>"}
	for _, c := range []struct {
		name  string
		fault stacktest.Fault
		want  string
	}{
		{"some seconds", stacktest.For(40*time.Second, "InvalidParameterValue", stacktest.BadProfile), ""},
		{"nobody answers at first", stacktest.For(20*time.Second, "InternalError",
			"An internal error has occurred"), ""},
		{"no capacity for some minutes", stacktest.For(100*time.Second, "InsufficientInstanceCapacity", "none"), ""},
		{"no capacity at all", stacktest.For(time.Hour, "InsufficientInstanceCapacity", "none"), "Insufficient"},
		{"it is not there at all", stacktest.For(time.Hour, "InvalidParameterValue", stacktest.BadProfile),
			"Invalid IAM Instance Profile name"},
		{"another fault", stacktest.For(time.Hour, "InvalidParameterValue",
			"Value (t9) for parameter instanceType is invalid"), "instanceType"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, a := stacktest.Slowly(t, bodies, map[string]stacktest.Fault{"RunInstances": c.fault})
				n := network.Network{Groups: map[string]string{"db": "sg-1"}}
				i, err := Run(t.Context(), s, n, Launch{
					Tier:         s.Tier("db"),
					Image:        "ami-1",
					InstanceType: "t3.micro",
					Subnet:       network.Subnet{ID: "subnet-1"},
					Service:      "10.0.2.10",
					Clients:      netip.MustParsePrefix("10.0.1.0/24"),
				})
				if c.want == "" && (err != nil || i.ID != "i-1") ||
					c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("got %q, %v", i.ID, err)
				}
				took := time.Since(a.Began)
				if c.name == "another fault" && a.Calls["RunInstances"] != 1 || took > 4*time.Minute {
					t.Errorf("%d calls in %s", a.Calls["RunInstances"], took)
				}
			})
		})
	}
}

// TestWaitForAnInstanceThatIsNew has EC2 not know the instance, and be asked too much, and the console come late.
func TestWaitForAnInstanceThatIsNew(t *testing.T) {
	report, err := instance.ConsoleLine(instance.ReportPrefix, instance.Report{Ready: true, Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	report = "\n" + report + "\n"
	bodies := map[string]string{"DescribeInstances": stacktest.Described("i-1", "running"),
		"GetConsoleOutput": "<output>" + base64.StdEncoding.EncodeToString([]byte(report)) + "</output>"}
	for name, faults := range map[string]map[string]stacktest.Fault{
		"unknown": {"DescribeInstances": stacktest.For(50*time.Second, "InvalidInstanceID.NotFound",
			"The instance ID 'i-1' does not exist")},
		"its console, too": {"GetConsoleOutput": stacktest.For(50*time.Second, "InvalidInstanceID.NotFound",
			"The instance ID 'i-1' does not exist")},
		"too many calls": {"DescribeInstances": stacktest.For(3*time.Minute, "RequestLimitExceeded",
			"Request limit exceeded.")},
		"of its console": {"GetConsoleOutput": stacktest.For(3*time.Minute, "RequestLimitExceeded",
			"Request limit exceeded.")},
		"a fault of EC2's own": {"GetConsoleOutput": stacktest.For(time.Minute, "InternalError",
			"An internal error has occurred")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, a := stacktest.Slowly(t, bodies, faults)
				if _, err := WaitReady(t.Context(), s, "i-"+strings.ReplaceAll(name, " ", "-"),
					time.Time{}); err != nil {
					t.Errorf("after %v calls: %v", a.Calls, err)
				}
			})
		})
	}
}

func TestWaitThatHasToEnd(t *testing.T) {
	bodies := map[string]string{
		"DescribeInstances": stacktest.Described("i-1", "running"),
		"GetConsoleOutput":  "<output></output>",
	}
	for _, c := range []struct {
		name   string
		faults map[string]stacktest.Fault
		most   time.Duration
		want   string
	}{
		{"never known", map[string]stacktest.Fault{"DescribeInstances": stacktest.For(time.Hour,
			"InvalidInstanceID.NotFound", "i-1")}, 3 * time.Minute, "InvalidInstanceID.NotFound"},
		{"not allowed", map[string]stacktest.Fault{"GetConsoleOutput": stacktest.For(time.Hour,
			"UnauthorizedOperation", "no")}, time.Second, "UnauthorizedOperation"},
		{"never asked in time", map[string]stacktest.Fault{"DescribeInstances": stacktest.For(time.Hour,
			"RequestLimitExceeded", "too many")}, 16 * time.Minute, "RequestLimitExceeded"},
		{"never ready", nil, 16 * time.Minute, "it has not said that it is ready"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, a := stacktest.Slowly(t, bodies, c.faults)
				_, err := WaitReady(t.Context(), s, "i-"+strings.ReplaceAll(c.name, " ", "-"), time.Time{})
				if took := time.Since(a.Began); err == nil || !strings.Contains(err.Error(), c.want) || took > c.most {
					t.Errorf("after %s and %v calls: %v", took, a.Calls, err)
				}
				if most := 12 + int(time.Since(a.Began)/(3*time.Second)) + 2; a.Calls["GetConsoleOutput"] > most {
					t.Errorf("the console was asked for %d times, %d are due", a.Calls["GetConsoleOutput"], most)
				}
			})
		})
	}
}

// TestWaitThatIsTold: a wait of minutes says each minute that it goes on, and for what.
func TestWaitThatIsTold(t *testing.T) {
	text := base64.StdEncoding.EncodeToString([]byte("boot\n" + instance.WaitingPrefix + "unit x (activating)\n"))
	synctest.Test(t, func(t *testing.T) {
		s, _ := stacktest.Slowly(t, map[string]string{
			"DescribeInstances": stacktest.Described("i-1", "running"),
			"GetConsoleOutput":  "<output>" + text + "</output>",
		}, nil)
		var said []string
		s.Logf = func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
		limited, cancel := context.WithTimeout(t.Context(), 3*time.Minute-time.Second)
		defer cancel()
		if _, err := WaitReady(limited, s, "i-told", time.Time{}); err == nil {
			t.Error("it is ready")
		}
		if len(said) != 2 || !strings.Contains(said[1], "i-told has not said that it is ready after 2m") ||
			!strings.HasSuffix(said[1], "; it waits for: unit x (activating)") {
			t.Errorf("said was %q", said)
		}
	})
}

func TestOtherWaits(t *testing.T) {
	for _, c := range []struct {
		name   string
		bodies map[string]string
		faults map[string]stacktest.Fault
		wait   func(context.Context, *stack.Stack) error
	}{
		{"an instance that stops, too many calls", map[string]string{
			"StopInstances":     "",
			"DescribeInstances": stacktest.Described("i-1", "stopped"),
		},
			map[string]stacktest.Fault{"DescribeInstances": stacktest.For(2*time.Minute, "RequestLimitExceeded",
				"Request limit exceeded.")},
			func(ctx context.Context, s *stack.Stack) error { return Stop(ctx, s, "i-1") }},
		{"an instance that ends, too many calls", map[string]string{
			"TerminateInstances": "",
			"DescribeInstances":  stacktest.Described("i-1", "terminated"),
		},
			map[string]stacktest.Fault{"DescribeInstances": stacktest.For(2*time.Minute, "Unavailable",
				"The server is overloaded.")},
			func(ctx context.Context, s *stack.Stack) error { return Terminate(ctx, s, "i-1") }},
		{"an instance that is forgotten", map[string]string{
			"TerminateInstances": "",
			"DescribeInstances":  "<reservationSet/>",
		},
			map[string]stacktest.Fault{"DescribeInstances": stacktest.For(time.Millisecond,
				"InvalidInstanceID.NotFound", "i-1")},
			func(ctx context.Context, s *stack.Stack) error { return Terminate(ctx, s, "i-1") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, a := stacktest.Slowly(t, c.bodies, c.faults)
				if err := c.wait(t.Context(), s); err != nil {
					t.Errorf("after %s and %v calls: %v", time.Since(a.Began), a.Calls, err)
				}
			})
		})
	}
}
