// Package identity is IAM of the fake account: roles, their policies and instance profiles, in all regions.
package identity

import (
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
)

// State holds an account's IAM resources, which all regions share.
type State struct {
	behaviour *resource.Behaviour
	roles     map[string]*types.Role
	policies  map[string]map[string]string // documents by role and name
	profiles  map[string]*types.InstanceProfile
	made      map[string]time.Time // when a profile, or its role in it, came
}

// New is IAM without roles.
func New(behaviour *resource.Behaviour) *State {
	return &State{
		behaviour: behaviour,
		roles:     map[string]*types.Role{},
		policies:  map[string]map[string]string{},
		profiles:  map[string]*types.InstanceProfile{},
		made:      map[string]time.Time{},
	}
}

// Things are the names of roles and profiles.
func (i *State) Things() []string {
	var all []string
	for name := range i.roles {
		all = append(all, "role/"+name)
	}
	for name := range i.profiles {
		all = append(all, "instance-profile/"+name)
	}
	return all
}

// Knows tells whether instances may be launched with a profile.
func (i *State) Knows(name string) bool {
	profile := i.profiles[name]
	return profile != nil && len(profile.Roles) > 0 && i.behaviour.Visible(i.made[name])
}

func noSuch(kind, name string) error {
	row := apierror.NoSuchRole
	if kind != "Role" {
		row = apierror.NoSuchInstanceProfile
	}
	return &types.NoSuchEntityException{Message: aws.String(row.Text(name))}
}

// Operations are those of IAM.
var Operations = resource.Join(
	resource.Op(createRole), resource.Op(getRole), resource.Op(listRoles), resource.Op(deleteRole),
	resource.Op(putRolePolicy), resource.Op(getRolePolicy), resource.Op(listRolePolicies),
	resource.Op(deleteRolePolicy), resource.Op(createInstanceProfile), resource.Op(getInstanceProfile),
	resource.Op(listInstanceProfiles), resource.Op(listInstanceProfilesForRole),
	resource.Op(addRoleToInstanceProfile), resource.Op(removeRoleFromInstanceProfile),
	resource.Op(deleteInstanceProfile),
)

func (i *State) role(name *string) (*types.Role, error) {
	if role := i.roles[aws.ToString(name)]; role != nil {
		return role, nil
	}
	return nil, noSuch("The role with name", aws.ToString(name))
}

func (i *State) profile(name *string) (*types.InstanceProfile, error) {
	if profile := i.profiles[aws.ToString(name)]; profile != nil {
		return profile, nil
	}
	return nil, noSuch("Instance Profile", aws.ToString(name))
}

func createRole(i *State, in *iam.CreateRoleInput) (*iam.CreateRoleOutput, error) {
	if _, err := i.role(in.RoleName); err == nil {
		return nil, &types.EntityAlreadyExistsException{
			Message: aws.String(apierror.EntityAlreadyExists.Text("Role", *in.RoleName)),
		}
	}
	role := &types.Role{
		RoleName:                 in.RoleName,
		Arn:                      aws.String("arn:aws:iam::" + resource.AccountID + ":role/" + *in.RoleName),
		AssumeRolePolicyDocument: in.AssumeRolePolicyDocument,
		Description:              in.Description,
		Tags:                     in.Tags,
		CreateDate:               aws.Time(time.Now()),
	}
	if in.PermissionsBoundary != nil {
		role.PermissionsBoundary = &types.AttachedPermissionsBoundary{PermissionsBoundaryArn: in.PermissionsBoundary}
	}
	i.roles[*in.RoleName] = role
	i.policies[*in.RoleName] = map[string]string{}
	return &iam.CreateRoleOutput{Role: role}, nil
}

func getRole(i *State, in *iam.GetRoleInput) (*iam.GetRoleOutput, error) {
	role, err := i.role(in.RoleName)
	return &iam.GetRoleOutput{Role: role}, err
}

func listRoles(i *State, in *iam.ListRolesInput) (*iam.ListRolesOutput, error) {
	out := &iam.ListRolesOutput{}
	for _, name := range slices.Sorted(maps.Keys(i.roles)) {
		out.Roles = append(out.Roles, *i.roles[name])
	}
	out.Roles, out.Marker = resource.Page(i.behaviour, out.Roles, in.Marker)
	out.IsTruncated = out.Marker != nil
	return out, nil
}

func deleteRole(i *State, in *iam.DeleteRoleInput) (*iam.DeleteRoleOutput, error) {
	role, err := i.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	if len(i.policies[*role.RoleName]) > 0 || len(i.profilesOf(*role.RoleName)) > 0 {
		return nil, &types.DeleteConflictException{
			Message: aws.String(apierror.DeleteConflict.Text("detach all policies")),
		}
	}
	delete(i.roles, *role.RoleName)
	return nil, nil
}

func putRolePolicy(i *State, in *iam.PutRolePolicyInput) (*iam.PutRolePolicyOutput, error) {
	role, err := i.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	i.policies[*role.RoleName][*in.PolicyName] = *in.PolicyDocument
	return nil, nil
}

