package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/console"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/launch"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/probe"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/stacktest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// scalingAPI answers calls of Auto Scaling in the form that AWS's API reference gives. Refreshes are the answers to
// successive DescribeInstanceRefreshes, the last of them for ever; an unknown action is an error.
type scalingAPI struct {
	mu        sync.Mutex
	refreshes []refreshAnswer
	// failures are error codes, by action.
	failures map[string]string
	// groupVersion and serving are the group's, members the versions of its instances.
	groupVersion, serving string
	members               []string
	// held are the processes that are suspended.
	held []string
	// then is called with the action before it is answered.
	then func(action string)

	calls []url.Values
}

type refreshAnswer struct {
	status, reason string
	percent        int
}

const refreshID = "08b91cf7-8fa6-48af-b6a6-d227f40f1b9b"

func (a *scalingAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	action := r.Form.Get("Action")
	a.mu.Lock()
	then := a.then
	a.mu.Unlock()
	if then != nil {
		then(action)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, r.Form)
	if set, ok := map[string]string{
		"GetConsoleOutput":  "<instanceId>i-1</instanceId>",
		"DescribeInstances": "<reservationSet/>",
	}[action]; ok {
		const namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"
		fmt.Fprintf(w, `<%[1]sResponse xmlns="%[2]s"><requestId>1</requestId>`+
			`%[3]s</%[1]sResponse>`, action, namespace, set)
		return
	}
	result, known := a.result(action)
	fault := a.failures[action]
	if !known {
		fault = "InvalidAction"
	}
	const namespace = "http://autoscaling.amazonaws.com/doc/2011-01-01/"
	if fault != "" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `<ErrorResponse xmlns="%s"><Error><Type>Sender</Type><Code>%s</Code>`+
			`<Message>said the test</Message></Error><RequestId>1</RequestId></ErrorResponse>`, namespace, fault)
		return
	}
	fmt.Fprintf(w, `<%[1]sResponse xmlns="%[2]s"><%[1]sResult>%[3]s</%[1]sResult><ResponseMetadata>`+
		`<RequestId>7c6e177f-f082-11e1-ac58-3714bEXAMPLE</RequestId></ResponseMetadata></%[1]sResponse>`,
		action, namespace, result)
}

// result is the answer to an action of Auto Scaling, and whether there is one.
func (a *scalingAPI) result(action string) (text string, known bool) {
	switch action {
	case "DescribeAutoScalingGroups":
		return a.described(), true
	case "StartInstanceRefresh", "RollbackInstanceRefresh", "CancelInstanceRefresh":
		return "<InstanceRefreshId>" + refreshID + "</InstanceRefreshId>", true
	case "DescribeInstanceRefreshes":
		return a.nextRefresh(), true
	case "SuspendProcesses", "ResumeProcesses":
		return "", true
	}
	return "", false
}

// described is the group as it is now.
func (a *scalingAPI) described() string {
	const template = `<LaunchTemplate><LaunchTemplateId>lt-0a20c965061f64abc</LaunchTemplateId>` +
		`<Version>%s</Version></LaunchTemplate>`
	var members, held strings.Builder
	for i, version := range a.members {
		fmt.Fprintf(&members, `<member><InstanceId>i-%017d</InstanceId><LifecycleState>InService</LifecycleState>`+
			`<HealthStatus>Healthy</HealthStatus>`+template+`</member>`, i, version)
	}
	for _, process := range a.held {
		fmt.Fprintf(&held, "<SuspendedProcesses><member><ProcessName>%s</ProcessName></member></SuspendedProcesses>",
			process)
	}
	return fmt.Sprintf(`<AutoScalingGroups><member><AutoScalingGroupName>goldsmith-golden-web</AutoScalingGroupName>`+
		`<DesiredCapacity>%d</DesiredCapacity>`+template+`<Instances>%s</Instances>%s<Tags><member>`+
		`<Key>goldsmith:version</Key><Value>%s</Value></member></Tags></member></AutoScalingGroups>`,
		len(a.members), a.groupVersion, members.String(), held.String(), a.serving)
}

