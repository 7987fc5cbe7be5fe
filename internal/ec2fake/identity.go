package ec2fake

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// identity is what an account has of IAM, in all its regions.
type identity struct {
	roles    map[string]*types.Role
	policies map[string]map[string]string // documents by role and name
	profiles map[string]*types.InstanceProfile
	made     map[string]time.Time // when a profile, or its role in it, came
}

func newIdentity() identity {
	return identity{
		roles:    map[string]*types.Role{},
		policies: map[string]map[string]string{},
		profiles: map[string]*types.InstanceProfile{},
		made:     map[string]time.Time{},
	}
}

func (i *identity) things() []string {
	var all []string
	for name := range i.roles {
		all = append(all, "role/"+name)
	}
	for name := range i.profiles {
		all = append(all, "instance-profile/"+name)
	}
	return all
}

// knows tells whether a region knows a profile that an instance is to have.
func (i *identity) knows(r *Region, name string) bool {
	profile := i.profiles[name]
	return profile != nil && len(profile.Roles) > 0 && r.visible(i.made[name])
}

func noSuch(kind, name string) error {
	return &types.NoSuchEntityException{Message: aws.String(kind + " " + name + " cannot be found.")}
}

var roleOperations = ops(
	op(createRole), op(getRole), op(listRoles), op(deleteRole), op(putRolePolicy), op(getRolePolicy),
	op(listRolePolicies), op(deleteRolePolicy), op(createInstanceProfile), op(getInstanceProfile),
	op(listInstanceProfiles), op(listInstanceProfilesForRole), op(addRoleToInstanceProfile),
	op(removeRoleFromInstanceProfile), op(deleteInstanceProfile),
)

func (r *Region) role(name *string) (*types.Role, error) {
	if role := r.account.identity.roles[aws.ToString(name)]; role != nil {
		return role, nil
	}
	return nil, noSuch("The role with name", aws.ToString(name))
}

func (r *Region) profile(name *string) (*types.InstanceProfile, error) {
	if profile := r.account.identity.profiles[aws.ToString(name)]; profile != nil {
		return profile, nil
	}
	return nil, noSuch("Instance Profile", aws.ToString(name))
}

func createRole(r *Region, in *iam.CreateRoleInput) (*iam.CreateRoleOutput, error) {
	if _, err := r.role(in.RoleName); err == nil {
		return nil, &types.EntityAlreadyExistsException{Message: aws.String("Role " + *in.RoleName + " exists.")}
	}
	role := &types.Role{
		RoleName:                 in.RoleName,
		Arn:                      aws.String("arn:aws:iam::" + Number + ":role/" + *in.RoleName),
		AssumeRolePolicyDocument: in.AssumeRolePolicyDocument,
		Description:              in.Description,
		Tags:                     in.Tags,
		CreateDate:               aws.Time(time.Now()),
	}
	r.account.identity.roles[*in.RoleName] = role
	r.account.identity.policies[*in.RoleName] = map[string]string{}
	return &iam.CreateRoleOutput{Role: role}, nil
}

func getRole(r *Region, in *iam.GetRoleInput) (*iam.GetRoleOutput, error) {
	role, err := r.role(in.RoleName)
	return &iam.GetRoleOutput{Role: role}, err
}

func listRoles(r *Region, in *iam.ListRolesInput) (*iam.ListRolesOutput, error) {
	out := &iam.ListRolesOutput{}
	for _, name := range slices.Sorted(maps.Keys(r.account.identity.roles)) {
		out.Roles = append(out.Roles, *r.account.identity.roles[name])
	}
	out.Roles, out.Marker = page(r, out.Roles, in.Marker)
	out.IsTruncated = out.Marker != nil
	return out, nil
}

func deleteRole(r *Region, in *iam.DeleteRoleInput) (*iam.DeleteRoleOutput, error) {
	role, err := r.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	if len(r.account.identity.policies[*role.RoleName]) > 0 || len(r.profilesOf(*role.RoleName)) > 0 {
		return nil, &types.DeleteConflictException{Message: aws.String("Cannot delete entity, must detach first.")}
	}
	delete(r.account.identity.roles, *role.RoleName)
	return nil, nil
}

func putRolePolicy(r *Region, in *iam.PutRolePolicyInput) (*iam.PutRolePolicyOutput, error) {
	role, err := r.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	r.account.identity.policies[*role.RoleName][*in.PolicyName] = *in.PolicyDocument
	return nil, nil
}

func getRolePolicy(r *Region, in *iam.GetRolePolicyInput) (*iam.GetRolePolicyOutput, error) {
	document, ok := r.account.identity.policies[aws.ToString(in.RoleName)][aws.ToString(in.PolicyName)]
	if !ok {
		return nil, noSuch("The role policy with name", aws.ToString(in.PolicyName))
	}
	return &iam.GetRolePolicyOutput{
		RoleName:       in.RoleName,
		PolicyName:     in.PolicyName,
		PolicyDocument: aws.String(document),
	}, nil
}

