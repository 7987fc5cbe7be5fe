package deploy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/parameters"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

func TestDestroyLeavesImagesAndSnapshots(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.mustDeploy("1")
		w.mustDeploy("2")
		releases := w.stack.ParameterPath() + "/release"
		if _, err := parameters.Overwrite(t.Context(), w.stack, releases, `{"name": "r1"}`); err != nil {
			t.Fatal(err)
		}
		if err := Destroy(t.Context(), w.stack); err != nil {
			t.Fatal(err)
		}
		w.isGone(t)
		// Who may delete what has Goldsmith's tags is refused where there is nothing.
		if calls := w.account.Calls("DeleteLaunchTemplate"); len(calls) > 0 {
			t.Errorf("a template is deleted that never was: %+v", calls)
		}
		w.mustDeploy("1") // at once: what was deleted cannot be made again for half a minute
	})
}

// TestOnlyWhatIsThereIsChanged: who may change and delete what has Goldsmith's tags is refused where there is nothing,
// as that has no tags.
func TestOnlyWhatIsThereIsChanged(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(f *stackfile.File) { f.Web.Scaling, f.Web.Count = "asg", 2 })
		if _, _, err := network.Up(t.Context(), w.stack); err != nil {
			t.Fatal(err)
		}
		if err := Destroy(t.Context(), w.stack); err != nil {
			t.Fatal(err)
		}
		if calls := w.account.Calls("DeleteKeyPair"); len(calls) > 0 {
			t.Errorf("a key pair is deleted that never was: %+v", calls)
		}
		w.mustDeploy("1")
		if calls := w.account.Calls("CreateLaunchTemplateVersion"); len(calls) > 0 {
			t.Errorf("a template that is not there gets a version: %+v", calls)
		}
		w.mustDeploy("2")
		if calls := w.account.Calls("CreateLaunchTemplateVersion"); len(calls) != 1 {
			t.Errorf("a redeployment makes %d versions", len(calls))
		}
		if err := Destroy(t.Context(), w.stack); err != nil {
			t.Fatal(err)
		}
		w.isGone(t)
	})
}

// isGone wants nothing left of the stack but images and snapshots.
func (w *world) isGone(t *testing.T) {
	t.Helper()
	for _, thing := range w.account.Things() {
		if !strings.HasPrefix(thing, "ami-") && !strings.HasPrefix(thing, "snap-") {
			t.Errorf("%s is left", thing)
		}
	}
}

// TestDestroyCutOffAtEachCall ends a destroy at each of its calls: killed there, or refused once with the work done or
// not. The next one takes away what is left.
func TestDestroyCutOffAtEachCall(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for name, c := range map[string]struct {
		change func(*stackfile.File)
		stride int
	}{
		"single": {nil, 2},
		"group":  {func(f *stackfile.File) { f.Web.Scaling, f.Web.Count = "asg", 2 }, 5},
	} {
		t.Run(name, func(t *testing.T) {
			total := 0
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, c.change)
				w.mustDeploy("1")
				w.account.Forget()
				if err := Destroy(t.Context(), w.stack); err != nil {
					t.Fatal(err)
				}
				total = len(w.account.Calls())
			})
			if total < 30 {
				t.Fatalf("a destroy makes %d calls", total)
			}
			refused := ec2fake.Errf(apierror.OperationNotPermitted, "no")
			for i, faults := range [][]ec2fake.Fault{
				{{Rest: true, Err: errKilled}},
				{{Late: true, Err: errKilled}, {Rest: true, Err: errKilled}},
				{{Err: refused}},
				{{Late: true, Err: ec2fake.Err(apierror.InternalError)}},
			} {
				for n := 1 + i%c.stride; n <= total; n += c.stride {
					synctest.Test(t, func(t *testing.T) { destroyTwice(t, c.change, n, faults) })
				}
			}
		})
	}
}

func destroyTwice(t *testing.T, change func(*stackfile.File), call int, faults []ec2fake.Fault) {
	w := newWorld(t, change)
	w.mustDeploy("1")
	w.account.Forget()
	for _, fault := range faults {
		fault.Nth = call
		w.account.Fail(fault)
	}
	first := Destroy(t.Context(), w.stack)
	w.account.Forget()
	time.Sleep(2 * stack.Silence) // the lock is nobody's then
	if err := Destroy(t.Context(), w.stack); err != nil {
		t.Errorf("call %d fails with %+v (%v), and the next one fails: %v", call, faults, first, err)
		return
	}
	time.Sleep(time.Hour) // what was told to end has done so
	if t.Failed() {
		return
	}
	if w.isGone(t); t.Failed() {
		t.Errorf("call %d fails with %+v (%v)", call, faults, first)
	}
}
