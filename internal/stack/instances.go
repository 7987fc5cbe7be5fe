package stack

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// Instance is one of the stack's.
type Instance struct {
	ID      string    `json:"id"`
	Tier    string    `json:"tier"`
	State   string    `json:"state"`
	Image   string    `json:"image"`
	Private string    `json:"private,omitempty"`
	Public  string    `json:"public,omitempty"`
	Since   time.Time `json:"since"`
	// Role is candidate, serving or retired.
	Role string `json:"role"`

	deploy   string // the deployment that launched it
	group    string // the Auto Scaling group that launched it
	tags     []types.Tag
	kind     string // instance type
	subnet   string // its id
	settings string // digest of what it was launched with
	service  string // of the db tier: the service address that it has when it serves
	server   string // of the db tier: its database server
	volume   string // of the db tier: the data volume that it is made for
	eni      string // primary network interface
}

// Instances are the stack's, but for those that are terminated.
func (s *Stack) Instances(ctx context.Context) ([]Instance, error) {
	out, err := s.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: s.mine("instance-state-name", "pending,running,stopping,stopped")})
	if err != nil {
		return nil, fmt.Errorf("list the instances of stack %s: %w", s.name, err)
	}
	var all []Instance
	for _, reservation := range out.Reservations {
		for _, i := range reservation.Instances {
			if tier := tagOf(i.Tags, tierTag); tier != "" {
				all = append(all, instanceOf(i, tier))
			}
		}
	}
	slices.SortFunc(all, func(a, b Instance) int { return strings.Compare(a.Tier+a.ID, b.Tier+b.ID) })
	return all, nil
}

func instanceOf(i types.Instance, tier string) Instance {
	found := Instance{ID: aws.ToString(i.InstanceId), Tier: tier, Image: aws.ToString(i.ImageId),
		Private: aws.ToString(i.PrivateIpAddress), Public: aws.ToString(i.PublicIpAddress), Since: aws.ToTime(i.LaunchTime)}
	if i.State != nil {
		found.State = string(i.State.Name)
	}
	found.Role, found.deploy, found.server = cmp.Or(tagOf(i.Tags, roleTag), serving), tagOf(i.Tags, deployTag), tagOf(i.Tags, serverTag)
	found.tags, found.kind, found.subnet, found.settings, found.service = i.Tags, string(i.InstanceType), aws.ToString(i.SubnetId), tagOf(i.Tags, settingsTag), tagOf(i.Tags, addressTag)
	found.volume, found.group = tagOf(i.Tags, volumeTag), tagOf(i.Tags, groupTag)
	for _, eni := range i.NetworkInterfaces {
		if eni.Attachment == nil || aws.ToInt32(eni.Attachment.DeviceIndex) != 0 {
			continue
		}
		found.eni = aws.ToString(eni.NetworkInterfaceId)
	}
	return found
}

// launch is an instance of a tier that is to run.
type launch struct {
	tier, image, instanceType string
	subnet                    Subnet
	// clients is the range that a database is asked from.
	clients netip.Prefix
	// service is the service address that the tier is reached by; empty where there is none.
	service string
	// volume is the data volume of a database; empty where the data is on the root volume.
	volume string
	// database is where the web tier finds its database.
	database string
	// more is user-data beside Goldsmith's own.
	more string
	// key is the name of a key pair; empty lets nobody in.
	key string
	// patient asks EC2 again about a profile that was made just now.
	patient bool
	tags    []types.TagSpecification
}

// userData is what an instance is told.
func (s *Stack) userData(l launch) ([]byte, error) {
	settings := instance.Settings{Stack: s.name, Tier: l.tier, Parameters: s.parameters(), ServiceAddress: l.service, DataVolume: l.volume}
	if l.tier == "db" {
		settings.ClientCIDR = l.clients.String()
	} else {
		settings.DatabaseHost, settings.DatabasePort = l.database, 3306
	}
	return settings.UserData(l.more)
}

// runInput asks for an instance, in its subnet and in the group of its tier.
func (s *Stack) runInput(n Network, l launch) (*ec2.RunInstancesInput, error) {
	userData, err := s.userData(l)
	if err != nil {
		return nil, err
	}
	// In a public subnet there is no other way out than by an address of one's own.
	public := slices.ContainsFunc(n.Subnets["public"], func(subnet Subnet) bool { return subnet.ID == l.subnet.ID })
	eni := types.InstanceNetworkInterfaceSpecification{DeviceIndex: aws.Int32(0), DeleteOnTermination: aws.Bool(true), SubnetId: aws.String(l.subnet.ID),
		Groups: []string{*n.group(l.tier)}, AssociatePublicIpAddress: aws.Bool(public)}
	input := &ec2.RunInstancesInput{
		ImageId: aws.String(l.image), InstanceType: types.InstanceType(l.instanceType), MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		ClientToken: aws.String(s.name + "-" + l.tier + "-" + randomPassword()[:12]), UserData: aws.String(base64.StdEncoding.EncodeToString(userData)),
		NetworkInterfaces:  []types.InstanceNetworkInterfaceSpecification{eni},
		IamInstanceProfile: &types.IamInstanceProfileSpecification{Name: aws.String(s.roleName(l.tier))},
		MetadataOptions:    &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired, HttpPutResponseHopLimit: aws.Int32(1), HttpEndpoint: types.InstanceMetadataEndpointStateEnabled},
		TagSpecifications:  l.tags,
	}
	if l.key != "" {
		input.KeyName = aws.String(l.key)
	}
	return input, nil
}