// nextRefresh is the next of the refreshes, or the last one again.
func (a *scalingAPI) nextRefresh() string {
	if len(a.refreshes) == 0 {
		return "<InstanceRefreshes/>"
	}
	now := a.refreshes[0]
	if len(a.refreshes) > 1 {
		a.refreshes = a.refreshes[1:]
	}
	reason := ""
	if now.reason != "" {
		reason = "<StatusReason>" + now.reason + "</StatusReason>"
	}
	return fmt.Sprintf(`<InstanceRefreshes><member><InstanceRefreshId>%s</InstanceRefreshId>`+
		`<AutoScalingGroupName>goldsmith-golden-web</AutoScalingGroupName><Status>%s</Status>%s`+
		`<StartTime>2026-06-02T18:11:27Z</StartTime><PercentageComplete>%d</PercentageComplete>`+
		`<InstancesToUpdate>5</InstancesToUpdate></member></InstanceRefreshes>`,
		refreshID, now.status, reason, now.percent)
}

// asked are the calls of an action.
func (a *scalingAPI) asked(action string) []url.Values {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.calls), func(form url.Values) bool { return form.Get("Action") != action })
}

// page is a web tier's page, whose answers can be changed. Who answers is its certificate's digest.
type page struct {
	mu  sync.Mutex
	bad bool
}

const shown = "sha256:page"

func (p *page) get(ctx context.Context, q probe.Question, fingerprints ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case q.URL != "https://192.0.2.1/health":
		return fmt.Errorf("nobody answers at %s", q.URL)
	case !slices.Contains(fingerprints, shown):
		return fmt.Errorf("only %v are trusted", fingerprints)
	case p.bad:
		return errors.New("503")
	}
	return ctx.Err()
}

// refreshing is a deployment of a group whose API and page are the test's, and what it said.
func refreshing(t *testing.T, api *scalingAPI) (*group, *page, *strings.Builder) {
	t.Helper()
	p, said := &page{}, &strings.Builder{}
	file := stackfile.Default()
	file.Web.Scaling, file.Web.Count = "asg", 2
	logf := func(format string, args ...any) { fmt.Fprintf(said, format+"\n", args...) }
	s := defaultstack.New(stacktest.Direct(api), file, logf)
	s.Consoles = &console.Reader{} // the time of one test is not that of another
	g := newGroup(&tier.Run{Stack: s, Act: plan.NewActor(false), Reach: tier.Reach{Get: p.get}}, s.Tier("web"))
	g.certificates.add("i-shown", shown)
	g.address = types.Address{PublicIp: aws.String("192.0.2.1")}
	g.found = testGroup
	return g, p, said
}

var testGroup = &scalingGroup{
	name:     "goldsmith-golden-web",
	template: "lt-0a20c965061f64abc",
	version:  "3",
	serving:  "3",
}

// TestRefreshAsksForWhatTheFileSays holds the request to AWS's rules: the last checkpoint is 100, the version is a
// number, the range between the percentages is at most 100.
func TestRefreshAsksForWhatTheFileSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &scalingAPI{
			serving:      "3",
			groupVersion: "3",
			members:      []string{"3", "4"},
			refreshes: []refreshAnswer{{status: "Pending"}, {"InProgress", "Reached checkpoint at 50%.", 50}, {
				status:  "Baking",
				percent: 100,
			}, {status: "Successful", percent: 100}},
		}
		r, _, said := refreshing(t, api)
		d := &r.run.Stack.Settings.Deploy
		d.Checkpoints, d.CheckpointDelay, d.MinHealthyPercentage, d.BakeTime = []int32{20,
			50}, 90*time.Second, 5, 1500*time.Millisecond
		if err := r.refresh(t.Context(), "4"); err != nil {
			t.Fatal(err)
		}
		started := api.asked("StartInstanceRefresh")
		if len(started) != 1 {
			t.Fatalf("%d refreshes were started", len(started))
		}
		for parameter, want := range map[string]string{
			"AutoScalingGroupName": "goldsmith-golden-web", "Strategy": "Rolling",
			"DesiredConfiguration.LaunchTemplate.LaunchTemplateId": "lt-0a20c965061f64abc",
			"DesiredConfiguration.LaunchTemplate.Version":          "4",
			"Preferences.MinHealthyPercentage":                     "5", "Preferences.MaxHealthyPercentage": "105",
			"Preferences.InstanceWarmup": "120", "Preferences.SkipMatching": "false",
			"Preferences.AutoRollback": "true", "Preferences.BakeTime": "2", "Preferences.CheckpointDelay": "90",
			"Preferences.CheckpointPercentages.member.1": "20", "Preferences.CheckpointPercentages.member.2": "50",
			"Preferences.CheckpointPercentages.member.3": "100",
			"Preferences.CheckpointPercentages.member.4": "",
		} {
			if got := started[0].Get(parameter); got != want {
				t.Errorf("%s is %q, want %q", parameter, got, want)
			}
		}
		for _, want := range []string{"Pending, 0 %", "InProgress, 50 %: Reached checkpoint at 50%.", "Baking, 100 %",
			"Successful, 100 %"} {
			if !strings.Contains(said.String(), want) {
				t.Errorf("%q was not told:\n%s", want, said)
			}
		}
	})
}

