package scaling

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/workqueue"
)

// TestRefreshOfAGroupThatIsGone: work on a group goes on for a moment after it was deleted, and does not bring it back.
func TestRefreshOfAGroupThatIsGone(t *testing.T) {
	store := &records.Store{}
	if err := store.Open(filepath.Join(t.TempDir(), "api.json"), netip.MustParsePrefix("127.66.9.0/24")); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	queue := workqueue.New(log)
	g := &Groups{records: store, queue: queue, log: log}
	g.runRefresh(t.Context(), "gone", "refresh")
	queue.Close()
	if names := store.GroupNames(); len(names) > 0 {
		t.Errorf("it is back: %v", names)
	}
}
