package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/console"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deployreport"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/probe"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

const region = "us-east-1"

// world is an account with images of both tiers, and the behaviour of its instances.
type world struct {
	t       *testing.T
	account *ec2fake.Account
	stack   *stack.Stack

	mu       sync.Mutex
	commands []string
	noSSH    bool
	full     bool // the data volume is
	sick     func(url string) error
}

// newWorld is in a synctest bubble, with a home of its own.
func newWorld(t *testing.T, change func(*stackfile.File)) *world {
	t.Helper()
	w := &world{t: t, account: ec2fake.New(t)}
	w.account.Pace, w.account.Console = 3*time.Second, w.console
	for _, name := range []string{"db-1", "db-2", "web-1", "web-2"} {
		kind, _, _ := strings.Cut(name, "-")
		tags := ec2ops.TagPairs(stack.StackTag, "golden", stack.TierTag, kind)
		w.account.In(region).AddImage(types.Image{
			ImageId: aws.String("ami-" + name),
			Name:    aws.String(name),
			Tags:    tags,
		})
	}
	file := stackfile.Default()
	if err := file.Operator.UnmarshalText([]byte("192.0.2.1/32")); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(file)
	}
	w.stack = defaultstack.New(w.account.Config(), file, func(string, ...any) {})
	w.stack.Consoles = &console.Reader{} // the time of one test is not that of another
	return w
}

// console is an instance's console output: that of a database asks for its volume first; then each reports that it is
// ready.
func (w *world) console(i types.Instance) string {
	line := func(prefix string, value any) string {
		text, err := instance.ConsoleLine(prefix, value)
		if err != nil {
			w.t.Error(err)
		}
		return "\n" + text + "\n"
	}
	if i.State.Name != types.InstanceStateNameRunning {
		return ""
	}
	report := instance.Report{
		Ready:  true,
		Time:   time.Now(),
		Checks: []instance.Check{{Name: "certificate", OK: true, Detail: "sha256:" + *i.InstanceId}},
		Answers: []instance.Answer{
			{
				Name:   "described",
				Port:   443,
				TLS:    true,
				Path:   "/described",
				Status: 200,
			},
			{
				Name:   "inside",
				Port:   9000,
				Path:   "/inside",
				Status: 200,
			},
		},
	}
	if strings.HasPrefix(*i.ImageId, "ami-web") {
		return line(instance.ReportPrefix, report)
	}
	text := line(instance.StandbyPrefix, instance.Standby{Server: instance.Server{
		Flavor:  "mariadb",
		Version: "11.8.3",
	}})
	for _, disk := range i.BlockDeviceMappings {
		if aws.ToString(disk.DeviceName) == "/dev/sdf" {
			return text + line(instance.ReportPrefix, report)
		}
	}
	return text
}

// exited is the error of a command that ended with a status, as *ssh.ExitError is.
type exited int

func (e exited) Error() string   { return fmt.Sprintf("it ended with %d", int(e)) }
func (e exited) ExitStatus() int { return int(e) }

func (w *world) reach() *tier.Reach {
	return &tier.Reach{
		Command: func(ctx context.Context, _ *stack.Stack, i stack.Instance, command string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.commands = append(w.commands, command)
			if w.noSSH {
				return errors.New("there is no way in")
			}
			if w.full && strings.HasSuffix(command, " data room") {
				return fmt.Errorf("run %s: %w", command, exited(instance.ExitNoRoom))
			}
			return ctx.Err()
		},
		Get: func(ctx context.Context, q probe.Question, _ ...string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.sick != nil {
				return w.sick(q.URL)
			}
			return ctx.Err()
		},
	}
}

func (w *world) deployment(version string) Deployment {
	return Deployment{
		Images: map[string]string{"db": "ami-db-" + version, "web": "ami-web-" + version},
		Report: deployreport.NoReport,
		reach:  w.reach(),
	}
}

func (w *world) deploy(ctx context.Context, d Deployment) (Deployed, error) {
	w.t.Helper()
	return Run(ctx, w.stack, d)
}

