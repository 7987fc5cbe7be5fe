package manners

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

const (
	// Quotas of an account in a region.
	vcpuQuota    = 32
	addressQuota = 5
	vpcQuota     = 5

	// userDataBytes limits user data, parameterCharacters the value of a standard parameter.
	userDataBytes       = 16 << 10
	parameterCharacters = 4096
	// tagQuota limits a resource's tags, those that begin with aws: apart.
	tagQuota = 50
	// shortOne of so many launches finds that there is no capacity.
	shortOne = 200
)

// quotas are they by the codes that Service Quotas has for them: "Amazon EC2 endpoints and quotas", "Amazon VPC
// quotas".
var quotas = map[string]int{
	"L-0263D0A3": addressQuota,
	"L-1216C47A": vcpuQuota,
	"L-F678F1CE": vpcQuota,
}

// shortFor is how long there is no capacity then.
var shortFor = span{30 * time.Second, 2 * time.Minute}

// limits are an account's call rates and quotas.
type limits struct {
	draws *draws
	scale float64

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
	vcpus   map[string]int       // by instance type
	short   map[string]time.Time // instance types in zones, of which there are none until then
}

func newLimits(d *draws, scale float64) *limits {
	return &limits{
		draws:   d,
		scale:   scale,
		buckets: map[string]*rate.Limiter{},
		vcpus:   map[string]int{},
		short:   map[string]time.Time{},
	}
}

// admit refuses what an account may not have. What else is wrong with a call is for who carries it out to say.
func (l *limits) admit(ctx context.Context, c *awsquery.Call, carry Carry) error {
	if dry, err := c.DryRun(); dry || err != nil {
		return nil
	}
	switch c.Service + " " + c.Action() {
	case "ssm PutParameter":
		return admitValue(c)
	case "ec2 RunInstances":
		return l.admitLaunch(ctx, c, carry)
	case "ec2 StartInstances":
		return l.admitStart(ctx, c, carry)
	case "ec2 AllocateAddress":
		return quota(ctx, carry, "DescribeAddresses", addressQuota, apierror.AddressLimitExceeded)
	case "ec2 CreateVpc":
		return quota(ctx, carry, "DescribeVpcs", vpcQuota, apierror.VpcLimitExceeded)
	case "ec2 CreateLaunchTemplate", "ec2 CreateLaunchTemplateVersion":
		return admitUserData(c.Get("LaunchTemplateData.UserData"))
	case "ec2 ModifyInstanceAttribute":
		return admitUserData(c.Get("UserData.Value"))
	}
	return nil
}

// quota refuses one more of what a call describes if there are as many as may be.
func quota(ctx context.Context, carry Carry, action string, most int, refusal *apierror.Row) error {
	described, err := ask(ctx, carry, action)
	if err != nil {
		return err
	}
	if len(described.Items(descriptions[action].set)) < most {
		return nil
	}
	return awsquery.Fault(refusal)
}

func admitUserData(encoded string) error {
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err == nil && len(text) > userDataBytes {
		return awsquery.Fault(apierror.UserDataLimit, userDataBytes)
	}
	return nil
}

func admitValue(c *awsquery.Call) error {
	p := readParameter(c)
	if p.Tier != "" && p.Tier != "Standard" || utf8.RuneCountInString(p.Value) <= parameterCharacters {
		return nil
	}
	return awsquery.Fault(apierror.ParameterTooLong, parameterCharacters)
}

// admitTags refuses more tags on a resource than there may be; before are those that resources had.
func admitTags(c *awsquery.Call, before former) error {
	if c.Service != "ec2" {
		return nil
	}
	given := map[string]map[string]bool{} // keys, by the beginning of the parameters that give one resource its tags
	for name, values := range c.Form {
		list, ok := strings.CutSuffix(name, ".Key")
		at := strings.LastIndex(list, "Tag.")
		if !ok || at < 0 || strings.HasPrefix(values[0], "aws:") {
			continue
		}
		if given[list[:at]] == nil {
			given[list[:at]] = map[string]bool{}
		}
		given[list[:at]][values[0]] = true
	}
	most := 0
	for _, keys := range given {
		most = max(most, len(keys))
	}
	if c.Action() == "CreateTags" {
		for _, set := range before.tags {
			count := len(given[""])
			for _, tag := range set.Children {
				if key := tag.Get("key"); !given[""][key] && !strings.HasPrefix(key, "aws:") {
					count++
				}
			}
			most = max(most, count)
		}
	}
	if most <= tagQuota {
		return nil
	}
	return awsquery.Faultf(apierror.TagLimitExceeded,
		"You've reached the limit on the number of tags that you can assign to the specified resource.")
}