func listRolePolicies(r *Region, in *iam.ListRolePoliciesInput) (*iam.ListRolePoliciesOutput, error) {
	role, err := r.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	return &iam.ListRolePoliciesOutput{
		PolicyNames: slices.Sorted(maps.Keys(r.account.identity.policies[*role.RoleName])),
	}, nil
}

func deleteRolePolicy(r *Region, in *iam.DeleteRolePolicyInput) (*iam.DeleteRolePolicyOutput, error) {
	role, err := r.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	if _, ok := r.account.identity.policies[*role.RoleName][*in.PolicyName]; !ok {
		return nil, noSuch("The role policy with name", *in.PolicyName)
	}
	delete(r.account.identity.policies[*role.RoleName], *in.PolicyName)
	return nil, nil
}

func createInstanceProfile(
	r *Region, in *iam.CreateInstanceProfileInput,
) (*iam.CreateInstanceProfileOutput, error) {
	name := *in.InstanceProfileName
	if r.account.identity.profiles[name] != nil {
		return nil, &types.EntityAlreadyExistsException{Message: aws.String("Instance Profile " + name + " exists.")}
	}
	made := &types.InstanceProfile{
		InstanceProfileName: in.InstanceProfileName,
		Arn:                 aws.String("arn:aws:iam::" + Number + ":instance-profile/" + name),
		CreateDate:          aws.Time(time.Now()),
		Tags:                in.Tags,
	}
	r.account.identity.profiles[name] = made
	return &iam.CreateInstanceProfileOutput{InstanceProfile: made}, nil
}

func getInstanceProfile(r *Region, in *iam.GetInstanceProfileInput) (*iam.GetInstanceProfileOutput, error) {
	profile, err := r.profile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	copied := *profile
	return &iam.GetInstanceProfileOutput{InstanceProfile: &copied}, nil
}

func listInstanceProfiles(r *Region, in *iam.ListInstanceProfilesInput) (*iam.ListInstanceProfilesOutput, error) {
	out := &iam.ListInstanceProfilesOutput{}
	for _, name := range slices.Sorted(maps.Keys(r.account.identity.profiles)) {
		out.InstanceProfiles = append(out.InstanceProfiles, *r.account.identity.profiles[name])
	}
	return out, nil
}

// profilesOf are the profiles that have a role.
func (r *Region) profilesOf(role string) []types.InstanceProfile {
	var all []types.InstanceProfile
	for _, name := range slices.Sorted(maps.Keys(r.account.identity.profiles)) {
		profile := r.account.identity.profiles[name]
		if slices.ContainsFunc(profile.Roles, func(is types.Role) bool { return *is.RoleName == role }) {
			all = append(all, *profile)
		}
	}
	return all
}

func listInstanceProfilesForRole(
	r *Region, in *iam.ListInstanceProfilesForRoleInput,
) (*iam.ListInstanceProfilesForRoleOutput, error) {
	if _, err := r.role(in.RoleName); err != nil {
		return nil, err
	}
	return &iam.ListInstanceProfilesForRoleOutput{InstanceProfiles: r.profilesOf(*in.RoleName)}, nil
}

func addRoleToInstanceProfile(
	r *Region, in *iam.AddRoleToInstanceProfileInput,
) (*iam.AddRoleToInstanceProfileOutput, error) {
	profile, err := r.profile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	role, err := r.role(in.RoleName)
	if err != nil {
		return nil, err
	}
	if len(profile.Roles) > 0 {
		return nil, &types.LimitExceededException{Message: aws.String("Cannot exceed quota of roles: 1")}
	}
	profile.Roles = []types.Role{*role}
	r.account.identity.made[*profile.InstanceProfileName] = time.Now()
	return nil, nil
}

func removeRoleFromInstanceProfile(
	r *Region, in *iam.RemoveRoleFromInstanceProfileInput,
) (*iam.RemoveRoleFromInstanceProfileOutput, error) {
	profile, err := r.profile(in.InstanceProfileName)
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
	r *Region, in *iam.DeleteInstanceProfileInput,
) (*iam.DeleteInstanceProfileOutput, error) {
	profile, err := r.profile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	if len(profile.Roles) > 0 {
		return nil, &types.DeleteConflictException{Message: aws.String("It has roles.")}
	}
	delete(r.account.identity.profiles, *profile.InstanceProfileName)
	return nil, nil
}

// AddProfile puts an instance profile with a role of its name into the account.
func (a *Account) AddProfile(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	role := &types.Role{RoleName: aws.String(name), CreateDate: aws.Time(time.Now())}
	a.identity.roles[name] = role
	a.identity.policies[name] = map[string]string{}
	a.identity.profiles[name] = &types.InstanceProfile{
		InstanceProfileName: aws.String(name),
		Roles:               []types.Role{*role},
	}
}

// Policy is the document of a role's policy, or empty.
func (a *Account) Policy(role, name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.identity.policies[role][name]
}

var callerOperations = op(getCallerIdentity)

