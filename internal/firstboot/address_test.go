package firstboot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestNetworkdKeepsTheAddress where it manages the interface; elsewhere nothing is left lying about.
func TestNetworkdKeepsTheAddress(t *testing.T) {
	managed := func(file string) string {
		return "[ \"$*\" = '--no-pager status ens5' ] || exit 99\n" +
			"echo '* 2: ens5\n                     Link File: /usr/lib/systemd/network/99-default.link\n" +
			"                  Network File: " + file + "\n                         State: routable'\n"
	}
	for _, c := range []struct {
		name, networkctl string
		want             string // below the directory; empty for nothing
	}{
		{"netplan", managed("/run/systemd/network/10-netplan-ens5.network"), "10-netplan-ens5.network.d"},
		{"cloud-init", managed("/etc/systemd/network/10-cloud-init-ens5.network"), "10-cloud-init-ens5.network.d"},
		{"not managed", managed("n/a"), ""},
		{"does not run", "echo 'Failed to query link state' >&2; exit 1\n", ""},
		{"not installed", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, fakes := filepath.Join(t.TempDir(), "network"), map[string]string{}
			if c.networkctl != "" {
				fakes["networkctl"] = c.networkctl
			}
			programs(t, fakes)
			if err := tellNetworkd(t.Context(), dir, "ens5", "10.0.2.10"); err != nil {
				t.Fatal(err)
			}
			left, err := filepath.Glob(filepath.Join(dir, "*", "*"))
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" {
				if left != nil {
					t.Errorf("it left %q", left)
				}
				return
			}
			path := filepath.Join(dir, c.want, addressDropIn)
			text, err := os.ReadFile(path)
			if err != nil || !strings.HasSuffix(string(text), "\n[Address]\nAddress=10.0.2.10/32\n") {
				t.Errorf("got %q, %v", text, err)
			}
			if err := forgetAddress(dir); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it is still there: %v", err)
			}
		})
	}
}

// TestAddressIsGivenBack at once when something was heard, and now and then where nothing was.
func TestAddressIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		changed := make(chan struct{}, 1)
		var asserted atomic.Int32
		go keepAddress(ctx, changed, func() error { asserted.Add(1); return errors.New("not yet") })
		synctest.Wait()
		changed <- struct{}{}
		synctest.Wait()
		if asserted.Load() != 2 {
			t.Errorf("it looked %d times, want at its start and at the change", asserted.Load())
		}
		time.Sleep(lookAtAddress + time.Second)
		synctest.Wait()
		if asserted.Load() != 3 {
			t.Errorf("it looked %d times, and once more after a minute is wanted", asserted.Load())
		}
		stop()
		synctest.Wait()
	})
}
