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
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
)

// iamAPI is what the builder asks of IAM; *iam.Client answers.
type iamAPI interface {
	CreateRole(context.Context, *iam.CreateRoleInput, ...func(*iam.Options)) (*iam.CreateRoleOutput, error)
	PutRolePolicy(context.Context, *iam.PutRolePolicyInput, ...func(*iam.Options)) (*iam.PutRolePolicyOutput, error)
	CreateInstanceProfile(context.Context, *iam.CreateInstanceProfileInput, ...func(*iam.Options)) (*iam.CreateInstanceProfileOutput, error)
	AddRoleToInstanceProfile(context.Context, *iam.AddRoleToInstanceProfileInput, ...func(*iam.Options)) (*iam.AddRoleToInstanceProfileOutput, error)
	GetInstanceProfile(context.Context, *iam.GetInstanceProfileInput, ...func(*iam.Options)) (*iam.GetInstanceProfileOutput, error)
	RemoveRoleFromInstanceProfile(context.Context, *iam.RemoveRoleFromInstanceProfileInput, ...func(*iam.Options)) (*iam.RemoveRoleFromInstanceProfileOutput, error)
	DeleteInstanceProfile(context.Context, *iam.DeleteInstanceProfileInput, ...func(*iam.Options)) (*iam.DeleteInstanceProfileOutput, error)
	DeleteRolePolicy(context.Context, *iam.DeleteRolePolicyInput, ...func(*iam.Options)) (*iam.DeleteRolePolicyOutput, error)
	DeleteRole(context.Context, *iam.DeleteRoleInput, ...func(*iam.Options)) (*iam.DeleteRoleOutput, error)
}

// policyName is what the temporary role's only policy is called.
const policyName = "bake"

// profileName is of the temporary role and of its profile: what the operator's policy lets the caller pass on.
func (b *bake) profileName() string { return "goldsmith-build-" + b.id }

func (b *bake) temporaryProfile() bool {
	return b.config.TemporaryIamInstanceProfilePolicyDocument != nil && b.config.IamInstanceProfile == ""
}

// makeProfile settles the instance profile, and makes one with a role of its own for a policy of the build's.
func (b *bake) makeProfile(ctx context.Context) error {
	b.profile = b.config.IamInstanceProfile
	if !b.temporaryProfile() {
		return nil
	}
	b.ui.Say("Making a temporary role and instance profile...")
	policy, err := json.Marshal(b.config.TemporaryIamInstanceProfilePolicyDocument)
	if err != nil {
		return err
	}
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + b.principal() + `"},"Action":"sts:AssumeRole"}]}`
	name, tags := aws.String(b.profileName()), b.iamTags()
	for _, make := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := b.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trust), Description: aws.String("Temporary role of " + plain(b.runName())), Tags: tags})
			return err
		},
		func(ctx context.Context) error {
			_, err := b.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: aws.String(policyName), PolicyDocument: aws.String(string(policy))})
			return err
		},
		func(ctx context.Context) error {
			_, err := b.iam.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: name, Tags: tags})
			return err
		},
		func(ctx context.Context) error {
			_, err := b.iam.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name})
			return err
		},
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		// What the call before made may not be known to all of IAM.
		err := await.Retry(ctx, await.Settle, awserr.ProfileIsNew, func(ctx context.Context) error {
			whole, cancel := making(ctx)
			defer cancel()
			return make(whole)
		})
		if err != nil {
			return err
		}
	}
	b.profile = *name
	return poll(ctx, await.Settle, func(ctx context.Context) (bool, error) {
		out, err := b.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: name})
		return err == nil && len(out.InstanceProfile.Roles) > 0, err
	})
}

// principal is EC2 in the region's partition.
func (b *bake) principal() string {
	if strings.HasPrefix(b.region, "cn-") {
		return "ec2.amazonaws.com.cn"
	}
	return "ec2.amazonaws.com"
}

// plain leaves out what IAM takes in no description or tag.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" _.:/=+-@", r) {
			return r
		}
		return '_'
	}, text)
}

func (b *bake) iamTags() []types.Tag {
	var tags []types.Tag
	for _, tag := range b.tags(b.runName(), b.config.RunTags) {
		tags = append(tags, types.Tag{Key: aws.String(plain(*tag.Key)), Value: aws.String(plain(*tag.Value))})
	}
	return tags
}

// profileIsNew tells whether an instance could not be launched only because EC2 does not know the profile yet. One that the
// user named may be new as well; IAM knows whether there is such a one at all.
func (b *bake) profileIsNew(ctx context.Context, err error) bool {
	if !awserr.ProfileIsNew(err) || b.temporaryProfile() {
		return awserr.ProfileIsNew(err)
	}
	_, err = b.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(b.config.IamInstanceProfile)})
	return err == nil
}

// removeProfile removes role and profile by their names, so that what was made without an answer goes too.
func (b *bake) removeProfile(ctx context.Context) error {
	if !b.temporaryProfile() {
		return nil
	}
	b.ui.Say("Removing the temporary role and instance profile...")
	name := aws.String(b.profileName())
	_, detached := b.iam.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: name})
	_, profile := b.iam.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: name})
	_, policy := b.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String(policyName)})
	_, role := b.iam.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name})
	var errs []error
	for _, err := range []error{detached, profile, policy, role} {
		if err != nil && !isGone(err) {
			errs = append(errs, fmt.Errorf("remove role and instance profile %s: %w", *name, err))
		}
	}
	return errors.Join(errs...)
}
