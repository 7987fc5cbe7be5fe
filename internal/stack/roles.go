package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
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

// ensureRoles makes each tier's role and instance profile. It returns whether a profile is new: IAM's answers take
// some seconds to be known to EC2 then.
func (s *Stack) ensureRoles(ctx context.Context) (fresh bool, err error) {
	for tier := range readable {
		made, err := s.ensureRole(ctx, tier)
		if err != nil {
			return fresh, fmt.Errorf("make role %s: %w", s.roleName(tier), err)
		}
		fresh = fresh || made
	}
	return fresh, nil
}

func (s *Stack) ensureRole(ctx context.Context, tier string) (fresh bool, err error) {
	name, tags := aws.String(s.roleName(tier)), []types.Tag{{Key: aws.String(stackTag), Value: aws.String(s.name)}}
	_, err = s.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trust), Tags: tags})
	if err != nil && code(err) != "EntityAlreadyExists" {
		return false, err
	}
	policy, err := s.tierPolicy(tier)
	if err != nil {
		return false, err
	}
	if _, err := s.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: aws.String("parameters"), PolicyDocument: aws.String(policy)}); err != nil {
		return false, err
	}
	_, err = s.iam.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: name, Tags: tags})
	if err != nil && code(err) != "EntityAlreadyExists" {
		return false, err
	}
	fresh = err == nil
	_, err = s.iam.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name})
	if err != nil && code(err) != "LimitExceeded" && code(err) != "EntityAlreadyExists" { // a profile has one role at most: it has it
		return false, err
	}
	if !fresh {
		return false, nil
	}
	s.say("made role and instance profile %s", *name)
	return true, iam.NewInstanceProfileExistsWaiter(s.iam).Wait(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: name}, time.Minute)
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