func (w *world) mustDeploy(version string) Deployed {
	w.t.Helper()
	deployed, err := w.deploy(w.t.Context(), w.deployment(version))
	if err != nil {
		w.t.Fatalf("deploy version %s: %v", version, err)
	}
	return deployed
}

// atCall does something before the nth call from now on.
func (w *world) atCall(n int, do func()) {
	w.account.Fail(ec2fake.Fault{When: func(any) bool {
		if n--; n == 0 {
			do()
		}
		return false
	}, Err: errors.New("it never strikes")})
}

// state describes the stack's resources, without ids and without snapshots and records, which each deployment adds.
func (w *world) state() string {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	count := map[string]int{}
	for _, thing := range w.account.Things() {
		kind, _, _ := strings.Cut(thing, "-0")
		if kind == "snap" || strings.Contains(thing, "/history/") {
			continue
		}
		count[kind]++
	}
	var lines []string
	for _, kind := range slices.Sorted(maps.Keys(count)) {
		lines = append(lines, fmt.Sprintf("%s: %d", kind, count[kind]))
	}
	all, err := w.stack.Instances(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, i := range all {
		holds := ""
		for _, disk := range w.account.In(region).Instance(i.ID).BlockDeviceMappings {
			if aws.ToString(disk.DeviceName) == "/dev/sdf" {
				holds = "with the data"
			}
		}
		elastic := strings.HasPrefix(i.Public, "198.51.100.")
		lines = append(lines, fmt.Sprintln(i.Tier, i.Role, i.State, i.Image, holds, elastic))
	}
	return strings.Join(lines, "\n")
}

func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	synctest.Test(t, test)
}

func TestDeployAndRedeploy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		first := w.mustDeploy("1")
		if first.URL == "" || len(first.Instances["db"]) != 1 || len(first.Instances["web"]) != 1 {
			t.Errorf("got %+v", first)
		}
		second := w.mustDeploy("2")
		if second.Snapshot == "" || second.Instances["db"][0].Image != "ami-db-2" || second.URL != first.URL {
			t.Errorf("got %+v", second)
		}
		all, err := w.stack.Instances(t.Context())
		if err != nil || len(all) != 2 {
			t.Errorf("%v: there are %+v", err, all)
		}
		w.remembers(t)
		third := w.mustDeploy("2")
		if len(third.Changes) > 0 {
			t.Errorf("the same again changes %+v", third.Changes)
		}
	})
}

// TestImagesRightAfterADeployment has EC2 show tags of before: a rollback needs the images that ran, from the record.
func TestImagesRightAfterADeployment(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.mustDeploy("1")
		w.account.Lag = 6 * time.Second
		all, err := w.stack.Instances(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		images, err := currentImages(t.Context(), w.stack, all)
		if err != nil || images.Tiers["db"] != "ami-db-1" || images.Tiers["web"] != "ami-web-1" {
			t.Errorf("%v: there run %+v", err, images)
		}
	})
}

// remembers wants the history of two good deployments.
func (w *world) remembers(t *testing.T) {
	t.Helper()
	records, err := record.History(t.Context(), w.stack)
	if err != nil || len(records) != 2 || records[0].Result != record.Done ||
		records[0].From.Tiers["db"] != "ami-db-1" {
		t.Errorf("%v: the history is %+v", err, records)
	}
	before, err := record.Before(t.Context(), w.stack, "")
	if err != nil || before.Tiers["web"] != "ami-web-1" {
		t.Errorf("%v: before it ran %+v", err, before)
	}
}

