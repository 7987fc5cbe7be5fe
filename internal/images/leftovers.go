package images

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
)

// Leftover is something that a build made and never removed.
type Leftover struct {
	Kind  string    `json:"kind"`
	ID    string    `json:"id"`
	Build string    `json:"build"`
	Since time.Time `json:"since"`

	remove func(context.Context) error
}

// profilePrefix begins the names of roles and profiles that live as long as a build.
const profilePrefix = "goldsmith-build-"

// Leftovers is everything that builds made and that is of no use any more, if it is older than an age: instances, key
// pairs, security groups, unfinished images, snapshots and volumes of none, temporary roles, and what builds said to each
// other. All is found by the tag or the name that builds give, and nothing else is looked at. It is in the order in which
// it has to go.
func (a *Account) Leftovers(ctx context.Context, age time.Duration) ([]Leftover, error) {
	var all []Leftover
	for _, find := range []func(context.Context) ([]Leftover, error){a.instances, a.keyPairs, a.unfinished, a.snapshots, a.volumes, a.groups, a.roles, a.parameters} {
		found, err := find(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	before := time.Now().Add(-age)
	return slices.DeleteFunc(all, func(l Leftover) bool { return l.Since.After(before) }), nil
}

// RemoveLeftovers removes them, in their order, and goes on after a failure. done is told of each that is gone.
func RemoveLeftovers(ctx context.Context, all []Leftover, done func(Leftover)) error {
	var errs []error
	for _, l := range all {
		if err := l.remove(ctx); err != nil && !awserr.NotFound(err) {
			errs = append(errs, fmt.Errorf("remove %s %s: %w", l.Kind, l.ID, err))
			continue
		}
		done(l)
	}
	return errors.Join(errs...)
}

// ofBuilds is the filter for what builds made.
func ofBuilds(more ...types.Filter) []types.Filter {
	return append([]types.Filter{{Name: aws.String("tag-key"), Values: []string{BuildTag}}}, more...)
}

func (a *Account) instances(ctx context.Context) ([]Leftover, error) {
	var all []Leftover
	input := &ec2.DescribeInstancesInput{Filters: ofBuilds(types.Filter{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}})}
	for pages := ec2.NewDescribeInstancesPaginator(a.EC2, input); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for instances of builds: %w", err)
		}
		for _, reservation := range page.Reservations {
			for _, i := range reservation.Instances {
				id := aws.ToString(i.InstanceId)
				all = append(all, Leftover{"instance", id, tagOf(i.Tags, BuildTag), aws.ToTime(i.LaunchTime), func(ctx context.Context) error {
					if _, err := a.EC2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
						return err
					}
					return ec2.NewInstanceTerminatedWaiter(a.EC2, func(o *ec2.InstanceTerminatedWaiterOptions) {
						o.MinDelay, o.MaxDelay, o.Retryable = time.Second, 10*time.Second, await.Patient(o.Retryable)
					}).
						Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, 5*time.Minute)
				}})
			}
		}
	}
	return all, nil
}

func (a *Account) keyPairs(ctx context.Context) ([]Leftover, error) {
	out, err := a.EC2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{Filters: ofBuilds()})
	if err != nil {
		return nil, fmt.Errorf("look for key pairs of builds: %w", err)
	}
	var all []Leftover
	for _, k := range out.KeyPairs {
		all = append(all, Leftover{"key pair", aws.ToString(k.KeyName), tagOf(k.Tags, BuildTag), aws.ToTime(k.CreateTime), func(ctx context.Context) error {
			_, err := a.EC2.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: k.KeyName})
			return err
		}})
	}
	return all, nil
}

func (a *Account) groups(ctx context.Context) ([]Leftover, error) {
	out, err := a.EC2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: ofBuilds()})
	if err != nil {
		return nil, fmt.Errorf("look for security groups of builds: %w", err)
	}
	var all []Leftover
	for _, g := range out.SecurityGroups {
		since, _ := time.Parse(time.RFC3339, tagOf(g.Tags, StartedTag)) // without the tag it is very old
		all = append(all, Leftover{"security group", aws.ToString(g.GroupId), tagOf(g.Tags, BuildTag), since, func(ctx context.Context) error {
			_, err := a.EC2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: g.GroupId})
			return err
		}})
	}
	return all, nil
}

// unfinished are images whose build did not come to its end. One that was kept on purpose, for not being proved, is none,
// nor one that is proved and was not shared or copied: it may run already.
func (a *Account) unfinished(ctx context.Context) ([]Leftover, error) {
	out, err := a.EC2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{{Name: aws.String("tag-key"), Values: []string{UnfinishedTag}}}})
	if err != nil {
		return nil, fmt.Errorf("look for unfinished images: %w", err)
	}
	var all []Leftover
	for _, i := range out.Images {
		made, _ := time.Parse(time.RFC3339, aws.ToString(i.CreationDate))
		if tagOf(i.Tags, BuildTag) != "" && tagOf(i.Tags, UnprovedTag) == "" && tagOf(i.Tags, ProvedTag) == "" {
			all = append(all, Leftover{"image", aws.ToString(i.ImageId), tagOf(i.Tags, BuildTag), made, func(ctx context.Context) error { return Deregister(ctx, a.EC2, i) }})
		}
	}
	return all, nil
}

