// Package launch launches a stack's instances, waits for lines on their consoles, and ends them. It knows the user-data
// that an instance is told; what an instance does with it is package firstboot's.
package launch

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/uuid"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/roles"
)

// Launch describes an instance of a tier that is to run.
type Launch struct {
	Tier         stack.Tier
	Image        string
	InstanceType string
	Subnet       network.Subnet
	// Clients is the range that a data tier is asked from.
	Clients netip.Prefix
	// Service is the service address that the tier is reached by; empty where there is none.
	Service string
	// Volume is the data volume of a data tier; empty where the data is on the root volume.
	Volume string
	// Addresses are the IP addresses or host names of the tiers that this one needs, by tier.
	Addresses map[string]string
	// Deadline is how long the instance is waited for; 0 leaves it to the instance when it gives up.
	Deadline time.Duration
	// Key is the name of a key pair; empty lets nobody in.
	Key  string
	Tags []types.TagSpecification
}

// UserData is the instance's user-data: its settings, and the user-data of its tier.
func (l Launch) UserData(s *stack.Stack) ([]byte, error) {
	settings := instance.Settings{
		Stack:          s.Name,
		Tier:           l.Tier.Name,
		Kind:           string(l.Tier.Kind),
		Parameters:     s.ParameterPath(),
		ServiceAddress: l.Service,
		DataVolume:     l.Volume,
		Deadline:       int(l.Deadline.Seconds()),
	}
	if l.Clients.IsValid() {
		settings.Clients = []string{l.Clients.String()}
	}
	for _, needed := range l.Tier.Needs {
		settings.Needs = append(settings.Needs, instance.TierAddress{
			Tier:    needed,
			Address: l.Addresses[needed],
			Port:    s.Tier(needed).Data.Port,
		})
	}
	return settings.UserData(l.Tier.UserData)
}

// Input asks for the instance, in its subnet and in the security group of its tier.
func (l Launch) Input(s *stack.Stack, n network.Network) (*ec2.RunInstancesInput, error) {
	userData, err := l.UserData(s)
	if err != nil {
		return nil, err
	}
	// In a public subnet there is no other way out than by an address of one's own.
	public := slices.ContainsFunc(n.Subnets[stack.PublicSubnet], func(subnet network.Subnet) bool {
		return subnet.ID == l.Subnet.ID
	})
	input := &ec2.RunInstancesInput{
		ImageId:      aws.String(l.Image),
		InstanceType: types.InstanceType(l.InstanceType),
		MinCount:     aws.Int32(1),
		MaxCount:     aws.Int32(1),
		ClientToken:  aws.String(uuid.NewString()),
		UserData:     aws.String(base64.StdEncoding.EncodeToString(userData)),
		NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex:              aws.Int32(0),
			DeleteOnTermination:      aws.Bool(true),
			SubnetId:                 aws.String(l.Subnet.ID),
			Groups:                   []string{n.Groups[l.Tier.Name]},
			AssociatePublicIpAddress: aws.Bool(public),
		}},
		IamInstanceProfile: &types.IamInstanceProfileSpecification{Name: aws.String(roles.Name(s, l.Tier.Name))},
		MetadataOptions: &types.InstanceMetadataOptionsRequest{
			HttpTokens:              types.HttpTokensStateRequired,
			HttpPutResponseHopLimit: aws.Int32(1),
			HttpEndpoint:            types.InstanceMetadataEndpointStateEnabled,
		},
		TagSpecifications: l.Tags,
	}
	if l.Key != "" {
		input.KeyName = aws.String(l.Key)
	}
	return input, nil
}

// runLimit is how long an interrupted deployment still waits for the answer to RunInstances.
const runLimit = 2 * time.Minute

// answerLimit is how long a launch is repeated that nobody answered.
const answerLimit = time.Minute

// capacityLimit is how long a launch is repeated for which a zone has no capacity. It is a matter of minutes (EC2 User
// Guide, Troubleshoot Amazon EC2 instance launch issues: Insufficient instance capacity).
const capacityLimit = 3 * time.Minute

// Run launches the instance. An interrupted call is let end, and one that nobody answered is made again with its token:
// what it launches must be known to be taken back.
func Run(ctx context.Context, s *stack.Stack, n network.Network, l Launch) (stack.Instance, error) {
	input, err := l.Input(s, n)
	if err != nil {
		return stack.Instance{}, err
	}
	var launched stack.Instance
	said := false
	err = await.Retry(ctx, capacityLimit, noCapacity, func(ctx context.Context) (err error) {
		launched, err = once(ctx, s, input, l.Tier.Name)
		if noCapacity(err) {
			input.ClientToken = aws.String(uuid.NewString()) // the answer to the old one is known
			if !said {
				said = true
				s.Logf("%s has no %s left at the moment: trying again for up to %s", l.Subnet.Zone, l.InstanceType,
					capacityLimit)
			}
		}
		return err
	})
	if err != nil {
		return stack.Instance{}, fmt.Errorf("launch %s of %s: %w", l.Tier.Name, l.Image, err)
	}
	return launched, nil
}

// noCapacity tells whether a zone has no more of a type, which changes within minutes.
func noCapacity(err error) bool { return awserr.Is(err, apierror.InsufficientInstanceCapacity) }

// once asks for an instance, until EC2 has answered.
func once(ctx context.Context, s *stack.Stack, input *ec2.RunInstancesInput, tier string) (stack.Instance, error) {
	var out *ec2.RunInstancesOutput
	err := ec2ops.OnceKnown(ctx, func(ctx context.Context) error {
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), runLimit)
		defer cancel()
		return await.Retry(whole, answerLimit, awserr.Unanswered, func(ctx context.Context) (err error) {
			out, err = s.EC2.RunInstances(ctx, input)
			return err
		})
	})
	if err != nil {
		return stack.Instance{}, err
	}
	return stack.InstanceOf(out.Instances[0], tier), nil
}
