package data

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/stacktest"
)

func TestVolumesThatAreNew(t *testing.T) {
	volume := map[string]string{
		"DescribeVolumes": "<volumeSet><item><volumeId>vol-1</volumeId><status>available</status></item></volumeSet>",
	}
	for _, c := range []struct {
		name   string
		bodies map[string]string
		faults map[string]stacktest.Fault
		wait   func(context.Context, *stack.Stack) error
	}{
		{"a volume that is new", volume, map[string]stacktest.Fault{"DescribeVolumes": stacktest.For(30*time.Second,
			"InvalidVolume.NotFound", "The volume 'vol-1' does not exist.")},
			func(ctx context.Context, s *stack.Stack) error {
				return (&volumes{stack: s}).available(ctx, "vol-1")
			}},
		{
			"a volume, too many calls", volume,
			map[string]stacktest.Fault{"DescribeVolumes": stacktest.For(2*time.Minute, "RequestLimitExceeded",
				"Request limit exceeded.")},
			func(ctx context.Context, s *stack.Stack) error {
				return (&volumes{stack: s}).available(ctx, "vol-1")
			}},
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
