package targets

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// well is a network in which everybody answers.
type well struct{}

func (well) Dial(context.Context, string, netip.AddrPort) (net.Conn, error) {
	client, server := net.Pipe()
	server.Close()
	return client, nil
}

// pace is how long load balancers take.
type pace time.Duration

func (p pace) TargetTakes(string) time.Duration { return time.Duration(p) }

// TestTargetTakesItsTime: a target that answers at once is healthy when a load balancer would find it so.
func TestTargetTakesItsTime(t *testing.T) {
	for _, takes := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			store := &records.Store{}
			prefix := netip.MustParsePrefix("127.66.9.0/24")
			if err := store.Open(filepath.Join(t.TempDir(), "api.json"), prefix); err != nil {
				t.Fatal(err)
			}
			err := store.Update(func(o *records.State) {
				o.TargetGroups["group"] = &records.TargetGroup{Protocol: "TCP", Healthy: 2, Unhealthy: 2}
				o.Groups["web"] = &records.Group{TargetGroups: []string{"group"}}
				o.Instances["i-1"] = &records.Instance{State: "running", Group: "web"}
			})
			if err != nil {
				t.Fatal(err)
			}
			store.SetAddresses(nil, map[string]records.Home{"i-1": {Private: netip.MustParseAddr("10.0.0.4")}})
			c := New(store, well{}, pace(takes))
			for range 3 {
				c.Check(t.Context())
			}
			if got := c.IsHealthy("i-1"); got != (takes == 0) || c.Settling("i-1") == got {
				t.Errorf("%s: healthy is %t, settling %t", takes, got, c.Settling("i-1"))
			}
			if state, _, _ := c.HealthOf(c.Targets()[0]); takes > 0 && state != "initial" {
				t.Errorf("%s: it is %s", takes, state)
			}
			time.Sleep(takes)
			c.Check(t.Context())
			if !c.IsHealthy("i-1") || c.Settling("i-1") {
				t.Errorf("%s: it is not healthy at the end", takes)
			}
		})
	}
}
