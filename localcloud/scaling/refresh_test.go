package scaling

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/targets"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/workqueue"
)

// TestRefreshOfAGroupThatIsGone: work on a group goes on for a moment after it was deleted, and does not bring it back.
func TestRefreshOfAGroupThatIsGone(t *testing.T) {
	g := newGroups(t)
	g.runRefresh(t.Context(), "gone", "refresh")
	g.queue.Close()
	if names := g.records.GroupNames(); len(names) > 0 {
		t.Errorf("it is back: %v", names)
	}
}

// noEC2 fails the test on any call.
type noEC2 struct{ t *testing.T }

func (e noEC2) RunInstances(context.Context, *awsquery.Call) (*awsquery.Node, error) {
	e.t.Error("instances are launched")
	return nil, errors.New("no")
}

func (e noEC2) TerminateInstances(context.Context, *awsquery.Call) (*awsquery.Node, error) {
	e.t.Error("instances are ended")
	return nil, errors.New("no")
}

// TestNoLaunchForAGroupThatIsGone: it may be deleted between the moment when a refresh looks at it and the launch, and
// the instances would be nobody's.
func TestNoLaunchForAGroupThatIsGone(t *testing.T) {
	g := newGroups(t)
	g.ec2 = noEC2{t}
	ids, _, err := g.launchBatch(t.Context(), "gone", records.Refresh{}, records.Template{}, 1)
	if err == nil || len(ids) > 0 {
		t.Errorf("launched %v, %v", ids, err)
	}
}

// newGroups are the groups of a cloud that has none.
func newGroups(t *testing.T) *Groups {
	t.Helper()
	store := &records.Store{}
	if err := store.Open(filepath.Join(t.TempDir(), "api.json"), netip.MustParsePrefix("127.66.9.0/24")); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	return &Groups{records: store, queue: workqueue.New(log), change: &sync.Mutex{}, log: log}
}

// pace is how long load balancers and refreshes take.
type pace struct{ target, refresh time.Duration }

func (p pace) TargetTakes(string) time.Duration  { return p.target }
func (p pace) RefreshTakes(string) time.Duration { return p.refresh }

// answering is a network in which everybody does.
type answering struct{}

func (answering) Dial(context.Context, string, netip.AddrPort) (net.Conn, error) {
	client, server := net.Pipe()
	server.Close()
	return client, nil
}

// TestRefreshTakesItsTime: a refresh believes late that an instance is healthy, and the time that a load balancer takes
// is none in which the instance is sick.
func TestRefreshTakesItsTime(t *testing.T) {
	for _, p := range []pace{{}, {refresh: time.Minute}, {target: time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			g := newGroups(t)
			g.targets, g.pace = targets.New(g.records, answering{}, p), p
			err := g.records.Update(func(o *records.State) {
				o.TargetGroups["targets"] = &records.TargetGroup{Protocol: "TCP", Healthy: 1, Unhealthy: 1}
				o.Groups["web"] = &records.Group{
					TargetGroups: []string{"targets"},
					Refreshes:    []*records.Refresh{{ID: "1", Status: "InProgress"}},
				}
				o.Instances["i-1"] = &records.Instance{State: "running", Group: "web"}
			})
			if err != nil {
				t.Fatal(err)
			}
			g.records.SetAddresses(nil, map[string]records.Home{"i-1": {Private: netip.MustParseAddr("10.0.0.4")}})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for g.targets.Check(ctx); wait(ctx, time.Second) == nil; g.targets.Check(ctx) {
				}
			}()
			began := time.Now()
			err = g.untilHealthy(ctx, "web", records.Refresh{ID: "1"}, []string{"i-1"}, 10*time.Second)
			if err != nil {
				t.Errorf("%+v: %v", p, err)
			}
			if took := time.Since(began).Round(time.Second * 2); took != p.refresh+p.target {
				t.Errorf("%+v: it took %s", p, took)
			}
		})
	}
}
