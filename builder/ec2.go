package builder

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
)

// ec2API is what the builder asks of EC2; *ec2.Client answers.
type ec2API interface {
	optionAPI
	DescribeImages(context.Context, *ec2.DescribeImagesInput, ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error)
	DescribeSubnets(context.Context, *ec2.DescribeSubnetsInput, ...func(*ec2.Options)) (*ec2.DescribeSubnetsOutput, error)
	DescribeVpcs(context.Context, *ec2.DescribeVpcsInput, ...func(*ec2.Options)) (*ec2.DescribeVpcsOutput, error)
	DescribeSecurityGroups(context.Context, *ec2.DescribeSecurityGroupsInput, ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupsOutput, error)
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
	DescribeSnapshots(context.Context, *ec2.DescribeSnapshotsInput, ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error)
	GetConsoleOutput(context.Context, *ec2.GetConsoleOutputInput, ...func(*ec2.Options)) (*ec2.GetConsoleOutputOutput, error)
	ImportKeyPair(context.Context, *ec2.ImportKeyPairInput, ...func(*ec2.Options)) (*ec2.ImportKeyPairOutput, error)
	DeleteKeyPair(context.Context, *ec2.DeleteKeyPairInput, ...func(*ec2.Options)) (*ec2.DeleteKeyPairOutput, error)
	CreateSecurityGroup(context.Context, *ec2.CreateSecurityGroupInput, ...func(*ec2.Options)) (*ec2.CreateSecurityGroupOutput, error)
	AuthorizeSecurityGroupIngress(context.Context, *ec2.AuthorizeSecurityGroupIngressInput, ...func(*ec2.Options)) (*ec2.AuthorizeSecurityGroupIngressOutput, error)
	DeleteSecurityGroup(context.Context, *ec2.DeleteSecurityGroupInput, ...func(*ec2.Options)) (*ec2.DeleteSecurityGroupOutput, error)
	RunInstances(context.Context, *ec2.RunInstancesInput, ...func(*ec2.Options)) (*ec2.RunInstancesOutput, error)
	StopInstances(context.Context, *ec2.StopInstancesInput, ...func(*ec2.Options)) (*ec2.StopInstancesOutput, error)
	TerminateInstances(context.Context, *ec2.TerminateInstancesInput, ...func(*ec2.Options)) (*ec2.TerminateInstancesOutput, error)
	CreateTags(context.Context, *ec2.CreateTagsInput, ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error)
	CreateImage(context.Context, *ec2.CreateImageInput, ...func(*ec2.Options)) (*ec2.CreateImageOutput, error)
	DeregisterImage(context.Context, *ec2.DeregisterImageInput, ...func(*ec2.Options)) (*ec2.DeregisterImageOutput, error)
	DeleteSnapshot(context.Context, *ec2.DeleteSnapshotInput, ...func(*ec2.Options)) (*ec2.DeleteSnapshotOutput, error)
}

const (
	cleanupDeadline = 5 * time.Minute
	runDeadline     = 10 * time.Minute
	imageDeadline   = 30 * time.Minute
)

// making is the context of a call that makes something. It is let end, also when the build is interrupted: what is made
// by a call whose answer nobody reads, nobody knows of.
func making(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
}

// poll looks until there is nothing more to wait for; what AWS mends in time is no failure.
func poll(ctx context.Context, deadline time.Duration, look func(context.Context) (done bool, err error)) error {
	return await.Until(ctx, deadline, look)
}

// tags are EC2's form of tags, the builder's own among them.
func (b *bake) tags(name string, sets ...map[string]string) []types.Tag {
	all := map[string]string{"Name": name}
	for _, set := range sets {
		for key, value := range set {
			all[key] = value
		}
	}
	all[buildTag], all[images.StartedTag] = b.id, b.started.Format(time.RFC3339)
	var tags []types.Tag
	for key, value := range all {
		tags = append(tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	return tags
}

func specification(kind types.ResourceType, tags []types.Tag) types.TagSpecification {
	return types.TagSpecification{ResourceType: kind, Tags: tags}
}

// runName is what is made for the build is called.
func (b *bake) runName() string { return "goldsmith build " + b.config.AMIName }

func filters(from map[string]string) []types.Filter {
	var all []types.Filter
	for name, value := range from {
		all = append(all, types.Filter{Name: aws.String(name), Values: []string{value}})
	}
	return all
}

// describeInstance is the build's instance as it is now.
func (b *bake) describeInstance(ctx context.Context) (types.Instance, error) {
	out, err := b.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{b.instance}})
	if err != nil {
		return types.Instance{}, err
	}
	for _, reservation := range out.Reservations {
		for _, instance := range reservation.Instances {
			return instance, nil
		}
	}
	return types.Instance{}, fmt.Errorf("look at %s: %w", b.instance, &smithy.GenericAPIError{Code: "InvalidInstanceID.NotFound", Message: "EC2 does not describe it"})
}