// TestPlanIsWhatDeployDoes holds the plan's changes to those that the deployment after it made.
func TestPlanIsWhatDeployDoes(t *testing.T) {
	text := func(changes []plan.Change) []string {
		var all []string
		for _, c := range changes {
			if c.Action == plan.Create {
				c.ID = "" // it is known once it is made
			}
			all = append(all, fmt.Sprintf("%s %s %s: %s", c.Action, c.What, c.ID, c.Reason))
		}
		slices.Sort(all)
		return all
	}
	for name, change := range map[string]func(*stackfile.File){
		"single": nil,
		"group":  func(f *stackfile.File) { f.Web.Scaling, f.Web.Count = "asg", 2 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, change)
				w.stack.Settings.Deploy.KeepSnapshots = 1
				snapshot, old := "", 0
				for _, version := range []string{"1", "1", "2", "1", "2", "back"} {
					d := w.deployment(strings.ReplaceAll(version, "back", "1"))
					if version == "back" {
						d.Kind, d.Snapshot = "rollback", snapshot
					}
					before := w.account.Things()
					planned, err := Plan(t.Context(), w.stack, d)
					if err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(before, w.account.Things()) {
						t.Error("the plan changed something")
					}
					done, err := w.deploy(t.Context(), d)
					if err != nil {
						t.Fatal(err)
					}
					snapshot = cmp.Or(done.Snapshot, snapshot)
					old += strings.Count(strings.Join(text(done.Changes), "\n"), "remove db snapshot ")
					if got, want := text(done.Changes), text(planned.Changes); !slices.Equal(got, want) {
						t.Errorf("version %s: done:\n%s\nplanned:\n%s", version, strings.Join(got, "\n"),
							strings.Join(want, "\n"))
					}
				}
				if old == 0 {
					t.Error("no snapshot was removed: the test is about that too")
				}
			})
		})
	}
}

// TestFailuresGoBack has each thing fail that is not AWS's.
func TestFailuresGoBack(t *testing.T) {
	for name, fail := range map[string]func(*world){
		"the page is sick": func(w *world) { w.sick = func(string) error { return errors.New("503") } },
		"the page is sick once the traffic moved": func(w *world) {
			w.sick = func(url string) error {
				if strings.Contains(url, "198.51.100.") {
					return errors.New("503")
				}
				return nil
			}
		},
		"what the image describes is not answered": func(w *world) {
			w.sick = func(url string) error {
				if strings.HasSuffix(url, "/described") {
					return errors.New("404")
				}
				return nil
			}
		},
		"no instance can be launched": func(w *world) {
			w.account.Fail(ec2fake.Fault{
				Call: "RunInstances",
				Err:  ec2fake.Err(apierror.InsufficientInstanceCapacity, "t3", "a"),
			})
		},
		"the volume cannot be attached": func(w *world) {
			w.account.Fail(ec2fake.Fault{Call: "AttachVolume", Nth: 1, Err: ec2fake.Errf(apierror.Unavailable, "no")})
		},
		"without a way in": func(w *world) {
			w.noSSH = true
			w.account.Fail(ec2fake.Fault{
				Call: "AssignPrivateIpAddresses",
				Nth:  1,
				Err:  ec2fake.Errf(apierror.PrivateIPAddressLimitExceeded, "no"),
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, nil)
				w.mustDeploy("1")
				before := w.state()
				fail(w)
				_, err := w.deploy(t.Context(), w.deployment("2"))
				w.account.Forget()
				w.sick, w.noSSH = nil, false
				if err == nil || errors.Is(err, ErrNeedsPerson) {
					t.Errorf("got %v", err)
				}
				if after := w.state(); after != before {
					t.Errorf("before:\n%s\nafter:\n%s\nbecause of %v", before, after, err)
				}
				w.mustDeploy("2")
			})
		})
	}
}

// TestFailureToLookAtAnInstanceIsTold: it was an instance without anything but its id, and led to another error.
func TestFailureToLookAtAnInstanceIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.mustDeploy("1")
		looks := 0
		denied := ec2fake.Err(apierror.UnauthorizedOperation)
		w.account.Watch("CreateTags", func(any, any) {
			if looks++; looks == 1 {
				w.account.Fail(ec2fake.Fault{Call: "DescribeInstances", Err: denied})
			}
		})
		if _, err := w.deploy(t.Context(), w.deployment("2")); err == nil || !strings.Contains(err.Error(),
			"UnauthorizedOperation") {
			t.Errorf("got %v", err)
		}
	})
}

var errKilled = errors.New("killed")

