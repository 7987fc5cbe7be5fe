// Package roles has each tier's IAM role and instance profile, by which its instances read the parameters of their tier
// and no others.
package roles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

const policyName = "parameters"

// Name is the name of a tier's role and of its instance profile.
func Name(s *stack.Stack, tier string) string { return "goldsmith-" + s.Name + "-" + tier }

// tierPolicy lets a tier read its parameters, and decrypt them with the key of Parameter Store alone.
func tierPolicy(s *stack.Stack, t stack.Tier) (string, error) {
	partition, region := awsconfig.PartitionOf(s.Config.Region), s.Config.Region
	var resources []string
	for _, name := range t.Reads {
		resources = append(resources, fmt.Sprintf("arn:%s:ssm:%s:*:parameter%s%s", partition.Name, region,
			s.ParameterPath(), name))
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{
		map[string]any{
			"Effect":   "Allow",
			"Action":   []string{"ssm:GetParameter", "ssm:GetParameters"},
			"Resource": resources,
		},
		map[string]any{
			"Effect":   "Allow",
			"Action":   "kms:Decrypt",
			"Resource": "*",
			"Condition": map[string]any{
				"StringEquals": map[string]any{"kms:ViaService": partition.ViaService("ssm", region)},
			},
		},
	}})
	return string(text), err
}

// Ensure makes each tier's role and instance profile.
func Ensure(ctx context.Context, s *stack.Stack, act *plan.Actor) error {
	for _, t := range s.Tiers {
		if err := ensure(ctx, s, act, t); err != nil {
			return fmt.Errorf("make role %s: %w", Name(s, t.Name), err)
		}
	}
	return nil
}

func ensure(ctx context.Context, s *stack.Stack, act *plan.Actor, t stack.Tier) error {
	name := Name(s, t.Name)
	policy, err := tierPolicy(s, t)
	if err != nil {
		return err
	}
	profile, err := findProfile(ctx, s, name)
	if err != nil {
		return err
	}
	if profile == nil || len(profile.Roles) == 0 {
		change := plan.Change{Action: plan.Create, What: "role and instance profile " + name, Reason: plan.Missing}
		if profile != nil {
			change = plan.Change{
				Action: plan.Modify,
				What:   "instance profile",
				ID:     name,
				Reason: "it has no role",
			}
		}
		return act.Do(change, func() (string, error) { return name, create(ctx, s, name, policy) })
	}
	is, err := currentPolicy(ctx, s, name)
	if err != nil || samePolicy(is, policy) {
		return err
	}
	change := plan.Change{
		Action: plan.Modify,
		What:   "role",
		ID:     name,
		Reason: "its policy is not that of its tier",
	}
	return act.Do(change, func() (string, error) {
		s.Logf("changed the policy of role %s", name)
		return name, putPolicy(ctx, s, name, policy)
	})
}

// findProfile is an instance profile with its role, or nil.
func findProfile(ctx context.Context, s *stack.Stack, name string) (*types.InstanceProfile, error) {
	out, err := s.IAM.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(name)})
	if awserr.Is(err, apierror.NoSuchEntity) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find instance profile %s: %w", name, err)
	}
	return out.InstanceProfile, nil
}

// currentPolicy is the policy of a role as JSON; empty where it has none.
func currentPolicy(ctx context.Context, s *stack.Stack, name string) (string, error) {
	input := &iam.GetRolePolicyInput{RoleName: aws.String(name), PolicyName: aws.String(policyName)}
	out, err := s.IAM.GetRolePolicy(ctx, input)
	if awserr.Is(err, apierror.NoSuchEntity) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the policy of role %s: %w", name, err)
	}
	return url.PathUnescape(aws.ToString(out.PolicyDocument)) // IAM answers with it encoded
}

// samePolicy compares policies as JSON: IAM may answer with other white space.
func samePolicy(a, b string) bool {
	var first, second any
	err := errors.Join(json.Unmarshal([]byte(a), &first), json.Unmarshal([]byte(b), &second))
	return err == nil && reflect.DeepEqual(first, second)
}

// create makes the missing parts of a role and its instance profile. An earlier run may have been interrupted anywhere
// in it. New ones take some seconds to be known to EC2, whoever made them.
func create(ctx context.Context, s *stack.Stack, name, policy string) error {
	own := []types.Tag{{Key: aws.String(stack.StackTag), Value: aws.String(s.Name)}}
	var boundary *string
	if arn := s.Settings.PermissionsBoundary; arn != "" {
		boundary = aws.String(arn)
	}
	_, err := s.IAM.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName:                 aws.String(name),
		PermissionsBoundary:      boundary,
		AssumeRolePolicyDocument: aws.String(awsconfig.PartitionOf(s.Config.Region).InstanceTrust()),
		Tags:                     own,
	})
	if err != nil && !awserr.Is(err, apierror.EntityAlreadyExists) {
		return err
	}
	if err = putPolicy(ctx, s, name, policy); err != nil {
		return err
	}
	_, err = s.IAM.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{
		InstanceProfileName: aws.String(name),
		Tags:                own,
	})
	if err != nil && !awserr.Is(err, apierror.EntityAlreadyExists) {
		return err
	}
	add := &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String(name), RoleName: aws.String(name)}
	err = ec2ops.OnceKnown(ctx, func(ctx context.Context) error {
		_, failed := s.IAM.AddRoleToInstanceProfile(ctx, add)
		return failed
	})
	// A profile has one role at most: it has it.
	if err != nil && !awserr.Is(err, apierror.ProfileFull, apierror.EntityAlreadyExists) {
		return err
	}
	s.Logf("made role and instance profile %s", name)
	return await.Until(ctx, await.Settle, func(ctx context.Context) (bool, error) {
		_, err := s.IAM.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(name)})
		return err == nil, err
	})
}

func putPolicy(ctx context.Context, s *stack.Stack, name, policy string) error {
	input := &iam.PutRolePolicyInput{
		RoleName:       aws.String(name),
		PolicyName:     aws.String(policyName),
		PolicyDocument: aws.String(policy),
	}
	return ec2ops.OnceKnown(ctx, func(ctx context.Context) error {
		_, err := s.IAM.PutRolePolicy(ctx, input)
		return err
	})
}

// Remove takes roles and profiles away; what is not there is no error.
func Remove(ctx context.Context, s *stack.Stack) error {
	for _, t := range s.Tiers {
		name := aws.String(Name(s, t.Name))
		for _, remove := range []func() error{
			func() error {
				input := &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: name}
				_, err := s.IAM.RemoveRoleFromInstanceProfile(ctx, input)
				return err
			},
			func() error {
				_, err := s.IAM.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: name})
				return err
			},
			func() error {
				input := &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String(policyName)}
				_, err := s.IAM.DeleteRolePolicy(ctx, input)
				return err
			},
			func() error { _, err := s.IAM.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}); return err },
		} {
			if err := remove(); err != nil && !awserr.Is(err, apierror.NoSuchEntity) {
				return fmt.Errorf("remove role %s: %w", *name, err)
			}
		}
	}
	return nil
}
