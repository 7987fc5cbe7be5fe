package stack

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
)

// readable are the parameters that a tier's instances may read, and no others.
var readable = map[string][]string{
	"db":  {"/db/app_password", "/db/ca", "/db/ca_key"},
	"web": {"/db/app_password", "/db/ca", "/web/tls_certificate", "/web/tls_key"},
}

const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

func (s *Stack) roleName(tier string) string { return "goldsmith-" + s.name + "-" + tier }

// tierPolicy lets a tier read its parameters, and decrypt them with the key of Parameter Store alone.
func (s *Stack) tierPolicy(tier string) (string, error) {
	var resources []string
	for _, name := range readable[tier] {
		resources = append(resources, fmt.Sprintf("arn:aws:ssm:%s:*:parameter%s%s", s.conf.Region, s.parameters(), name))
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{
		map[string]any{"Effect": "Allow", "Action": []string{"ssm:GetParameter", "ssm:GetParameters"}, "Resource": resources},
		map[string]any{"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*", "Condition": map[string]any{
			"StringEquals": map[string]string{"kms:ViaService": "ssm." + s.conf.Region + ".amazonaws.com"}}},
	}})
	return string(text), err
}

// ensureRoles makes each tier's role and instance profile. What is made takes some seconds to be known to EC2, whoever made
// it: an earlier run may have been interrupted right after that.
func (s *Stack) ensureRoles(ctx context.Context) error {
	for tier := range readable {
		if err := s.ensureRole(ctx, tier); err != nil {
			return fmt.Errorf("make role %s: %w", s.roleName(tier), err)
		}
	}
	return nil
}

func (s *Stack) ensureRole(ctx context.Context, tier string) error {
	name, tags := aws.String(s.roleName(tier)), []types.Tag{{Key: aws.String(stackTag), Value: aws.String(s.name)}}
	_, err := s.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trust), Tags: tags})
	if err != nil && code(err) != "EntityAlreadyExists" {
		return err
	}
	policy, err := s.tierPolicy(tier)
	if err != nil {
		return err
	}
	put := &iam.PutRolePolicyInput{RoleName: name, PolicyName: aws.String("parameters"), PolicyDocument: aws.String(policy)}
	if err := onceKnown(ctx, func(ctx context.Context) error { _, err := s.iam.PutRolePolicy(ctx, put); return err }); err != nil {
		return err
	}
	_, err = s.iam.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: name, Tags: tags})
	if err != nil && code(err) != "EntityAlreadyExists" {
		return err
	}
	made := err == nil
	add := &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name}
	err = onceKnown(ctx, func(ctx context.Context) error { _, err := s.iam.AddRoleToInstanceProfile(ctx, add); return err })
	if err != nil && code(err) != "LimitExceeded" && code(err) != "EntityAlreadyExists" { // a profile has one role at most: it has it
		return err
	}
	if !made {
		return nil
	}
	s.say("made role and instance profile %s", *name)
	return await.Until(ctx, await.Settle, func(ctx context.Context) (bool, error) {
		_, err := s.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: name})
		return err == nil, err
	})
}

// onceKnown repeats a call while a role or an instance profile that it needs may be too new to be known.
func onceKnown(ctx context.Context, call func(context.Context) error) error {
	return await.Retry(ctx, await.Settle, awserr.ProfileIsNew, call)
}

// removeRoles takes roles and profiles away; what is not there is no error.
func (s *Stack) removeRoles(ctx context.Context) error {
	for tier := range readable {
		name := aws.String(s.roleName(tier))
		for _, remove := range []func() error{
			func() error {
				_, err := s.iam.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: name})
				return err
			},
			func() error {
				_, err := s.iam.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: name})
				return err
			},
			func() error {
				_, err := s.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String("parameters")})
				return err
			},
			func() error { _, err := s.iam.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}); return err },
		} {
			if err := remove(); err != nil && code(err) != "NoSuchEntity" {
				return fmt.Errorf("remove role %s: %w", *name, err)
			}
		}
	}
	return nil
}
