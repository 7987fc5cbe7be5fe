package endpoint

import (
	"net/url"
	"slices"
	"testing"
)

func TestSecondaryAddresses(t *testing.T) {
	b := twoTiers(t)
	var got []string
	for _, action := range []string{"AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"} {
		b.Answers[action] = func(form url.Values) string {
			got = append(got, action+" "+form.Get("NetworkInterfaceId")+" "+form.Get("PrivateIpAddress.1"))
			return "<return>true</return>"
		}
	}
	s := newServer(t, b, newMachinery(t))
	for _, address := range []string{"10.0.2.11", "10.0.1.3", "10.0.1.255", "nonsense",
		"10.0.1.9"} { // another subnet's, reserved, the last, no address, a primary one
		refused(t, s, "InvalidParameterValue", "AssignPrivateIpAddresses", "NetworkInterfaceId", "eni-web",
			"PrivateIpAddress.1", address, "AllowReassignment", "true")
	}
	refused(t, s, "InvalidParameterValue", "AssignPrivateIpAddresses", "NetworkInterfaceId", "eni-nat",
		"PrivateIpAddress.1", "10.0.1.40")
	refused(t, s, "InvalidNetworkInterfaceID.NotFound", "AssignPrivateIpAddresses", "NetworkInterfaceId", "eni-none",
		"PrivateIpAddress.1", "10.0.1.40")
	refused(t, s, "InvalidParameterValue", "UnassignPrivateIpAddresses", "NetworkInterfaceId", "eni-web",
		"PrivateIpAddress.1", "10.0.1.4")
	refused(t, s, "InvalidParameterValue", "UnassignPrivateIpAddresses", "NetworkInterfaceId", "eni-web",
		"PrivateIpAddress.1", "10.0.1.41")
	if len(got) > 0 {
		t.Errorf("all the same, moto got %v", got)
	}
	mustRequest(t, s, "AssignPrivateIpAddresses", "NetworkInterfaceId", "eni-web", "PrivateIpAddress.1", "10.0.1.50")
	mustRequest(t, s, "AssignPrivateIpAddresses", "NetworkInterfaceId", "eni-nat", "PrivateIpAddress.1", "10.0.1.40",
		"AllowReassignment", "true")
	mustRequest(t, s, "UnassignPrivateIpAddresses", "NetworkInterfaceId", "eni-web", "PrivateIpAddress.1", "10.0.1.40")
	want := []string{"AssignPrivateIpAddresses eni-web 10.0.1.50", "UnassignPrivateIpAddresses eni-web 10.0.1.40",
		"AssignPrivateIpAddresses eni-nat 10.0.1.40", "UnassignPrivateIpAddresses eni-web 10.0.1.40"}
	if !slices.Equal(got, want) {
		t.Errorf("moto got\n%q, want\n%q", got, want)
	}
}

// TestWhoHasAnAddress: an interface is found by each of its addresses, its secondary ones among them.
func TestWhoHasAnAddress(t *testing.T) {
	s := newServer(t, twoTiers(t), newMachinery(t))
	for address, want := range map[string]string{"10.0.1.4": "eni-web", "10.0.1.40": "eni-web", "10.0.1.9": ""} {
		found := mustRequest(t, s, "DescribeNetworkInterfaces", "Filter.1.Name", "addresses.private-ip-address",
			"Filter.1.Value.1", address, "Filter.2.Name", "subnet-id", "Filter.2.Value.1", "subnet-a")
		if got := found.Get("networkInterfaceSet", "item", "networkInterfaceId"); got != want {
			t.Errorf("%s is found at %q, want %q", address, got, want)
		}
	}
}
