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

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
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
// pairs, security groups, unfinished images, snapshots and volumes of none, temporary roles, and what builds said to
// each other. All is found by the tag or the name that builds give, and nothing else is looked at. It is in the order
// in which it has to go.
func (a *Account) Leftovers(ctx context.Context, age time.Duration) ([]Leftover, error) {
	var all []Leftover
	for _, find := range []func(context.Context) ([]Leftover, error){
		a.instances, a.keyPairs, a.unfinished, a.snapshots, a.volumes, a.groups, a.roles, a.parameters,
	} {
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

// ofBuilds matches what builds made.
func ofBuilds(more ...types.Filter) []types.Filter {
	return append([]types.Filter{ec2ops.Filter("tag-key", BuildTag)}, more...)
}

// leftover is one that has its build in a tag.
func leftover(kind, id string, tags []types.Tag, since time.Time, remove func(context.Context) error) Leftover {
	return Leftover{
		Kind:   kind,
		ID:     id,
		Build:  ec2ops.TagValue(tags, BuildTag),
		Since:  since,
		remove: remove,
	}
}

// endLimit is how long an instance may take to end.
const endLimit = 5 * time.Minute

func (a *Account) instances(ctx context.Context) ([]Leftover, error) {
	found, err := ec2ops.Instances(ctx, a.EC2, &ec2.DescribeInstancesInput{
		Filters: ofBuilds(ec2ops.Filter("instance-state-name", "pending", "running", "stopping", "stopped")),
	})
	if err != nil {
		return nil, fmt.Errorf("look for instances of builds: %w", err)
	}
	var all []Leftover
	for _, i := range found {
		id := aws.ToString(i.InstanceId)
		remove := func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, endLimit)
			defer cancel()
			return ec2ops.Terminate(ctx, a.EC2, id)
		}
		all = append(all, leftover("instance", id, i.Tags, aws.ToTime(i.LaunchTime), remove))
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
		remove := func(ctx context.Context) error {
			_, err := a.EC2.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: k.KeyName})
			return err
		}
		all = append(all, leftover("key pair", aws.ToString(k.KeyName), k.Tags, aws.ToTime(k.CreateTime), remove))
	}
	return all, nil
}

func (a *Account) groups(ctx context.Context) ([]Leftover, error) {
	input := &ec2.DescribeSecurityGroupsInput{Filters: ofBuilds()}
	found, err := ec2ops.SecurityGroups(ctx, a.EC2, input)
	if err != nil {
		return nil, fmt.Errorf("look for security groups of builds: %w", err)
	}
	var all []Leftover
	for _, g := range found {
		since, _ := time.Parse(time.RFC3339, ec2ops.TagValue(g.Tags, StartedTag)) // without the tag it is very old
		remove := func(ctx context.Context) error {
			_, err := a.EC2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: g.GroupId})
			return err
		}
		all = append(all, leftover("security group", aws.ToString(g.GroupId), g.Tags, since, remove))
	}
	return all, nil
}

// unfinished are images whose build did not come to its end. One that was kept on purpose, for not being proved, is
// none, nor one that is proved and was not shared or copied: it may run already.
func (a *Account) unfinished(ctx context.Context) ([]Leftover, error) {
	found, err := ec2ops.OwnImages(ctx, a.EC2, ec2ops.Filter("tag-key", UnfinishedTag))
	if err != nil {
		return nil, fmt.Errorf("look for unfinished images: %w", err)
	}
	var all []Leftover
	for _, i := range found {
		made, _ := time.Parse(time.RFC3339, aws.ToString(i.CreationDate))
		tag := func(key string) string { return ec2ops.TagValue(i.Tags, key) }
		if tag(BuildTag) != "" && tag(UnprovedTag) == "" && tag(ProvedTag) == "" {
			remove := func(ctx context.Context) error { return ec2ops.Deregister(ctx, a.EC2, i) }
			all = append(all, leftover("image", aws.ToString(i.ImageId), i.Tags, made, remove))
		}
	}
	return all, nil
}