func getCallerIdentity(_ *Region, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
	return &sts.GetCallerIdentityOutput{
		Account: aws.String(Number),
		Arn:     aws.String("arn:aws:iam::" + Number + ":user/tester"),
		UserId:  aws.String("AIDAFAKE"),
	}, nil
}

// parameter is one of SSM's.
type parameter struct {
	ssmtypes.Parameter
	tags map[string]string
}

var parameterOperations = ops(
	op(putParameter), op(getParameter), op(getParameters), op(getParametersByPath), op(deleteParameter),
	op(deleteParameters), op(addTagsToResource),
)

func putParameter(r *Region, in *ssm.PutParameterInput) (*ssm.PutParameterOutput, error) {
	name := aws.ToString(in.Name)
	version := int64(1)
	old := r.parameters[name]
	if old != nil {
		if !aws.ToBool(in.Overwrite) {
			return nil, &ssmtypes.ParameterAlreadyExists{Message: aws.String("The parameter already exists.")}
		}
		if len(in.Tags) > 0 {
			return nil, Err("ValidationException", "tags and overwrite can't be used together")
		}
		version = old.Version + 1
	}
	made := &parameter{tags: map[string]string{}}
	made.Name, made.Value, made.Type, made.Version = in.Name, in.Value, in.Type, version
	made.LastModifiedDate = aws.Time(time.Now())
	if old != nil {
		made.tags = old.tags
	}
	for _, tag := range in.Tags {
		made.tags[*tag.Key] = *tag.Value
	}
	r.parameters[name] = made
	return &ssm.PutParameterOutput{Version: version}, nil
}

func getParameter(r *Region, in *ssm.GetParameterInput) (*ssm.GetParameterOutput, error) {
	found := r.parameters[aws.ToString(in.Name)]
	if found == nil {
		return nil, &ssmtypes.ParameterNotFound{Message: in.Name}
	}
	copied := found.Parameter
	return &ssm.GetParameterOutput{Parameter: &copied}, nil
}

func getParameters(r *Region, in *ssm.GetParametersInput) (*ssm.GetParametersOutput, error) {
	out := &ssm.GetParametersOutput{}
	for _, name := range in.Names {
		if found := r.parameters[name]; found != nil {
			out.Parameters = append(out.Parameters, found.Parameter)
		} else {
			out.InvalidParameters = append(out.InvalidParameters, name)
		}
	}
	return out, nil
}

func getParametersByPath(r *Region, in *ssm.GetParametersByPathInput) (*ssm.GetParametersByPathOutput, error) {
	var found []ssmtypes.Parameter
	path := strings.TrimSuffix(aws.ToString(in.Path), "/") + "/"
	for _, name := range slices.Sorted(maps.Keys(r.parameters)) {
		rest, under := strings.CutPrefix(name, path)
		if under && (aws.ToBool(in.Recursive) || !strings.Contains(rest, "/")) {
			found = append(found, r.parameters[name].Parameter)
		}
	}
	found, next := page(r, found, in.NextToken)
	return &ssm.GetParametersByPathOutput{Parameters: found, NextToken: next}, nil
}

func deleteParameter(r *Region, in *ssm.DeleteParameterInput) (*ssm.DeleteParameterOutput, error) {
	if r.parameters[aws.ToString(in.Name)] == nil {
		return nil, &ssmtypes.ParameterNotFound{Message: in.Name}
	}
	delete(r.parameters, *in.Name)
	return nil, nil
}

func deleteParameters(r *Region, in *ssm.DeleteParametersInput) (*ssm.DeleteParametersOutput, error) {
	if len(in.Names) > 10 {
		return nil, Err("ValidationException", "10 names at most")
	}
	out := &ssm.DeleteParametersOutput{}
	for _, name := range in.Names {
		if r.parameters[name] == nil {
			out.InvalidParameters = append(out.InvalidParameters, name)
			continue
		}
		delete(r.parameters, name)
		out.DeletedParameters = append(out.DeletedParameters, name)
	}
	return out, nil
}

func addTagsToResource(r *Region, in *ssm.AddTagsToResourceInput) (*ssm.AddTagsToResourceOutput, error) {
	found := r.parameters[aws.ToString(in.ResourceId)]
	if found == nil {
		return nil, &ssmtypes.InvalidResourceId{Message: in.ResourceId}
	}
	for _, tag := range in.Tags {
		found.tags[*tag.Key] = *tag.Value
	}
	return nil, nil
}

// Parameter is the value of a parameter, or empty.
func (r *Region) Parameter(name string) string {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	if found := r.parameters[name]; found != nil {
		return aws.ToString(found.Value)
	}
	return ""
}

// SetParameter sets a parameter.
func (r *Region) SetParameter(name, value string) {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	made := &parameter{tags: map[string]string{}}
	made.Name, made.Value, made.Version = aws.String(name), aws.String(value), 1
	made.Type = ssmtypes.ParameterTypeString
	made.LastModifiedDate = aws.Time(time.Now())
	r.parameters[name] = made
}
