package network

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// stackOf is a stack in an account, of the default stack file with a change.
func stackOf(t *testing.T, a *ec2fake.Account, change func(*stackfile.File)) *stack.Stack {
	t.Helper()
	file := stackfile.Default()
	if err := file.Operator.UnmarshalText([]byte("192.0.2.1/32")); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(file)
	}
	return defaultstack.New(a.Config(), file, func(string, ...any) {})
}

// In the first zone there is no t3, as in us-east-1e, and only the last has an m9.
func offers(zone, instanceType string) bool {
	return !strings.HasSuffix(zone, "a") && (instanceType != "m9.large" || strings.HasSuffix(zone, "c"))
}

func TestZoneOfSubnets(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*stackfile.File)
		want   string // the zone
		err    string // or what is wrong
	}{
		{"the first that has the types", nil, "us-east-1b", ""},
		{"that has all of them", func(f *stackfile.File) { f.Web.InstanceType = "m9.large" }, "us-east-1c", ""},
		{"one that is named", func(f *stackfile.File) { f.Network.AvailabilityZone = "us-east-1c" }, "us-east-1c", ""},
		{"one that lacks the type", func(f *stackfile.File) { f.Network.AvailabilityZone = "us-east-1a" }, "",
			"availability_zone: EC2 has no t3.small in us-east-1a\nhint: there is t3.small in us-east-1b, us-east-1c"},
		{"one that is not there", func(f *stackfile.File) { f.Network.AvailabilityZone = "us-east-1x" }, "",
			"availability_zone: EC2 has no t3.small in us-east-1x\nhint: there is t3.small in us-east-1b, us-east-1c"},
		{"one that lacks one of them",
			func(f *stackfile.File) {
				f.Web.InstanceType, f.Network.AvailabilityZone = "m9.large", "us-east-1b"
			},
			"", "EC2 has no m9.large and t3.small in us-east-1b\nhint: there is m9.large and t3.small in us-east-1c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := ec2fake.New(t)
				a.Offers = offers
				s := stackOf(t, a, c.change)
				dry := plan.NewActor(true)
				_, planned := Ensure(t.Context(), s, dry)
				n, _, err := Up(t.Context(), s)
				if c.err != "" {
					for _, err := range []error{planned, err} {
						if err == nil || !strings.Contains(err.Error(), c.err) {
							t.Errorf("it is made: %v; want %s", err, c.err)
						}
					}
					if made := a.Calls("CreateVpc", "CreateSubnet"); len(made) > 0 {
						t.Errorf("all the same it asked for %v", made)
					}
					return
				}
				if err != nil || planned != nil {
					t.Fatal(err, planned)
				}
				for kind, subnets := range n.Subnets {
					if len(subnets) != 1 || subnets[0].Zone != c.want {
						t.Errorf("%s subnets: %v, want one in %s", kind, subnets, c.want)
					}
				}
				what := "public subnet 10.0.1.0/24 in " + c.want
				if !slices.ContainsFunc(dry.Changes(), func(c plan.Change) bool { return c.What == what }) {
					t.Errorf("the plan does not have %q: %v", what, dry.Changes())
				}
			})
		})
	}
}

func TestNoZoneForTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ec2fake.New(t)
		a.Offers = func(string, string) bool { return false }
		_, _, err := Up(t.Context(), stackOf(t, a, nil))
		if err == nil || !strings.Contains(err.Error(), "no zone of us-east-1 has t3.small\nhint: name other types") {
			t.Error(err)
		}
	})
}

// A subnet stays where it is; a type that is not there is refused before anything is changed.
func TestZoneOfSubnetsThatAreThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ec2fake.New(t)
		if _, _, err := Up(t.Context(), stackOf(t, a, nil)); err != nil {
			t.Fatal(err)
		}
		if n, _, err := Up(
			t.Context(),
			stackOf(t, a, nil),
		); err != nil ||
			n.Subnets["private"][0].Zone != "us-east-1a" {
			t.Errorf("again: %v %v", n, err)
		}
		a.Offers = offers
		for _, c := range []struct {
			change func(*stackfile.File)
			err    string
		}{
			{func(f *stackfile.File) { f.Network.AvailabilityZone = "us-east-1b" },
				"is in us-east-1a, and the stack file wants us-east-1b, to which it cannot move"},
			{nil, "tier web: EC2 has no t3.small in us-east-1a, where the public subnet subnet-"},
		} {
			a.Forget()
			_, _, err := Up(t.Context(), stackOf(t, a, c.change))
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, want %s", err, c.err)
			}
			if made := a.Calls("CreateSubnet", "CreateTags"); len(made) > 0 {
				t.Errorf("it changed something: %v", made)
			}
		}
	})
}

// In a VPC that was there before nothing is chosen, and a tier in a zone without its type is refused.
func TestZoneOfExistingNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ec2fake.New(t)
		a.Offers = offers
		vpc := aws.String("vpc-0000000a")
		subnet := func(zone string) string {
			return a.In("us-east-1").AddSubnet(types.Subnet{VpcId: vpc, AvailabilityZone: aws.String(zone)})
		}
		bad, good := subnet("us-east-1a"), subnet("us-east-1b")
		client := ec2.NewFromConfig(a.Config())
		gateway, err := client.CreateInternetGateway(t.Context(), &ec2.CreateInternetGatewayInput{})
		if err != nil {
			t.Fatal(err)
		}
		table, err := client.CreateRouteTable(t.Context(), &ec2.CreateRouteTableInput{VpcId: vpc})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{bad, good} {
			if _, err = client.AssociateRouteTable(t.Context(), &ec2.AssociateRouteTableInput{
				RouteTableId: table.RouteTable.RouteTableId,
				SubnetId:     aws.String(id),
			}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err = client.CreateRoute(t.Context(), &ec2.CreateRouteInput{
			RouteTableId:         table.RouteTable.RouteTableId,
			DestinationCidrBlock: aws.String("0.0.0.0/0"),
			GatewayId:            gateway.InternetGateway.InternetGatewayId,
		}); err != nil {
			t.Fatal(err)
		}
		with := func(public string) *stack.Stack {
			return stackOf(t, a, func(f *stackfile.File) {
				f.Network = stackfile.Network{
					VPCID:            *vpc,
					PublicSubnetIDs:  []string{public},
					PrivateSubnetIDs: []string{good},
				}
			})
		}
		_, _, err = Up(t.Context(), with(bad))
		want := "tier web: EC2 has no t3.small in us-east-1a, where the public subnet " + bad + " is"
		if err == nil || !strings.Contains(err.Error(), want) || len(a.Calls("CreateSecurityGroup")) > 0 {
			t.Errorf("%v, want %s", err, want)
		}
		if _, _, err := Up(t.Context(), with(good)); err != nil {
			t.Error(err)
		}
	})
}