// snapshots are those of builds that no image is made of.
func (a *Account) snapshots(ctx context.Context) ([]Leftover, error) {
	images, err := a.EC2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		return nil, fmt.Errorf("look for images: %w", err)
	}
	used := map[string]bool{}
	for _, i := range images.Images {
		for _, device := range i.BlockDeviceMappings {
			if device.Ebs != nil {
				used[aws.ToString(device.Ebs.SnapshotId)] = true
			}
		}
	}
	var all []Leftover
	for pages := ec2.NewDescribeSnapshotsPaginator(a.EC2, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: ofBuilds()}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for snapshots of builds: %w", err)
		}
		for _, s := range page.Snapshots {
			if used[aws.ToString(s.SnapshotId)] {
				continue
			}
			all = append(all, Leftover{"snapshot", aws.ToString(s.SnapshotId), tagOf(s.Tags, BuildTag), aws.ToTime(s.StartTime), func(ctx context.Context) error {
				return DeleteSnapshot(ctx, a.EC2, aws.ToString(s.SnapshotId), "") // an image of it may have gone just now
			}})
		}
	}
	return all, nil
}

// volumes are those of builds that no instance has.
func (a *Account) volumes(ctx context.Context) ([]Leftover, error) {
	var all []Leftover
	for pages := ec2.NewDescribeVolumesPaginator(a.EC2, &ec2.DescribeVolumesInput{Filters: ofBuilds(types.Filter{Name: aws.String("status"), Values: []string{"available", "error"}})}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for volumes of builds: %w", err)
		}
		for _, v := range page.Volumes {
			all = append(all, Leftover{"volume", aws.ToString(v.VolumeId), tagOf(v.Tags, BuildTag), aws.ToTime(v.CreateTime), func(ctx context.Context) error {
				_, err := a.EC2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: v.VolumeId})
				return err
			}})
		}
	}
	return all, nil
}

// roles are those that a build made for its instance, with their instance profiles.
func (a *Account) roles(ctx context.Context) ([]Leftover, error) {
	var all []Leftover
	for pages := iam.NewListRolesPaginator(a.IAM, &iam.ListRolesInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for roles of builds: %w", err)
		}
		for _, role := range page.Roles {
			if name := aws.ToString(role.RoleName); strings.HasPrefix(name, profilePrefix) {
				all = append(all, Leftover{"role", name, strings.TrimPrefix(name, profilePrefix), aws.ToTime(role.CreateDate), func(ctx context.Context) error { return a.removeRole(ctx, role) }})
			}
		}
	}
	return all, nil
}

func (a *Account) removeRole(ctx context.Context, role iamtypes.Role) error {
	profiles, err := a.IAM.ListInstanceProfilesForRole(ctx, &iam.ListInstanceProfilesForRoleInput{RoleName: role.RoleName})
	if err != nil {
		return err
	}
	for _, p := range profiles.InstanceProfiles {
		if !strings.HasPrefix(aws.ToString(p.InstanceProfileName), profilePrefix) {
			return fmt.Errorf("instance profile %s, which is no build's, has it", aws.ToString(p.InstanceProfileName))
		}
		if _, err := a.IAM.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: p.InstanceProfileName, RoleName: role.RoleName}); err != nil && !awserr.NotFound(err) {
			return err
		}
		if _, err := a.IAM.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: p.InstanceProfileName}); err != nil && !awserr.NotFound(err) {
			return err
		}
	}
	policies, err := a.IAM.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: role.RoleName})
	if err != nil {
		return err
	}
	for _, policy := range policies.PolicyNames {
		if _, err := a.IAM.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: role.RoleName, PolicyName: aws.String(policy)}); err != nil && !awserr.NotFound(err) {
			return err
		}
	}
	_, err = a.IAM.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: role.RoleName})
	return err
}

// parameters are what builds of one release said to each other.
func (a *Account) parameters(ctx context.Context) ([]Leftover, error) {
	var all []Leftover
	for pages := ssm.NewGetParametersByPathPaginator(a.SSM, &ssm.GetParametersByPathInput{Path: aws.String("/goldsmith/"), Recursive: aws.Bool(true)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for parameters of builds: %w", err)
		}
		for _, p := range page.Parameters {
			parts := strings.Split(aws.ToString(p.Name), "/") // "", goldsmith, STACK, builds, RELEASE, TIER
			if len(parts) != 6 || parts[3] != "builds" {
				continue
			}
			all = append(all, Leftover{"parameter", aws.ToString(p.Name), parts[4], aws.ToTime(p.LastModifiedDate), func(ctx context.Context) error {
				_, err := a.SSM.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: p.Name})
				return err
			}})
		}
	}
	return all, nil
}