// launch runs an instance.
func (s *Stack) launch(ctx context.Context, n Network, l launch) (Instance, error) {
	input, err := s.runInput(n, l)
	if err != nil {
		return Instance{}, err
	}
	for attempt := 0; ; attempt++ {
		// The call is let end, also when the deployment is interrupted: what it launches must be known to be taken back.
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		out, err := s.ec2.RunInstances(whole, input)
		cancel()
		if err == nil {
			return instanceOf(out.Instances[0], l.tier), nil
		}
		unknownProfile := code(err) == "InvalidParameterValue" && strings.Contains(err.Error(), "nstance profile")
		if !l.patient || !unknownProfile || attempt == 10 {
			return Instance{}, fmt.Errorf("launch %s of %s: %w", l.tier, l.image, err)
		}
		if err := sleep(ctx, 2*time.Second); err != nil {
			return Instance{}, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// waitReady waits for the report that an instance writes to its console, and for nothing else: a private instance can
// so be waited for without a way to it. A report that is no younger than after, by the instance's own clock, is of an
// earlier boot.
func (s *Stack) waitReady(ctx context.Context, id string, after time.Time) (report instance.Report, err error) {
	_, err = s.waitConsole(ctx, id, "is ready", func(console []byte) (ok bool, err error) {
		report, ok = instance.FindReport(console)
		if ok = ok && report.Time.After(after); ok && !report.Ready {
			err = fmt.Errorf("wait for %s: it says that it is not ready: %s", id, failures(report))
		}
		return ok, err
	})
	return report, err
}

// waitConsole reads an instance's console until it shows what is wanted; said is that, for people.
func (s *Stack) waitConsole(ctx context.Context, id, said string, shows func(console []byte) (bool, error)) ([]byte, error) {
	var console []byte
	gaveUp := func(err error) error {
		waiting := instance.FindWaiting(console)
		if waiting != "" {
			waiting = "; it waits for: " + waiting
		}
		return fmt.Errorf("wait for %s: it has not said that it %s: %w%s%s", id, said, err, waiting, s.consoleTail(context.WithoutCancel(ctx), id))
	}
	for {
		described, err := s.describe(ctx, id)
		if ctx.Err() != nil {
			return console, gaveUp(ctx.Err())
		}
		if err != nil {
			return console, err
		}
		if described.State != "running" && described.State != "pending" {
			return console, fmt.Errorf("wait for %s: it is %s%s", id, described.State, s.consoleTail(ctx, id))
		}
		latest, err := s.console(ctx, id)
		if ctx.Err() != nil {
			return console, gaveUp(ctx.Err())
		}
		if err != nil {
			return console, err
		}
		console = latest
		if ok, err := shows(console); ok || err != nil {
			return console, err
		}
		if err := sleep(ctx, 300*time.Millisecond); err != nil {
			return console, gaveUp(err)
		}
	}
}

func failures(report instance.Report) string {
	var failed []string
	for _, check := range report.Checks {
		if !check.OK {
			failed = append(failed, check.Name+": "+check.Detail)
		}
	}
	return strings.Join(failed, "; ")
}

func (s *Stack) describe(ctx context.Context, id string) (Instance, error) {
	out, err := s.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		return Instance{}, fmt.Errorf("look at %s: %w", id, err)
	}
	for _, reservation := range out.Reservations {
		for _, i := range reservation.Instances {
			return instanceOf(i, tagOf(i.Tags, tierTag)), nil
		}
	}
	return Instance{}, fmt.Errorf("look at %s: it is not described", id)
}

func (s *Stack) console(ctx context.Context, id string) ([]byte, error) {
	out, err := s.ec2.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: aws.String(id), Latest: aws.Bool(true)})
	if code(err) == "UnsupportedOperation" { // instances that are no Nitro ones have no latest output
		out, err = s.ec2.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: aws.String(id)})
	}
	if err != nil {
		return nil, fmt.Errorf("read the console of %s: %w", id, err)
	}
	return base64.StdEncoding.DecodeString(aws.ToString(out.Output))
}

func (s *Stack) consoleTail(ctx context.Context, id string) string {
	console, err := s.console(ctx, id)
	lines := strings.Split(strings.TrimSpace(string(console)), "\n")
	if err != nil || len(console) == 0 {
		return ""
	}
	return "\nthe end of its console:\n  " + plaintext.Lines(strings.Join(lines[max(0, len(lines)-20):], "\n  "))
}

// terminate ends instances and waits until they are gone.
func (s *Stack) terminate(ctx context.Context, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	if _, err := s.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		return fmt.Errorf("terminate %s: %w", strings.Join(ids, ", "), err)
	}
	err := ec2.NewInstanceTerminatedWaiter(s.ec2, func(o *ec2.InstanceTerminatedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 500*time.Millisecond, 10*time.Second
	}).
		Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: ids}, 5*time.Minute)
	if err != nil {
		return fmt.Errorf("terminate %s: %w", strings.Join(ids, ", "), err)
	}
	return nil
}
