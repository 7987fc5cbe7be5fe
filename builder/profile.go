package builder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

// policyName names the temporary role's only policy.
const policyName = "bake"

// wantsProfile tells whether a role and a profile are made for the instance.
func (c *Config) wantsProfile() bool {
	return c.TemporaryInstanceProfilePolicy != nil && c.IamInstanceProfile == ""
}

// makeProfile settles the instance profile, and makes one with a role of its own for a policy of the build's.
func (b *bake) makeProfile(ctx context.Context) error {
	b.machine.profile = b.job.config.IamInstanceProfile
	if !b.job.config.wantsProfile() {
		return nil
	}
	b.machine.profile = b.job.temporaryName()
	b.job.ui.Say("Making a temporary role and instance profile...")
	return createProfile(ctx, b.job)
}

// createProfile makes the temporary role and its profile. Both have the name that the operator's policy lets the caller
// pass on.
func createProfile(ctx context.Context, j *job) error {
	policy, err := json.Marshal(j.config.TemporaryInstanceProfilePolicy)
	if err != nil {
		return err
	}
	name, tags := aws.String(j.temporaryName()), iamTags(j)
	for _, create := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := j.iam.CreateRole(ctx, &iam.CreateRoleInput{
				RoleName:                 name,
				PermissionsBoundary:      given(j.config.PermissionsBoundary),
				AssumeRolePolicyDocument: aws.String(awsconfig.PartitionOf(j.region).InstanceTrust()),
				Description:              aws.String("Temporary role of " + plain(j.runName())),
				Tags:                     tags,
			})
			return err
		},
		func(ctx context.Context) error {
			_, err := j.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
				RoleName:       name,
				PolicyName:     aws.String(policyName),
				PolicyDocument: aws.String(string(policy)),
			})
			return err
		},
		func(ctx context.Context) error {
			_, err := j.iam.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{
				InstanceProfileName: name,
				Tags:                tags,
			})
			return err
		},
		func(ctx context.Context) error {
			_, err := j.iam.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{
				InstanceProfileName: name,
				RoleName:            name,
			})
			return err
		},
	} {
		if err := createInIAM(ctx, create); err != nil {
			return err
		}
	}
	return await.Until(ctx, await.Settle, func(ctx context.Context) (bool, error) {
		out, err := j.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: name})
		return err == nil && len(out.InstanceProfile.Roles) > 0, err
	})
}

// createInIAM makes something: what the call before made may not be known to all of IAM.
func createInIAM(ctx context.Context, create func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return ec2ops.OnceKnown(ctx, func(ctx context.Context) error {
		detached, cancel := createContext(ctx)
		defer cancel()
		return create(detached)
	})
}

// plain leaves out what IAM takes in no description or tag, and EC2 in no description of a security group: the quote
// of an AMI's name, for example (CreateSecurityGroup, GroupDescription).
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if letter || strings.ContainsRune(" _.:/=+-@", r) {
			return r
		}
		return '_'
	}, text)
}

func iamTags(j *job) []types.Tag {
	var tags []types.Tag
	for _, tag := range j.tags(j.runName(), j.config.RunTags) {
		tags = append(tags, types.Tag{Key: aws.String(plain(*tag.Key)), Value: aws.String(plain(*tag.Value))})
	}
	return tags
}

// removeProfile removes role and profile by their names, so that what was made without an answer goes too.
func removeProfile(ctx context.Context, j *job) error {
	if !j.config.wantsProfile() {
		return nil
	}
	j.ui.Say("Removing the temporary role and instance profile...")
	name := aws.String(j.temporaryName())
	_, detached := j.iam.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{
		InstanceProfileName: name,
		RoleName:            name,
	})
	_, profile := j.iam.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: name})
	_, policy := j.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{
		RoleName:   name,
		PolicyName: aws.String(policyName),
	})
	_, role := j.iam.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name})
	var errs []error
	for _, err := range []error{detached, profile, policy, role} {
		if err != nil && !awserr.NotFound(err) {
			errs = append(errs, fmt.Errorf("remove role and instance profile %s: %w", *name, err))
		}
	}
	return errors.Join(errs...)
}