// admitLaunch refuses an instance type that a zone does not have or has no more of, and instances that are too much for
// the account.
func (l *limits) admitLaunch(ctx context.Context, c *awsquery.Call, carry Carry) error {
	kind, zone := c.Get("InstanceType"), zoneOf(ctx, c, carry)
	count, err := strconv.Atoi(c.Get("MinCount"))
	if kind == "" || zone == "" || err != nil {
		return nil
	}
	offered, err := ask(ctx, carry, "DescribeInstanceTypeOfferings", "LocationType", "availability-zone",
		"Filter.1.Name", "instance-type", "Filter.1.Value.1", kind)
	if err != nil {
		return err
	}
	zones := offered.All("instanceTypeOfferingSet", "*", "location")
	slices.Sort(zones)
	if len(zones) > 0 && !slices.Contains(zones, zone) {
		return awsquery.Fault(apierror.Unsupported, kind, zone).Adding(
			"Please retry your request by not specifying an Availability Zone or choosing %s.",
			strings.Join(zones, ", "))
	}
	if l.lacksCapacity(kind, zone) {
		return awsquery.Fault(apierror.InsufficientInstanceCapacity, kind, zone)
	}
	all, err := allInstances(ctx, carry)
	if err != nil {
		return err
	}
	return l.admitVCPUs(ctx, carry, all, slices.Repeat([]string{kind}, max(0, min(count, vcpuQuota+1))))
}

// zoneOf is the zone of a launch's subnet; empty where that is not known.
func zoneOf(ctx context.Context, c *awsquery.Call, carry Carry) string {
	subnet := c.Get("SubnetId")
	if subnet == "" {
		subnet = c.Get("NetworkInterface.1.SubnetId")
	}
	parameters := []string{"SubnetId.1", subnet}
	if subnet == "" {
		if zone := c.Get("Placement.AvailabilityZone"); zone != "" {
			return zone
		}
		parameters = []string{"Filter.1.Name", "defaultForAz", "Filter.1.Value.1", "true"}
	}
	described, err := ask(ctx, carry, "DescribeSubnets", parameters...)
	if err != nil {
		return ""
	}
	for _, zone := range described.All("subnetSet", "*", "availabilityZone") {
		return zone
	}
	return ""
}

// lacksCapacity draws whether a zone has no more of an instance type, for a while.
func (l *limits) lacksCapacity(kind, zone string) bool {
	at := kind + " in " + zone
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.short[at]) {
		return true
	}
	if l.draws.number("capacity", "type", at) >= 1.0/shortOne {
		return false
	}
	length := shortFor.at(l.draws.number("shortage", "type", at))
	l.short[at] = time.Now().Add(time.Duration(l.scale * float64(length)))
	return true
}

func (l *limits) admitStart(ctx context.Context, c *awsquery.Call, carry Carry) error {
	all, err := allInstances(ctx, carry)
	if err != nil {
		return err
	}
	var kinds []string
	for _, item := range all {
		if item.Get("instanceState", "name") == "stopped" &&
			slices.Contains(c.List("InstanceId"), item.Get("instanceId")) {
			kinds = append(kinds, item.Get("instanceType"))
		}
	}
	return l.admitVCPUs(ctx, carry, all, kinds)
}

// instancesOf are the instances of an answer that describes them.
func instancesOf(described *awsquery.Node) []*awsquery.Node {
	var all []*awsquery.Node
	for _, reservation := range described.Items("reservationSet") {
		all = append(all, reservation.Items("instancesSet")...)
	}
	return all
}

// allInstances are the descriptions of the account's instances.
func allInstances(ctx context.Context, carry Carry) ([]*awsquery.Node, error) {
	described, err := ask(ctx, carry, "DescribeInstances")
	if err != nil {
		return nil, err
	}
	return instancesOf(described), nil
}

// admitVCPUs refuses instances of these types if they would have, with those there are that run, more vCPUs than there
// may be.
func (l *limits) admitVCPUs(ctx context.Context, carry Carry, there []*awsquery.Node, kinds []string) error {
	if len(kinds) == 0 {
		return nil
	}
	all := slices.Clone(kinds)
	for _, item := range there {
		if slices.Contains([]string{"pending", "running", "stopping"}, item.Get("instanceState", "name")) {
			all = append(all, item.Get("instanceType"))
		}
	}
	total := 0
	for _, kind := range all {
		count, failure := l.vcpusOf(ctx, carry, kind)
		if failure != nil {
			return failure
		}
		total += count
	}
	if total <= vcpuQuota {
		return nil
	}
	return awsquery.Fault(apierror.VcpuLimitExceeded, vcpuQuota)
}

// vcpusOf is the number of vCPUs of a type; 0 for an unknown type.
func (l *limits) vcpusOf(ctx context.Context, carry Carry, kind string) (int, error) {
	l.mu.Lock()
	count, ok := l.vcpus[kind]
	l.mu.Unlock()
	if ok {
		return count, nil
	}
	described, err := ask(ctx, carry, "DescribeInstanceTypes", "InstanceType.1", kind)
	if err != nil {
		return 0, nil // who carries the call out says what is wrong with the type
	}
	for _, text := range described.All("instanceTypeSet", "*", "vCpuInfo", "defaultVCpus") {
		if count, err = strconv.Atoi(text); err != nil {
			return 0, fmt.Errorf("vCPUs of instance type %s: %w", kind, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.vcpus[kind] = count
	return count, nil
}
