package deploy

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// TestFullDataVolumeIsNotReplaced: the server on it could not be stopped cleanly. Only the exit status says so.
func TestFullDataVolumeIsNotReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.mustDeploy("1")
		before := w.state()
		w.full = true
		_, err := w.deploy(t.Context(), w.deployment("2"))
		if err == nil || errors.Is(err, ErrNeedsPerson) ||
			!strings.Contains(err.Error(), "replace the db tier's i-") ||
			!strings.Contains(err.Error(), "hint: make room") {
			t.Errorf("got %v", err)
		}
		for _, command := range w.commands {
			if strings.HasSuffix(command, " data hand-over") {
				t.Error("the database was stopped")
			}
		}
		if after := w.state(); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		w.full = false
		w.mustDeploy("2")
	})
}

// TestInterrupted is ctrl-C at calls all over a redeployment: the stack has the instances of before or the new ones,
// and nothing is left of the other. So that the test is short, it is not each call.
func TestInterrupted(t *testing.T) {
	for name, change := range map[string]func(*stackfile.File){
		"single": nil,
		"group":  func(f *stackfile.File) { f.Web.Scaling, f.Web.Count = "asg", 2 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir())
			var done string
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, change)
				w.mustDeploy("1")
				w.mustDeploy("2")
				time.Sleep(2 * w.account.Pace)
				done = w.state()
			})
			total := calls(t, change)
			went := map[string]int{}
			for n := 1; n <= total; n += 7 {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, change)
					w.mustDeploy("1")
					before := w.state()
					ctx, interrupt := context.WithCancel(t.Context())
					defer interrupt()
					w.atCall(n, interrupt)
					_, err := w.deploy(ctx, w.deployment("2"))
					w.account.Forget()
					time.Sleep(2 * w.account.Pace) // what ends or begins is there then
					switch after := w.state(); {
					case after == before && errors.Is(err, context.Canceled):
						went["back"]++
					case after == done && err == nil:
						went["on"]++
					default:
						t.Errorf("interrupted at call %d (%v):\n%s\nbefore:\n%s\nwanted:\n%s", n, err, after, before,
							done)
					}
					if _, again := w.deploy(t.Context(), w.deployment("2")); again != nil || w.state() != done {
						t.Errorf("interrupted at call %d, the next one: %v\n%s", n, again, w.state())
					}
				})
			}
			if went["back"] < 5 {
				t.Errorf("of %d calls: %v", total, went)
			}
		})
	}
}

// TestEC2ThatLags does not show for a while what was made, and shows the tags of before, also to the next deployment.
func TestEC2ThatLags(t *testing.T) {
	for name, change := range map[string]func(*stackfile.File){
		"single": nil,
		"group":  func(f *stackfile.File) { f.Web.Scaling, f.Web.Count = "asg", 2 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir())
			var want string
			for _, lag := range []time.Duration{0, 2 * time.Second, 20 * time.Second} {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, change)
					w.account.Lag = lag
					w.mustDeploy("1")
					w.mustDeploy("2")
					time.Sleep(lag + 2*w.account.Pace)
					got := w.state()
					if lag == 0 {
						want = got
					}
					if got != want {
						t.Errorf("with a lag of %s:\n%s\nwanted:\n%s", lag, got, want)
					}
				})
			}
		})
	}
}

// TestCommitThatIsNotAnswered has the tag be written by which a group's new version serves, and the deployment not
// know.
func TestCommitThatIsNotAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(f *stackfile.File) { f.Web.Scaling, f.Web.Count = "asg", 2 })
		w.mustDeploy("1")
		before := w.state()
		w.account.Fail(ec2fake.Fault{
			Call: "CreateOrUpdateTags",
			Nth:  1,
			Late: true,
			Err:  ec2fake.Errf(apierror.InternalFailure, "no answer"),
		})
		if _, err := w.deploy(t.Context(), w.deployment("2")); err == nil || errors.Is(err, ErrNeedsPerson) {
			t.Errorf("got %v", err)
		}
		w.account.Forget()
		time.Sleep(2 * w.account.Pace)
		if after := w.state(); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

// TestDeadlineOfInstances is the page's, which waits for the database. Another one is no reason to replace it.
func TestDeadlineOfInstances(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(f *stackfile.File) { f.HealthCheck.Deadline = 7 * time.Minute })
		w.mustDeploy("1")
		told := map[string]int{}
		for _, call := range w.account.Calls("RunInstances") {
			text, err := base64.StdEncoding.DecodeString(*call.Input.(*ec2.RunInstancesInput).UserData)
			if err != nil {
				t.Fatal(err)
			}
			settings, err := instance.ParseSettings(text)
			if err != nil {
				t.Fatal(err)
			}
			told[settings.Tier] = settings.Deadline
		}
		if told["web"] != 7*60 || told["db"] != 0 {
			t.Errorf("instances are told %v", told)
		}
		for i := range w.stack.Tiers {
			w.stack.Tiers[i].Service.Probe.Deadline = 9 * time.Minute
		}
		if again := w.mustDeploy("1"); len(again.Changes) > 0 {
			t.Errorf("another deadline changes %+v", again.Changes)
		}
	})
}
