package network

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/stacktest"
)

func TestOtherWaits(t *testing.T) {
	for _, c := range []struct {
		name   string
		bodies map[string]string
		faults map[string]stacktest.Fault
		wait   func(context.Context, *stack.Stack) error
	}{
		{"a NAT gateway, too many calls", map[string]string{"DescribeNatGateways": "<natGatewaySet><item>" +
			"<natGatewayId>nat-1</natGatewayId><state>deleted</state></item></natGatewaySet>"},
			map[string]stacktest.Fault{"DescribeNatGateways": stacktest.For(time.Minute, "RequestLimitExceeded",
				"Request limit exceeded.")},
			func(ctx context.Context, s *stack.Stack) error { return natGatewayDeleted(ctx, s, "nat-1") }},
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
