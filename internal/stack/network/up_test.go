package network

import (
	"maps"
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