func TestCheckpointsEndOnceInAHundred(t *testing.T) {
	r, _, _ := refreshing(t, &scalingAPI{})
	for _, test := range []struct{ given, want []int32 }{{nil, nil}, {[]int32{100}, []int32{100}},
		{[]int32{30, 100}, []int32{30, 100}}, {[]int32{30}, []int32{30, 100}}} {
		r.run.Stack.Settings.Deploy.Checkpoints = test.given
		p := r.refreshes.preferences(&scalingGroup{}, false)
		if !slices.Equal(p.CheckpointPercentages, test.want) || (p.CheckpointDelay != nil) != (test.want != nil) {
			t.Errorf("%v: %v, delay %v", test.given, p.CheckpointPercentages, p.CheckpointDelay)
		}
	}
}

// TestEndsOfRefreshes: each end but one is an error, and only a rollback that failed needs a person.
func TestEndsOfRefreshes(t *testing.T) {
	for _, test := range []struct {
		end    refreshAnswer
		person bool
	}{
		{refreshAnswer{"Failed", "The Load Balancer health checks failed.", 20},
			false}, {refreshAnswer{"Cancelled", "Cancelled due to user request.", 20}, false},
		{refreshAnswer{"RollbackSuccessful", "Rolled back due to alarm.", 0},
			false}, {refreshAnswer{"RollbackFailed", "Launching failed.", 0}, true},
	} {
		t.Run(test.end.status, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := &scalingAPI{
					serving:      "3",
					groupVersion: "3",
					members:      []string{"3"},
					refreshes:    []refreshAnswer{{status: "InProgress", percent: 20}, test.end},
				}
				r, _, _ := refreshing(t, api)
				err := r.refresh(t.Context(), "4")
				if err == nil || !strings.Contains(err.Error(), test.end.status) || !strings.Contains(err.Error(),
					test.end.reason) || errors.Is(err, tier.ErrNeedsPerson) != test.person {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// TestRefreshGoesBack ends a refresh that is under way in each way that there is, and looks at what is asked of EC2.
func TestRefreshGoesBack(t *testing.T) {
	running := refreshAnswer{status: "InProgress", percent: 40}
	back := []refreshAnswer{running, {status: "RollbackInProgress", percent: 20}, {status: "RollbackSuccessful"}}
	for _, test := range []struct {
		name      string
		refreshes []refreshAnswer
		failures  map[string]string
		members   []string
		want      []string // calls that change something
		err       string
		person    bool
	}{
		{"killed while it was under way", back, nil, []string{"3", "3"}, []string{"RollbackInstanceRefresh"}, "",
			false},
		{"killed in the bake time", append([]refreshAnswer{{
			status:  "Baking",
			percent: 100,
		}}, back[1:]...), nil, []string{"3"}, []string{"RollbackInstanceRefresh"}, "", false},
		{"killed while it went back", back[1:], nil, []string{"3"}, nil, "", false},
		{"not to be taken back", []refreshAnswer{running, {status: "Cancelling"}, {status: "Cancelled"},
			{status: "InProgress"}, {status: "Successful"}},
			map[string]string{"RollbackInstanceRefresh": "IrreversibleInstanceRefresh"}, []string{"3",
				"4"}, []string{"RollbackInstanceRefresh", "CancelInstanceRefresh", "StartInstanceRefresh"}, "", false},
		{"ended in that moment", []refreshAnswer{running, {status: "Successful"}},
			map[string]string{"RollbackInstanceRefresh": "ActiveInstanceRefreshNotFound"}, []string{"4"},
			[]string{"RollbackInstanceRefresh", "StartInstanceRefresh"}, "", false},
		{"failed, and half of it is new", []refreshAnswer{{status: "Failed"}, {status: "Successful"}}, nil,
			[]string{"3", "4"}, []string{"StartInstanceRefresh"}, "", false},
		{"cannot go back", append(slices.Clone(back[:2]), refreshAnswer{status: "RollbackFailed"}), nil,
			[]string{"4"}, []string{"RollbackInstanceRefresh"}, "RollbackFailed", true},
		{"may not", []refreshAnswer{running}, map[string]string{"RollbackInstanceRefresh": "AccessDenied"},
			[]string{"4"}, []string{"RollbackInstanceRefresh"}, "AccessDenied", false},
		{"nothing to do", []refreshAnswer{{status: "Successful", percent: 100}}, nil, []string{"3"}, nil, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := &scalingAPI{
					serving:      "3",
					groupVersion: "3",
					members:      test.members,
					refreshes:    test.refreshes,
					failures:     test.failures,
				}
				r, _, _ := refreshing(t, api)
				err := r.convergeGroup(t.Context(), plan.NewActor(false))
				if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(),
					test.err) || errors.Is(err, tier.ErrNeedsPerson) != test.person) {
					t.Errorf("%v", err)
				}
				var changes []string
				for _, form := range api.calls {
					if action := form.Get("Action"); !strings.HasPrefix(action, "Describe") {
						changes = append(changes, action)
					}
				}
				if !slices.Equal(changes, test.want) {
					t.Errorf("asked for %v, want %v", changes, test.want)
				}
				for _, form := range api.asked("StartInstanceRefresh") {
					if form.Get("DesiredConfiguration.LaunchTemplate.Version") != "3" ||
						form.Get("Preferences.SkipMatching") != "true" ||
						form.Get("Preferences.BakeTime") != "" {
						t.Errorf("it goes back by %v", form)
					}
				}
			})
		})
	}
}