func getRolePolicy(i *State, in *iam.GetRolePolicyInput) (*iam.GetRolePolicyOutput, error) {
	document, ok := i.policies[aws.ToString(in.RoleName)][aws.ToString(in.PolicyName)]
	if !ok {
		return nil, noSuch("The role policy with name", aws.ToString(in.PolicyName))
	}
	return &iam.GetRolePolicyOutput{
		RoleName:       in.RoleName,
		PolicyName:     in.PolicyName,
		PolicyDocument: aws.String(document),
	}, nil
}

func listRolePolicies(i *State, in *iam.ListRolePoliciesInput) (*iam.ListRolePoliciesOutput, error) {
	role, err := i.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	return &iam.ListRolePoliciesOutput{
		PolicyNames: slices.Sorted(maps.Keys(i.policies[*role.RoleName])),
	}, nil
}

func deleteRolePolicy(i *State, in *iam.DeleteRolePolicyInput) (*iam.DeleteRolePolicyOutput, error) {
	role, err := i.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	if _, ok := i.policies[*role.RoleName][*in.PolicyName]; !ok {
		return nil, noSuch("The role policy with name", *in.PolicyName)
	}
	delete(i.policies[*role.RoleName], *in.PolicyName)
	return nil, nil
}

func createInstanceProfile(
	i *State, in *iam.CreateInstanceProfileInput,
) (*iam.CreateInstanceProfileOutput, error) {
	name := *in.InstanceProfileName
	if i.profiles[name] != nil {
		return nil, &types.EntityAlreadyExistsException{
			Message: aws.String(apierror.EntityAlreadyExists.Text("Instance Profile", name)),
		}
	}
	made := &types.InstanceProfile{
		InstanceProfileName: in.InstanceProfileName,
		Arn:                 aws.String("arn:aws:iam::" + resource.AccountID + ":instance-profile/" + name),
		CreateDate:          aws.Time(time.Now()),
		Tags:                in.Tags,
	}
	i.profiles[name] = made
	return &iam.CreateInstanceProfileOutput{InstanceProfile: made}, nil
}

func getInstanceProfile(i *State, in *iam.GetInstanceProfileInput) (*iam.GetInstanceProfileOutput, error) {
	profile, err := i.profile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	copied := *profile
	return &iam.GetInstanceProfileOutput{InstanceProfile: &copied}, nil
}

func listInstanceProfiles(i *State, in *iam.ListInstanceProfilesInput) (*iam.ListInstanceProfilesOutput, error) {
	out := &iam.ListInstanceProfilesOutput{}
	for _, name := range slices.Sorted(maps.Keys(i.profiles)) {
		out.InstanceProfiles = append(out.InstanceProfiles, *i.profiles[name])
	}
	return out, nil
}

// profilesOf are the profiles that have a role.
func (i *State) profilesOf(role string) []types.InstanceProfile {
	var all []types.InstanceProfile
	for _, name := range slices.Sorted(maps.Keys(i.profiles)) {
		profile := i.profiles[name]
		if slices.ContainsFunc(profile.Roles, func(is types.Role) bool { return *is.RoleName == role }) {
			all = append(all, *profile)
		}
	}
	return all
}

func listInstanceProfilesForRole(
	i *State, in *iam.ListInstanceProfilesForRoleInput,
) (*iam.ListInstanceProfilesForRoleOutput, error) {
	if _, err := i.role(in.RoleName); err != nil {
		return nil, err
	}
	return &iam.ListInstanceProfilesForRoleOutput{InstanceProfiles: i.profilesOf(*in.RoleName)}, nil
}

func addRoleToInstanceProfile(
	i *State, in *iam.AddRoleToInstanceProfileInput,
) (*iam.AddRoleToInstanceProfileOutput, error) {
	profile, err := i.profile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	role, err := i.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	if len(profile.Roles) > 0 {
		return nil, &types.LimitExceededException{Message: aws.String(apierror.ProfileFull.Text())}
	}
	profile.Roles = []types.Role{*role}
	i.made[*profile.InstanceProfileName] = time.Now()
	return nil, nil
}

func removeRoleFromInstanceProfile(
	i *State, in *iam.RemoveRoleFromInstanceProfileInput,
) (*iam.RemoveRoleFromInstanceProfileOutput, error) {
	profile, err := i.profile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	if len(profile.Roles) == 0 || *profile.Roles[0].RoleName != *in.RoleName {
		return nil, noSuch("The role with name", *in.RoleName)
	}
	profile.Roles = nil
	return nil, nil
}

func deleteInstanceProfile(
	i *State, in *iam.DeleteInstanceProfileInput,
) (*iam.DeleteInstanceProfileOutput, error) {
	profile, err := i.profile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	if len(profile.Roles) > 0 {
		return nil, &types.DeleteConflictException{
			Message: aws.String(apierror.DeleteConflict.Text("remove roles from instance profile")),
		}
	}
	delete(i.profiles, *profile.InstanceProfileName)
	return nil, nil
}

// Add puts an instance profile with a role of its name into the account.
func (i *State) Add(name string) {
	role := &types.Role{RoleName: aws.String(name), CreateDate: aws.Time(time.Now())}
	i.roles[name] = role
	i.policies[name] = map[string]string{}
	i.profiles[name] = &types.InstanceProfile{
		InstanceProfileName: aws.String(name),
		Roles:               []types.Role{*role},
	}
}

// Policy is the document of a role's policy, or empty.
func (i *State) Policy(role, name string) string { return i.policies[role][name] }
