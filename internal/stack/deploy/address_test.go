package deploy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
)

const serviceAddress = "10.0.2.10"

// Whoever has the service address and is not the stack's keeps it, and nothing is launched.
func TestForeignServiceAddress(t *testing.T) {
	for _, c := range []struct {
		name, primary string
		secondary     []string
		instance      bool
	}{
		{"as its primary one", serviceAddress, nil, true},
		{"as a secondary one, as a pod has", "10.0.2.77", []string{serviceAddress}, true},
		{"on an interface of AWS's own", "10.0.2.78", []string{serviceAddress}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, nil)
				n, _, err := network.Up(t.Context(), w.stack)
				if err != nil {
					t.Fatal(err)
				}
				stranger := ""
				if c.instance {
					stranger = "i-0000ffff"
				}
				eni := w.account.In(region).AddInterface(n.Private, stranger, c.primary, c.secondary...)
				_, planned := Plan(t.Context(), w.stack, w.deployment("1"))
				_, err = w.deploy(t.Context(), w.deployment("1"))
				for _, err := range []error{planned, err} {
					want := "10.0.2.10 belongs to " + eni
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%v; want %s", err, want)
					}
				}
				if asked := w.account.Calls("RunInstances", "AssignPrivateIpAddresses"); len(asked) > 0 {
					t.Errorf("all the same it asked for %v", asked)
				}
			})
		})
	}
}

// A service address that is in use stays: another one in the stack file is refused before anything is changed.
func TestServiceAddressStays(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.mustDeploy("1")
		w.account.Forget()
		for i := range w.stack.Tiers {
			if w.stack.Tiers[i].Kind == stack.DataTier {
				w.stack.Tiers[i].Data.Address = netip.MustParseAddr("10.0.2.11")
			}
		}
		_, planned := Plan(t.Context(), w.stack, w.deployment("2"))
		_, err := w.deploy(t.Context(), w.deployment("2"))
		for _, err := range []error{planned, err} {
			const want = "service_address: the db tier of stack golden is found at 10.0.2.10, " +
				"and the stack file wants 10.0.2.11"
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want %s", err, want)
			}
		}
		for _, call := range w.account.Calls() {
			if strings.HasPrefix(call.Name, "Create") || strings.HasPrefix(call.Name, "Run") {
				t.Errorf("all the same it called %s", call.Name)
			}
		}
	})
}

// A stranger who takes the address during a deployment keeps it too, and the old database goes on.
func TestServiceAddressTakenMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		n, _, err := network.Up(t.Context(), w.stack)
		if err != nil {
			t.Fatal(err)
		}
		w.account.Watch("RunInstances", func(any, any) {
			w.account.In(region).AddInterface(n.Private, "", "10.0.2.79", serviceAddress)
		})
		if _, err := w.deploy(t.Context(), w.deployment("1")); err == nil ||
			!strings.Contains(err.Error(), "is not taken from it") {
			t.Error(err)
		}
	})
}

// An address is moved only from an instance that EC2 shows as the stack's. Where it does not show who has it, it is not
// taken, and asked for again.
func TestServiceAddressIsNeverTaken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.mustDeploy("1")
		w.account.Forget()
		hidden := time.Time{}
		w.account.Watch("DescribeNetworkInterfaces", func(in, out any) {
			asked := in.(*ec2.DescribeNetworkInterfacesInput)
			if len(asked.Filters) == 0 || out == nil {
				return
			}
			if hidden.IsZero() {
				hidden = time.Now()
			}
			if moves := len(w.account.Calls("DetachVolume")) > 0; moves && time.Since(hidden) < time.Minute {
				out.(*ec2.DescribeNetworkInterfacesOutput).NetworkInterfaces = nil
			}
		})
		second := w.mustDeploy("2")
		calls := w.account.Calls("AssignPrivateIpAddresses")
		if len(calls) == 0 {
			t.Fatal("it did not move")
		}
		for i, call := range calls {
			may := aws.ToBool(call.Input.(*ec2.AssignPrivateIpAddressesInput).AllowReassignment)
			if last := i == len(calls)-1; may && !last {
				t.Errorf("call %d of %d takes the address", i+1, len(calls))
			}
		}
		if had := w.account.In(region).PrivateAddresses(second.Instances["db"][0].ID); !slices.Contains(had,
			serviceAddress) {
			t.Errorf("the new database has %v", had)
		}
	})
}

// An instance that EC2 gave the service address as its primary one would never let it go.
func TestServiceAddressAsPrimary(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.account.Watch("RunInstances", func(_, out any) {
			if launched, ok := out.(*ec2.RunInstancesOutput); ok && launched != nil {
				launched.Instances[0].PrivateIpAddress = aws.String(serviceAddress)
			}
		})
		if _, err := w.deploy(t.Context(), w.deployment("1")); err == nil ||
			!strings.Contains(err.Error(), "EC2 gave it the service address 10.0.2.10 as its primary one\nhint: ") {
			t.Error(err)
		}
	})
}