// TestInterruptTakesTheRefreshBack is ctrl-C while EC2 is at it.
func TestInterruptTakesTheRefreshBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &scalingAPI{
			serving:      "3",
			groupVersion: "3",
			members:      []string{"3"},
			refreshes:    []refreshAnswer{{status: "InProgress", percent: 10}},
		}
		r, _, _ := refreshing(t, api)
		ctx, interrupt := context.WithCancel(t.Context())
		api.then = func(action string) {
			if action == "DescribeInstanceRefreshes" {
				interrupt()
			}
		}
		if err := r.refresh(ctx, "4"); !errors.Is(err, context.Canceled) {
			t.Fatalf("%v", err)
		}
		// The answer to the request that was given up may still be under way.
		api.mu.Lock()
		api.then = nil
		api.refreshes = []refreshAnswer{{status: "InProgress", percent: 10}, {status: "RollbackSuccessful"}}
		api.mu.Unlock()
		if err := r.convergeGroup(
			t.Context(),
			plan.NewActor(false),
		); err != nil ||
			len(api.asked("RollbackInstanceRefresh")) != 1 {
			t.Errorf("%v; rollbacks: %v", err, api.asked("RollbackInstanceRefresh"))
		}
	})
}

// TestSickPageEndsTheWaiting: EC2 finds its instances healthy, and the page is not.
func TestSickPageEndsTheWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &scalingAPI{
			serving:      "3",
			groupVersion: "3",
			members:      []string{"3"},
			refreshes:    []refreshAnswer{{status: "Baking", percent: 100}},
		}
		r, p, _ := refreshing(t, api)
		p.bad = true
		if err := r.refresh(t.Context(), "4"); err == nil || !strings.Contains(err.Error(),
			"was healthy and then was not") {
			t.Errorf("%v", err)
		}
	})
}

func TestSomebodyElsesRefresh(t *testing.T) {
	r, _, _ := refreshing(
		t,
		&scalingAPI{failures: map[string]string{"StartInstanceRefresh": "InstanceRefreshInProgress"}},
	)
	if err := r.refresh(t.Context(), "4"); err == nil || !strings.Contains(err.Error(),
		"somebody else") || !strings.Contains(err.Error(), "cancel-instance-refresh") {
		t.Errorf("%v", err)
	}
}

