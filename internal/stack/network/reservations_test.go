package network

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

func unreserve(t *testing.T, a *ec2fake.Account, r types.SubnetCidrReservation) {
	t.Helper()
	client := ec2.NewFromConfig(a.Config())
	input := &ec2.DeleteSubnetCidrReservationInput{SubnetCidrReservationId: r.SubnetCidrReservationId}
	if _, err := client.DeleteSubnetCidrReservation(t.Context(), input); err != nil {
		t.Fatal(err)
	}
}

// The service address is reserved once, also in a network of before that has none, and the reservation goes with the
// network.
func TestServiceAddressIsReserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ec2fake.New(t)
		s := stackOf(t, a, nil)
		for range 2 {
			if _, _, err := Up(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		made := a.Calls("CreateSubnetCidrReservation")
		if len(made) != 1 {
			t.Fatalf("it made %d reservations", len(made))
		}
		in := made[0].Input.(*ec2.CreateSubnetCidrReservationInput)
		if *in.Cidr != "10.0.2.10/32" || in.ReservationType != types.SubnetCidrReservationTypeExplicit {
			t.Errorf("it reserved %s, %s", *in.Cidr, in.ReservationType)
		}
		all, err := reservationsOf(t.Context(), s, *in.SubnetId)
		if err != nil || len(all) != 1 {
			t.Fatal(err, all)
		}
		unreserve(t, a, all[0])
		dry := plan.NewActor(true)
		if _, err := Ensure(t.Context(), s, dry); err != nil || len(dry.Changes()) != 1 ||
			dry.Changes()[0].What != "reservation of 10.0.2.10, where db is found" {
			t.Errorf("%v: the plan is %v", err, dry.Changes())
		}
		if _, _, err := Up(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if err := Down(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		for _, thing := range a.Things() {
			if !strings.HasPrefix(thing, "/goldsmith/") {
				t.Errorf("%s is left", thing)
			}
		}
	})
}

// A reservation that somebody else made around the address is as good, and stays.
func TestReservationThatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ec2fake.New(t)
		s := stackOf(t, a, nil)
		n, _, err := Up(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		client := ec2.NewFromConfig(a.Config())
		all, err := reservationsOf(t.Context(), s, n.Private)
		if err != nil {
			t.Fatal(err)
		}
		unreserve(t, a, all[0])
		if _, err := client.CreateSubnetCidrReservation(t.Context(), &ec2.CreateSubnetCidrReservationInput{
			SubnetId:        aws.String(n.Private),
			Cidr:            aws.String("10.0.2.0/28"),
			ReservationType: types.SubnetCidrReservationTypeExplicit,
		}); err != nil {
			t.Fatal(err)
		}
		if _, changes, err := Up(t.Context(), s); err != nil || len(changes) > 0 {
			t.Errorf("%v: it changed %v", err, changes)
		}
	})
}