// snapshots are those of builds that no image is made of.
func (a *Account) snapshots(ctx context.Context) ([]Leftover, error) {
	images, err := ec2ops.OwnImages(ctx, a.EC2)
	if err != nil {
		return nil, fmt.Errorf("look for images: %w", err)
	}
	used := map[string]bool{}
	for _, i := range images {
		for _, snapshot := range ec2ops.SnapshotsOf(i) {
			used[snapshot] = true
		}
	}
	found, err := ec2ops.OwnSnapshots(ctx, a.EC2, ofBuilds()...)
	if err != nil {
		return nil, fmt.Errorf("look for snapshots of builds: %w", err)
	}
	var all []Leftover
	for _, s := range found {
		id := aws.ToString(s.SnapshotId)
		if used[id] {
			continue
		}
		remove := func(ctx context.Context) error {
			return ec2ops.DeleteSnapshot(ctx, a.EC2, id, "") // an image of it may have gone just now
		}
		all = append(all, leftover("snapshot", id, s.Tags, aws.ToTime(s.StartTime), remove))
	}
	return all, nil
}

// volumes are those of builds that no instance has.
func (a *Account) volumes(ctx context.Context) ([]Leftover, error) {
	found, err := ec2ops.Volumes(ctx, a.EC2, &ec2.DescribeVolumesInput{
		Filters: ofBuilds(ec2ops.Filter("status", "available", "error")),
	})
	if err != nil {
		return nil, fmt.Errorf("look for volumes of builds: %w", err)
	}
	var all []Leftover
	for _, v := range found {
		remove := func(ctx context.Context) error {
			_, err := a.EC2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: v.VolumeId})
			return err
		}
		all = append(all, leftover("volume", aws.ToString(v.VolumeId), v.Tags, aws.ToTime(v.CreateTime), remove))
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
			name := aws.ToString(role.RoleName)
			build, temporary := strings.CutPrefix(name, profilePrefix)
			if !temporary {
				continue
			}
			all = append(all, Leftover{
				Kind:   "role",
				ID:     name,
				Build:  build,
				Since:  aws.ToTime(role.CreateDate),
				remove: func(ctx context.Context) error { return a.removeRole(ctx, role) },
			})
		}
	}
	return all, nil
}

func (a *Account) removeRole(ctx context.Context, role iamtypes.Role) error {
	profiles, err := a.IAM.ListInstanceProfilesForRole(ctx, &iam.ListInstanceProfilesForRoleInput{
		RoleName: role.RoleName,
	})
	if err != nil {
		return err
	}
	for _, p := range profiles.InstanceProfiles {
		if err = a.removeProfile(ctx, aws.ToString(p.InstanceProfileName), role.RoleName); err != nil {
			return err
		}
	}
	policies, err := a.IAM.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: role.RoleName})
	if err != nil {
		return err
	}
	for _, policy := range policies.PolicyNames {
		input := &iam.DeleteRolePolicyInput{RoleName: role.RoleName, PolicyName: aws.String(policy)}
		if _, err = a.IAM.DeleteRolePolicy(ctx, input); err != nil && !awserr.NotFound(err) {
			return err
		}
	}
	_, err = a.IAM.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: role.RoleName})
	return err
}

// removeProfile removes a build's instance profile that has a role.
func (a *Account) removeProfile(ctx context.Context, name string, role *string) error {
	if !strings.HasPrefix(name, profilePrefix) {
		return fmt.Errorf("instance profile %s, which is no build's, has it", name)
	}
	_, err := a.IAM.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{
		InstanceProfileName: aws.String(name),
		RoleName:            role,
	})
	if err != nil && !awserr.NotFound(err) {
		return err
	}
	input := &iam.DeleteInstanceProfileInput{InstanceProfileName: aws.String(name)}
	if _, err := a.IAM.DeleteInstanceProfile(ctx, input); err != nil && !awserr.NotFound(err) {
		return err
	}
	return nil
}

// parameters are those by which the builds of one release coordinate.
func (a *Account) parameters(ctx context.Context) ([]Leftover, error) {
	var all []Leftover
	input := &ssm.GetParametersByPathInput{Path: aws.String("/goldsmith/"), Recursive: aws.Bool(true)}
	for pages := ssm.NewGetParametersByPathPaginator(a.SSM, input); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for parameters of builds: %w", err)
		}
		for _, p := range page.Parameters {
			parts := strings.Split(aws.ToString(p.Name), "/") // "", goldsmith, STACK, builds, RELEASE, TIER
			if len(parts) != 6 || parts[3] != "builds" {
				continue
			}
			all = append(all, Leftover{
				Kind:  "parameter",
				ID:    aws.ToString(p.Name),
				Build: parts[4],
				Since: aws.ToTime(p.LastModifiedDate),
				remove: func(ctx context.Context) error {
					_, err := a.SSM.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: p.Name})
					return err
				},
			})
		}
	}
	return all, nil
}
