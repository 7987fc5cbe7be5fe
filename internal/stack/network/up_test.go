package network

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// TestGatewayThatFailed is not what EC2 answers with to the next attempt: each has a client token of its own.
func TestGatewayThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ec2fake.New(t)
		a.Pace = 20 * time.Second
		file := stackfile.Default()
		if err := file.Operator.UnmarshalText([]byte("192.0.2.1/32")); err != nil {
			t.Fatal(err)
		}
		s := defaultstack.New(a.Config(), file, t.Logf)
		made := 0
		a.Watch("CreateNatGateway", func(_, out any) {
			if made++; made == 1 {
				id := aws.ToString(out.(*ec2.CreateNatGatewayOutput).NatGateway.NatGatewayId)
				ec2fake.FailGateway(a.In("us-east-1"), id)
			}
		})
		if _, _, err := Up(t.Context(), s); err == nil {
			t.Error("the first gateway failed, and nobody says so")
		}
		n, _, err := Up(t.Context(), s)
		if err != nil || len(n.Missing(s.Tiers)) > 0 {
			t.Errorf("again: %+v, %v", n, err)
		}
	})
}

// TestUpAfterUp is two processes one after the other: what the first one made last is not shown to the second one yet.
func TestUpAfterUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ec2fake.New(t)
		a.Lag, a.Pace = 20*time.Second, time.Minute
		file := stackfile.Default()
		if err := file.Operator.UnmarshalText([]byte("192.0.2.1/32")); err != nil {
			t.Fatal(err)
		}
		first, _, err := Up(t.Context(), defaultstack.New(a.Config(), file, t.Logf))
		if err != nil {
			t.Fatal(err)
		}
		second, _, err := Up(t.Context(), defaultstack.New(a.Config(), file, t.Logf))
		if err != nil || !maps.Equal(first.Groups, second.Groups) {
			t.Errorf("%v: %v, and then %v", err, first.Groups, second.Groups)
		}
	})
}

// TestUpAfterOneThatBrokeOff has a process end after each of its calls that make something, and another go on at once:
// EC2 does not show yet what was made last.
func TestUpAfterOneThatBrokeOff(t *testing.T) {
	wanted := map[string]int{
		"CreateVpc":             1,
		"CreateSubnet":          2,
		"CreateInternetGateway": 1,
		"AllocateAddress":       1,
		"CreateNatGateway":      1,
		"CreateRouteTable":      2,
	}
	for _, last := range slices.Sorted(maps.Keys(wanted)) {
		t.Run(last, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := ec2fake.New(t)
				a.Lag = 10 * time.Second
				file := stackfile.Default()
				if err := file.Operator.UnmarshalText([]byte("192.0.2.1/32")); err != nil {
					t.Fatal(err)
				}
				first, end := context.WithCancel(t.Context())
				defer end()
				made := map[string]int{}
				for call := range wanted {
					a.Watch(call, func(_, out any) {
						if out == nil {
							return // what it names is not known yet
						}
						if made[call]++; call == last {
							end()
						}
					})
				}
				if _, _, err := Up(first, defaultstack.New(a.Config(), file, t.Logf)); err == nil {
					t.Fatal("it did not break off")
				}
				s := defaultstack.New(a.Config(), file, t.Logf)
				n, _, err := Up(t.Context(), s)
				if err != nil || len(n.Missing(s.Tiers)) > 0 || !maps.Equal(made, wanted) {
					t.Errorf("again: %v; made was %v, and wanted is %v: %+v", err, made, wanted, n)
				}
			})
		})
	}
}