// TestRefreshThatGetsOnHasTime gives a deployment three minutes, and a refresh that needs longer: one that gets on ends
// well, one that does not ends with the time that its last instance may take.
func TestRefreshThatGetsOnHasTime(t *testing.T) {
	for _, test := range []struct {
		name     string
		percents []int // each of them for two minutes; the last one for ever, but for 100, which is the end
		ends     time.Duration
		fails    bool
	}{
		{"it gets on", []int{0, 33, 66, 66, 66, 66, 100}, 12 * time.Minute, false},
		{"it stands still", []int{0}, 3 * time.Minute, true},
		{"it gets on no more", []int{0, 33}, 2*time.Minute + stepTime + time.Minute, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := &scalingAPI{groupVersion: "4", serving: "3"}
				for _, percent := range test.percents {
					for range int(2 * time.Minute / groupPoll) {
						api.refreshes = append(api.refreshes, refreshAnswer{status: "InProgress", percent: percent})
					}
				}
				if !test.fails {
					api.refreshes = append(api.refreshes[:len(api.refreshes)-1],
						refreshAnswer{status: "Successful", percent: 100})
				}
				r, _, _ := refreshing(t, api)
				r.run.Stack.Settings.Deploy.BakeTime = time.Minute
				ctx, cancel := await.WithLimit(t.Context(), 3*time.Minute)
				defer cancel()
				began := time.Now()
				err := r.refresh(ctx, "4")
				took := time.Since(began)
				onTime := errors.Is(err, context.DeadlineExceeded) && took.Round(10*time.Second) == test.ends
				if (err != nil) != test.fails || test.fails && !onTime {
					t.Errorf("after %s: %v", took, err)
				}
			})
		})
	}
}

// TestNoRefreshesNoDeployment: an API that cannot refresh is found out before anything is changed.
func TestNoRefreshesNoDeployment(t *testing.T) {
	api := &scalingAPI{
		serving:      "3",
		groupVersion: "3",
		members:      []string{"3"},
		failures:     map[string]string{"DescribeInstanceRefreshes": "UnsupportedOperation"},
	}
	r, _, _ := refreshing(t, api)
	if err := r.check(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("%v", err)
	}
	for _, form := range api.calls {
		if !strings.HasPrefix(form.Get("Action"), "Describe") {
			t.Errorf("%s was called", form.Get("Action"))
		}
	}
	r.run.Stack.Settings.Deploy.Checkpoints, r.run.Stack.Settings.Deploy.CheckpointDelay = []int32{25,
		50}, 5*time.Minute
	if err := r.check(t.Context()); err == nil || !strings.Contains(err.Error(), "timeout should be longer") {
		t.Errorf("checkpoints that wait longer than the deployment may take: %v", err)
	}
}

// TestTemplateHasAllOfALaunch holds a launch template to what an instance of its own would get.
func TestTemplateHasAllOfALaunch(t *testing.T) {
	r, _, _ := refreshing(t, &scalingAPI{})
	n := network.Network{
		Groups:  map[string]string{"web": "sg-1"},
		Subnets: map[string][]network.Subnet{"public": {{ID: "subnet-1"}}},
	}
	l := launch.Launch{
		Tier:         r.tier,
		Image:        "ami-1",
		InstanceType: "t3.small",
		Key:          "k",
		Addresses:    map[string]string{"db": "10.0.2.10"},
		Service:      "192.0.2.1",
		Subnet:       network.Subnet{ID: "subnet-1"},
	}
	input, err := l.Input(r.run.Stack, n)
	if err != nil {
		t.Fatal(err)
	}
	data := templateOf(input)
	// What a template has no place for: how many, and that a call is made once.
	elsewhere := []string{"MinCount", "MaxCount", "ClientToken", "TagSpecifications"}
	from, to := reflect.ValueOf(*input), reflect.ValueOf(*data)
	for i := range from.NumField() {
		name := from.Type().Field(i).Name
		if !from.Type().Field(i).IsExported() || from.Field(i).IsZero() || slices.Contains(elsewhere, name) {
			continue
		}
		if there := to.FieldByName(name); !there.IsValid() || there.IsZero() {
			t.Errorf("%s is left out of the template", name)
		}
	}
	eni := data.NetworkInterfaces[0]
	if eni.SubnetId != nil || !aws.ToBool(eni.AssociatePublicIpAddress) || !slices.Equal(eni.Groups,
		[]string{"sg-1"}) || data.MetadataOptions.HttpTokens != types.LaunchTemplateHttpTokensStateRequired {
		t.Errorf("%+v, %+v", eni, data.MetadataOptions)
	}
}

func TestBalancerNamesFit(t *testing.T) {
	for _, name := range []string{"golden", "a--b", "ends-", strings.Repeat("x", 32)} {
		for _, suffix := range []string{"", "-443"} {
			b := &balancer{stack: &stack.Stack{Name: name}}
			name := b.name(suffix)
			if len(name) > 32 || strings.Contains(name, "--") {
				t.Errorf("stack %s: %s", b.stack.Name, name)
			}
		}
	}
}