// calls is the number of calls that a redeployment makes.
func calls(t *testing.T, change func(*stackfile.File)) (n int) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change)
		w.mustDeploy("1")
		w.account.Forget()
		w.mustDeploy("2")
		n = len(w.account.Calls())
	})
	return n
}

// TestKilledAtEachCall cuts a redeployment off at each of its calls, as kill -9 does. The next one puts the stack
// right, and ends where one ends that was not killed.
func TestKilledAtEachCall(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	var want string
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.mustDeploy("1")
		w.mustDeploy("2")
		want = w.state()
	})
	total := calls(t, nil)
	if total < 50 {
		t.Fatalf("a redeployment makes %d calls", total)
	}
	for _, late := range []bool{false, true} {
		for n := 1; n <= total; n++ {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				w.mustDeploy("1")
				w.account.Forget()
				w.account.Fail(ec2fake.Fault{Nth: n, Late: late, Err: errKilled})
				w.account.Fail(ec2fake.Fault{Nth: n, Rest: true, Err: errKilled})
				_, err := w.deploy(t.Context(), w.deployment("2"))
				w.account.Forget()
				time.Sleep(2 * stack.Silence) // the lock is nobody's then
				if _, again := w.deploy(t.Context(), w.deployment("2")); again != nil {
					t.Errorf("killed at call %d, late %v (%v), the next one fails: %v", n, late, err, again)
					return
				}
				if got := w.state(); got != want {
					t.Errorf("killed at call %d, late %v (%v):\n%s\nwant:\n%s", n, late, err, got, want)
				}
			})
		}
	}
}

// TestRefusedAtEachCall has one call of a redeployment fail for good, before or after it did its work. The same run
// goes back, and nothing is left of it; where it could not, or had come too far, the next one puts it right.
func TestRefusedAtEachCall(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for name, c := range map[string]struct {
		change func(*stackfile.File)
		stride int
	}{
		"single": {nil, 1},
		"group":  {func(f *stackfile.File) { f.Web.Scaling, f.Web.Count = "asg", 2 }, 7},
	} {
		t.Run(name, func(t *testing.T) {
			var before, want string
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, c.change)
				w.mustDeploy("1")
				before = w.state()
				w.mustDeploy("2")
				want = w.state()
			})
			back := 0
			for n, total := 1, calls(t, c.change); n <= total; n += c.stride {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, c.change)
					w.mustDeploy("1")
					w.account.Forget()
					w.account.Fail(
						ec2fake.Fault{Nth: n, Late: n%2 == 0, Err: ec2fake.Errf(apierror.OperationNotPermitted, "no")},
					)
					_, err := w.deploy(t.Context(), w.deployment("2"))
					w.account.Forget()
					time.Sleep(time.Hour) // what was told to end or to begin has done so
					switch got := w.state(); {
					case err == nil, errors.Is(err, ErrNeedsPerson), got == want:
					case got == before:
						back++
					case strings.Contains(got, "db serving running ami-db-2") &&
						strings.Contains(got, "web serving running ami-web-2"):
						// It had come too far: the new ones serve, and the next deployment ends the old ones.
					default:
						t.Errorf("call %d failed (%v):\n%s\nwant:\n%s", n, err, got, before)
					}
					if _, again := w.deploy(t.Context(), w.deployment("2")); again != nil {
						t.Errorf("call %d failed (%v), and the next deployment fails: %v", n, err, again)
					} else if got := w.state(); got != want {
						t.Errorf("call %d failed (%v):\n%s\nwant:\n%s", n, err, got, want)
					}
				})
			}
			if back == 0 {
				t.Error("no deployment went back")
			}
			t.Logf("%d deployments went back", back)
		})
	}
}

func TestRollbackToASnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.mustDeploy("1")
		second := w.mustDeploy("2")
		d := w.deployment("1")
		d.Kind, d.Snapshot = "rollback", second.Snapshot
		back, err := w.deploy(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if back.Instances["db"][0].Detail.Volume == second.Instances["db"][0].Detail.Volume {
			t.Error("the data is on the volume of before")
		}
		w.mustDeploy("1")
	})
}
