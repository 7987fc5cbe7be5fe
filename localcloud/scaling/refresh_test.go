package scaling

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
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