// TestNoAutoRollback: the stack file may want a failed refresh to stay.
func TestNoAutoRollback(t *testing.T) {
	r, _, _ := refreshing(t, &scalingAPI{})
	failed := errors.New("failed")
	if err := r.keptBroken(failed); errors.Is(err, tier.ErrKept) || !errors.Is(err, failed) {
		t.Errorf("it goes back by itself: %v", err)
	}
	r.run.Stack.Settings.Deploy.AutoRollback = false
	if err := r.keptBroken(failed); !errors.Is(err, tier.ErrKept) || !errors.Is(err, failed) || !errors.Is(err,
		tier.ErrNeedsPerson) {
		t.Errorf("%v", err)
	}
	if aws.ToBool(r.refreshes.preferences(&scalingGroup{}, false).AutoRollback) {
		t.Error("EC2 is asked to go back")
	}
}

// TestGroupKeepsItsInstancesWhileTheDatabaseMoves: their pages are sick then, and EC2 would replace them all.
func TestGroupKeepsItsInstancesWhileTheDatabaseMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &scalingAPI{serving: "3", groupVersion: "3", members: []string{"3"}}
		r, _, _ := refreshing(t, api)
		processes := func(action string) []string {
			var all []string
			for _, form := range api.asked(action) {
				all = append(all, form.Get("ScalingProcesses.member.1"), form.Get("ScalingProcesses.member.2"))
			}
			return all
		}
		want := []string{"HealthCheck", "ReplaceUnhealthy"}
		err := r.Hold(t.Context(), func() error {
			if got := processes("SuspendProcesses"); !slices.Equal(got, want) {
				t.Errorf("suspended: %v", got)
			}
			return nil
		})
		if got := processes("ResumeProcesses"); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v; resumed: %v", err, got)
		}
		failed := errors.New("failed")
		if err := r.Hold(t.Context(), func() error { return failed }); !errors.Is(err,
			failed) || len(api.asked("ResumeProcesses")) != 1 {
			t.Errorf("%v; what failed is to be settled first", err)
		}
		api.held = want[:1]
		if err := r.convergeGroup(t.Context(), plan.NewActor(false)); err != nil ||
			len(api.asked("ResumeProcesses")) != 2 {
			t.Errorf("%v: a group that a killed deployment held stays so", err)
		}
	})
}

// TestGroupWithAProfileThatIsNew has Auto Scaling learn of the profile later than EC2.
func TestGroupWithAProfileThatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := stacktest.Slowly(
			t,
			map[string]string{
				"StartInstanceRefresh": "<StartInstanceRefreshResult><InstanceRefreshId>r-1</InstanceRefreshId>" +
					"</StartInstanceRefreshResult>",
			},
			map[string]stacktest.Fault{"StartInstanceRefresh": stacktest.For(30*time.Second, "ValidationError",
				"You must use a valid fully-formed launch template. "+stacktest.BadProfile)},
		)
		id, err := newGroup(&tier.Run{Stack: s}, s.Tier("web")).refreshes.start(t.Context(), &scalingGroup{
			name:     "g",
			template: "lt-1",
		}, "2", nil)
		if err != nil || id != "r-1" {
			t.Errorf("got %q, %v after %d calls", id, err, a.Calls["StartInstanceRefresh"])
		}
	})
}

// TestWarmup is as long as instances took to boot, as far as that is known.
func TestWarmup(t *testing.T) {
	s := defaultstack.New(aws.Config{}, stackfile.Default(), t.Logf)
	r := &refreshes{run: &tier.Run{Stack: s}, tier: s.Tier("web")}
	for _, c := range []struct{ boot, want int32 }{{0, 120}, {4, 15}, {87, 87}} {
		got := r.preferences(&scalingGroup{boot: c.boot}, false).InstanceWarmup
		if aws.ToInt32(got) != c.want {
			t.Errorf("after a boot of %d s: %d, want %d", c.boot, aws.ToInt32(got), c.want)
		}
	}
}

func TestShortestBoot(t *testing.T) {
	known := &certificates{}
	for _, took := range []time.Duration{0, 90 * time.Second, 70 * time.Second, 0, 80 * time.Second} {
		known.booted(took)
	}
	if got := known.shortestBoot(); got != 70*time.Second {
		t.Errorf("got %s", got)
	}
}

func TestKeyHint(t *testing.T) {
	for said, want := range map[string]bool{
		"Instance became unhealthy while waiting. Client.InternalError: Client error on launch": true,
		"We currently do not have sufficient t3.small capacity":                                 false,
	} {
		if got := keyHint(said) != ""; got != want {
			t.Errorf("%s: a hint is %v", said, got)
		}
	}
}
