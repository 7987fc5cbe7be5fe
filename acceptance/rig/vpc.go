//go:build acceptance

package rig

import (
	"slices"
	"strings"
	"testing"
)

// EC2 runs `aws ec2` with these arguments and returns its answer as text.
func EC2(t testing.TB, args ...string) string {
	t.Helper()
	return strings.TrimSpace(Must(t, "aws", append([]string{"ec2", "--output", "text"}, args...)...))
}

// VPC is a network that a test makes, as somebody has one before Goldsmith comes.
type VPC struct {
	Prefix                     string // of its addresses, 10.7 for example
	Tag, PublicTag, PrivateTag string // of the VPC and its subnets, each as key=value; empty is none

	ID, Public, Private string

	gateway, address, nat string
	tables                []string
}

// MakeVPC makes the VPC with two subnets and no routes. It is removed at the end of the test, which then leaves
// nothing but images and snapshots.
func MakeVPC(t testing.TB, v VPC) *VPC {
	t.Helper()
	before := Account(t)
	tag := func(id, tag string) {
		if key, value, ok := strings.Cut(tag, "="); ok {
			EC2(t, "create-tags", "--resources", id, "--tags", "Key="+key+",Value="+value)
		}
	}
	v.ID = EC2(t, "create-vpc", "--cidr-block", v.Prefix+".0.0/16", "--query", "Vpc.VpcId")
	subnet := func(number string) string {
		return EC2(t, "create-subnet", "--vpc-id", v.ID, "--cidr-block", v.Prefix+"."+number+".0/24",
			"--query", "Subnet.SubnetId")
	}
	v.Public, v.Private = subnet("1"), subnet("2")
	v.gateway = EC2(t, "create-internet-gateway", "--query", "InternetGateway.InternetGatewayId")
	v.address = EC2(t, "allocate-address", "--query", "AllocationId")
	t.Cleanup(func() {
		v.remove(t)
		for _, thing := range Account(t) {
			if !slices.Contains(before, thing) {
				t.Errorf("left behind: %s", thing)
			}
		}
	})
	EC2(t, "attach-internet-gateway", "--internet-gateway-id", v.gateway, "--vpc-id", v.ID)
	tag(v.ID, v.Tag)
	tag(v.Public, v.PublicTag)
	tag(v.Private, v.PrivateTag)
	return &v
}

// Route gives each subnet a way out, and the public one public addresses.
func (v *VPC) Route(t testing.TB) {
	t.Helper()
	for _, subnet := range []string{v.Public, v.Private} {
		table := EC2(t, "create-route-table", "--vpc-id", v.ID, "--query", "RouteTable.RouteTableId")
		v.tables = append(v.tables, table)
		EC2(t, "associate-route-table", "--route-table-id", table, "--subnet-id", subnet)
	}
	EC2(t, "create-route", "--route-table-id", v.tables[0], "--destination-cidr-block", "0.0.0.0/0",
		"--gateway-id", v.gateway)
	v.nat = EC2(t, "create-nat-gateway", "--subnet-id", v.Public, "--allocation-id", v.address,
		"--query", "NatGateway.NatGatewayId")
	EC2(t, "create-route", "--route-table-id", v.tables[1], "--destination-cidr-block", "0.0.0.0/0",
		"--nat-gateway-id", v.nat)
	EC2(t, "modify-subnet-attribute", "--subnet-id", v.Public, "--map-public-ip-on-launch")
}

func (v *VPC) remove(t testing.TB) {
	t.Helper()
	if v.nat != "" {
		EC2(t, "delete-nat-gateway", "--nat-gateway-id", v.nat)
	}
	EC2(t, "release-address", "--allocation-id", v.address)
	for _, subnet := range []string{v.Public, v.Private} {
		EC2(t, "delete-subnet", "--subnet-id", subnet)
	}
	for _, table := range v.tables {
		for _, id := range strings.Fields(EC2(t, "describe-route-tables", "--route-table-ids", table,
			"--query", "RouteTables[].Associations[].RouteTableAssociationId")) {
			_, _ = Output("aws", "ec2", "disassociate-route-table", "--association-id", id) // went with the subnet
		}
		EC2(t, "delete-route-table", "--route-table-id", table)
	}
	EC2(t, "detach-internet-gateway", "--internet-gateway-id", v.gateway, "--vpc-id", v.ID)
	EC2(t, "delete-internet-gateway", "--internet-gateway-id", v.gateway)
	EC2(t, "delete-vpc", "--vpc-id", v.ID)
}
