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
	"github.com/aws/smithy-go"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/console"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
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
	key  string
	tags []types.TagSpecification
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
	var out *ec2.RunInstancesOutput
	err = onceKnown(ctx, func(ctx context.Context) (err error) {
		// The call is let end, also when the deployment is interrupted: what it launches must be known to be taken back.
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		out, err = s.ec2.RunInstances(whole, input)
		return err
	})
	if err != nil {
		return Instance{}, fmt.Errorf("launch %s of %s: %w", l.tier, l.image, err)
	}
	return instanceOf(out.Instances[0], l.tier), nil
}

func sleep(ctx context.Context, d time.Duration) error { return await.Sleep(ctx, d) }

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

// consoleLimit is how long a console is waited for at most, where nobody sets a shorter time.
const consoleLimit = 15 * time.Minute

// waitConsole reads an instance's console until it shows what is wanted; said is that, for people. EC2 may not know an
// instance everywhere that was launched a moment ago, and may be asked too much: neither is the end of the wait.
func (s *Stack) waitConsole(ctx context.Context, id, said string, shows func(console []byte) (bool, error)) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, consoleLimit)
	defer cancel()
	var seen []byte
	var last error
	for began := time.Now(); ; {
		latest, err := s.lookAtConsole(limited, id)
		switch {
		case limited.Err() != nil:
			return seen, s.gaveUp(ctx, id, said, seen, withLast(limited.Err(), last))
		case err == nil:
			seen = latest
			if ok, err := shows(seen); ok || err != nil {
				return seen, err
			}
		case !awserr.Transient(err) && (!awserr.NotFound(err) || time.Since(began) > await.Settle):
			return seen, err
		}
		last = err
		pause := console.Poll
		if err != nil {
			pause = slowPoll
		}
		if err := await.Sleep(limited, pause); err != nil {
			return seen, s.gaveUp(ctx, id, said, seen, withLast(err, last))
		}
	}
}

// withLast is why a wait ended, with what EC2 said last if that was an error.
func withLast(err, last error) error {
	if last == nil {
		return err
	}
	return fmt.Errorf("%w; the last answer was: %w", err, last)
}

// slowPoll is the time between two looks after one that EC2 refused.
const slowPoll = 3 * time.Second

// lookAtConsole reads the console of an instance that runs, or is about to.
func (s *Stack) lookAtConsole(ctx context.Context, id string) ([]byte, error) {
	described, err := s.describe(ctx, id)
	if err != nil {
		return nil, err
	}
	if described.State != "running" && described.State != "pending" {
		return nil, fmt.Errorf("wait for %s: it is %s%s", id, described.State, s.consoleTail(ctx, id))
	}
	return s.console(ctx, id)
}

// gaveUp is the error of a wait for a console that showed this until the end.
func (s *Stack) gaveUp(ctx context.Context, id, said string, seen []byte, err error) error {
	waiting := instance.FindWaiting(seen)
	if waiting != "" {
		waiting = "; it waits for: " + waiting
	}
	return fmt.Errorf("wait for %s: it has not said that it %s: %w%s%s", id, said, err, waiting, s.consoleTail(context.WithoutCancel(ctx), id))
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

// errNotDescribed is an answer without the instance that was asked for. To a caller it is as if EC2 had said so.
var errNotDescribed = &smithy.GenericAPIError{Code: "InvalidInstanceID.NotFound", Message: "EC2 does not describe it"}

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
	return Instance{}, fmt.Errorf("look at %s: %w", id, errNotDescribed)
}

func (s *Stack) console(ctx context.Context, id string) ([]byte, error) {
	return s.consoles.Read(ctx, s.ec2, id)
}

// tailLimit is how long the end of a console is waited for, which only adds to an error.
const tailLimit = 10 * time.Second

func (s *Stack) consoleTail(ctx context.Context, id string) string {
	limited, cancel := context.WithTimeout(ctx, tailLimit)
	defer cancel()
	return s.consoles.Tail(limited, s.ec2, id)
}

// terminate ends instances and waits until they are gone.
func (s *Stack) terminate(ctx context.Context, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	if _, err := s.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		return fmt.Errorf("terminate %s: %w", strings.Join(ids, ", "), err)
	}
	if err := s.untilState(ctx, types.InstanceStateNameTerminated, ids...); err != nil {
		return fmt.Errorf("terminate %s: %w", strings.Join(ids, ", "), err)
	}
	return nil
}

// untilState waits until instances are stopped or terminated. One that EC2 has forgotten is terminated.
func (s *Stack) untilState(ctx context.Context, state types.InstanceStateName, ids ...string) error {
	return await.Until(ctx, 5*time.Minute, func(ctx context.Context) (bool, error) {
		out, err := s.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: ids})
		if awserr.NotFound(err) && state == types.InstanceStateNameTerminated {
			return s.forgotten(ctx, ids)
		}
		if err != nil {
			return false, err
		}
		for _, reservation := range out.Reservations {
			for _, i := range reservation.Instances {
				switch {
				case i.State.Name == state:
				case i.State.Name == types.InstanceStateNameTerminated:
					return true, fmt.Errorf("%s is terminated", aws.ToString(i.InstanceId))
				default:
					return false, nil
				}
			}
		}
		return true, nil
	})
}

// forgotten tells whether none of some instances, of which EC2 has forgotten one at least, is there any more.
func (s *Stack) forgotten(ctx context.Context, ids []string) (bool, error) {
	filter := types.Filter{Name: aws.String("instance-id"), Values: ids}
	out, err := s.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{filter}})
	if err != nil {
		return false, err
	}
	for _, reservation := range out.Reservations {
		for _, i := range reservation.Instances {
			if i.State.Name != types.InstanceStateNameTerminated {
				return false, nil
			}
		}
	}
	return true, nil
}
