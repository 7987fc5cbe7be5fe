package authorization

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// iamNames are the parameters that name what a call of IAM's is about: the first that is there counts.
var iamNames = []struct{ parameter, kind, look string }{
	{"InstanceProfileName", "instance-profile", ""},
	{"GroupName", "group", ""},
	{"RoleName", "role", "GetRole"},
	{"UserName", "user", "GetUser"},
	{"PolicyName", "policy", ""},
}

// iamLists are the calls of IAM's that list all of a kind.
var iamLists = map[string]string{
	"ListGroups":           "group",
	"ListInstanceProfiles": "instance-profile",
	"ListRoles":            "role",
	"ListUsers":            "user",
}

// ofThemselves are the calls of IAM's that are about the caller where they name no user.
var ofThemselves = regexp.MustCompile(`^(GetUser|(Create|Update|Delete|List)AccessKeys?|ChangePassword)$`)

// bounded are the calls of IAM's with a key for the permissions boundary of the role or user (Service Authorization
// Reference, Actions defined by AWS Identity and Access Management).
var bounded = regexp.MustCompile(`^((Create|Put|Delete|Attach|Detach)(Role|User)(Policy|PermissionsBoundary)?|` +
	`GetRole|UpdateRole|UpdateRoleDescription|UpdateAssumeRolePolicy)$`)

func (q *question) iam(ctx context.Context) error {
	action := q.c.Action()
	switch {
	case action == "CreateServiceLinkedRole":
		service := q.c.Get("AWSServiceName")
		q.own(iamARN("role/aws-service-role/"+service+"/*"), "iam:AWSServiceName", service)
		return nil
	case ofThemselves.MatchString(action) && q.c.Get("UserName") == "":
		q.own(strings.ReplaceAll(q.c.Caller.ARN, ":sts:", ":iam:"))
		return nil
	}
	for _, by := range iamNames {
		if name := q.c.Get(by.parameter); name != "" {
			return q.entity(ctx, by.kind, name, by.look)
		}
	}
	if policy := q.c.Get("PolicyArn"); policy != "" {
		q.own(policy)
		return nil
	}
	if kind, ok := iamLists[action]; ok {
		q.own(iamARN(kind + "/" + strings.TrimPrefix(q.c.Get("PathPrefix"), "/")))
		return nil
	}
	q.own("*")
	return nil
}

// entity asks for a call on a role, a user or another thing of IAM's.
func (q *question) entity(ctx context.Context, kind, name, look string) error {
	path := strings.TrimPrefix(q.c.Get("Path"), "/")
	at, there, boundary := iamARN(kind+"/"+path+name), tags(nil), q.c.Get("PermissionsBoundary")
	if look != "" && !strings.HasPrefix(q.c.Action(), "Create"+strings.TrimPrefix(look, "Get")) {
		title := strings.TrimPrefix(look, "Get")
		found, err := q.lookup(ctx, awsquery.NewCall("iam", look, title+"Name", name))
		if err != nil {
			return err
		}
		if it := found.At(look+"Result", title); it != nil {
			at, there = it.Get("Arn"), nodeTags(it.Items("Tags"), "Key", "Value")
			if boundary == "" {
				boundary = it.Get("PermissionsBoundary", "PermissionsBoundaryArn")
			}
		}
	}
	if !bounded.MatchString(q.c.Action()) {
		boundary = ""
	}
	attached := ""
	if strings.HasPrefix(q.c.Action(), "Attach") || strings.HasPrefix(q.c.Action(), "Detach") {
		attached = q.c.Get("PolicyArn")
	}
	asked := formTags(q.c, "Tags.member")
	context := q.own(at, "iam:PermissionsBoundary", boundary, "iam:PolicyARN", attached)
	there.of(context, "iam")
	asked.asked(context)
	if strings.HasPrefix(q.c.Action(), "Create") && len(asked) > 0 {
		// The API references of CreateRole, CreateUser and CreateInstanceProfile: tags need the right to tag.
		asked.asked(q.ask("iam:Tag"+strings.TrimPrefix(q.c.Action(), "Create"), at))
	}
	if q.c.Action() == "AddRoleToInstanceProfile" {
		return q.passedTo(ctx, q.c.Get("RoleName"))
	}
	return nil
}

// passedTo asks whether a role may be passed that is to be in an instance profile (API reference of
// AddRoleToInstanceProfile).
func (q *question) passedTo(ctx context.Context, role string) error {
	found, err := q.lookup(ctx, awsquery.NewCall("iam", "GetRole", "RoleName", role))
	if err != nil {
		return err
	}
	at := found.Get("GetRoleResult", "Role", "Arn")
	if at == "" {
		at = iamARN("role/" + role)
	}
	q.passed(at)
	return nil
}

// sts asks for nothing where AWS lets everybody (API references of GetCallerIdentity and GetSessionToken).
func (q *question) sts() {
	switch q.c.Action() {
	case "GetCallerIdentity", "GetSessionToken", "GetAccessKeyInfo", "DecodeAuthorizationMessage":
	case "AssumeRole":
		context := q.own(q.c.Get("RoleArn"), "sts:RoleSessionName", q.c.Get("RoleSessionName"), "sts:ExternalId",
			q.c.Get("ExternalId"))
		formTags(q.c, "Tags.member").asked(context)
	default:
		q.own("*")
	}
}

// parameterStore are the members of Parameter Store's calls that are about what is allowed.
type parameterStore struct {
	Name, Path, Type, KeyID, ResourceID, ResourceType string
	Names                                             []string
	WithDecryption                                    bool
	Overwrite, Recursive                              *bool
	Tags                                              []tag
}

// encryptedType is the type of parameters that are encrypted.
const encryptedType = "SecureString"

func (q *question) ssm(ctx context.Context) error {
	var p parameterStore
	_ = json.Unmarshal(q.c.Body, &p) // who answers the call says what is wrong with it
	names := p.Names
	for _, name := range []string{p.Name, p.Path} {
		if name != "" {
			names = append(names, name)
		}
	}
	if p.ResourceType == "Parameter" {
		names = append(names, p.ResourceID)
	}
	if !strings.Contains(q.c.Action(), "Parameter") && p.ResourceType != "Parameter" ||
		q.c.Action() == "DescribeParameters" {
		names = nil
	}
	for _, name := range names {
		there, err := q.parameterTags(ctx, name)
		if err != nil {
			return err
		}
		context := q.own(parameterARN(name), "ssm:Overwrite", said(p.Overwrite), "ssm:Recursive", said(p.Recursive))
		there.of(context, "ssm")
		tags(p.Tags).asked(context)
		if q.c.Action() == "PutParameter" && len(p.Tags) > 0 {
			tags(p.Tags).asked(q.ask("ssm:AddTagsToResource", parameterARN(name)))
		}
	}
	if len(names) == 0 {
		q.own("*")
	}
	return q.parameterKeys(ctx, p)
}

// said is a Boolean that was given, or empty.
func said(given *bool) string {
	if given == nil {
		return ""
	}
	return strconv.FormatBool(*given)
}

// parameterARN has a name's first slash away (Systems Manager User Guide, Restricting access to parameters).
func parameterARN(name string) string {
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	name, _, _ = strings.Cut(name, ":") // of a version
	return arn("ssm", "parameter/"+strings.TrimPrefix(name, "/"))
}

// askSSM asks moto in JSON.
func (q *question) askSSM(ctx context.Context, action string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	c := awsquery.NewCall("ssm", action)
	c.Form, c.Body = nil, body
	c.Header.Set("Content-Type", "application/x-amz-json-1.1")
	c.Header.Set("X-Amz-Target", "AmazonSSM."+action)
	a, err := q.m.moto.Read(ctx, c)
	if err != nil || !a.OK() {
		return err
	}
	return json.Unmarshal(a.Body, answer)
}

func (q *question) parameterTags(ctx context.Context, name string) (tags, error) {
	var found struct{ TagList []tag }
	err := q.askSSM(ctx, "ListTagsForResource",
		map[string]string{"ResourceType": "Parameter", "ResourceId": name}, &found)
	return found.TagList, err
}

// described is a parameter as DescribeParameters has it.
type described struct {
	Name, Type string
	KeyID      string `json:"KeyId"`
}

// parameterKeys asks for the keys of encrypted parameters (Systems Manager User Guide, AWS KMS encryption for Parameter
// Store SecureString parameters).
func (q *question) parameterKeys(ctx context.Context, p parameterStore) error {
	switch {
	case q.c.Action() == "PutParameter" && p.Type == encryptedType:
		q.parameterKey(p.Name, p.KeyID, "Encrypt")
		return nil
	case !p.WithDecryption:
		return nil
	}
	option, values := "Equals", append(slices.Clone(p.Names), p.Name)
	if p.Path != "" {
		option, values = "BeginsWith", []string{strings.TrimSuffix(p.Path, "/") + "/"}
	}
	for _, value := range values {
		if value == "" {
			continue
		}
		var found struct{ Parameters []described }
		name, _, _ := strings.Cut(value, ":")
		if err := q.askSSM(ctx, "DescribeParameters", map[string]any{"ParameterFilters": []any{map[string]any{
			"Key": "Name", "Option": option, "Values": []string{name}}}}, &found); err != nil {
			return err
		}
		for _, one := range found.Parameters {
			if one.Type == encryptedType {
				q.parameterKey(one.Name, one.KeyID, "Decrypt")
			}
		}
	}
	return nil
}

func (q *question) parameterKey(name, key, action string) {
	managed := key == "" || key == "alias/aws/ssm"
	if managed {
		key = "alias/aws/ssm"
	}
	q.useKey(key, "ssm", managed, []string{action}, "kms:EncryptionContext:PARAMETER_ARN", parameterARN(name))
}

func (q *question) autoscaling(ctx context.Context) error {
	name := q.c.Get("AutoScalingGroupName")
	var asked tags
	if name == "" {
		name = q.c.Get("Tags.member.1.ResourceId")
	}
	asked = formTags(q.c, "Tags.member")
	if strings.HasPrefix(q.c.Action(), "Describe") || name == "" {
		q.own("*")
		return nil
	}
	found, err := q.lookup(ctx, awsquery.NewCall("autoscaling", "DescribeAutoScalingGroups",
		"AutoScalingGroupNames.member.1", name))
	if err != nil {
		return err
	}
	at, there := arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/"+name), tags(nil)
	for _, group := range found.Items("DescribeAutoScalingGroupsResult", "AutoScalingGroups") {
		at, there = group.Get("AutoScalingGroupARN"), nodeTags(group.Items("Tags"), "Key", "Value")
	}
	context := q.own(at)
	there.of(context, "autoscaling")
	asked.asked(context)
	for _, prefix := range []string{"", "DesiredConfiguration."} {
		template := prefix + "LaunchTemplate."
		if q.c.Get(template+"LaunchTemplateId")+q.c.Get(template+"LaunchTemplateName") == "" {
			continue
		}
		// Amazon EC2 Auto Scaling User Guide, API permissions: the launch, its tags and its role are checked.
		if err := q.launch(ctx, q.c, template); err != nil {
			return err
		}
	}
	return nil
}

// arnParameter matches the parameters of load balancing that hold an ARN.
var arnParameter = regexp.MustCompile(`^(LoadBalancer|TargetGroup|Listener|Rule|Resource)Arns?(\.member\.\d+)?$`)

func (q *question) balancing(ctx context.Context) error {
	action, asked := q.c.Action(), formTags(q.c, "Tags.member")
	made := map[string]string{
		"CreateLoadBalancer": "loadbalancer/net/" + q.c.Get("Name") + "/*",
		"CreateTargetGroup":  "targetgroup/" + q.c.Get("Name") + "/*",
	}[action]
	if made != "" {
		at := arn("elasticloadbalancing", made)
		asked.asked(q.own(at))
		if len(asked) > 0 {
			asked.asked(q.ask("elasticloadbalancing:AddTags", at, "elasticloadbalancing:CreateAction", action))
		}
		return nil
	}
	if !strings.HasPrefix(action, "Describe") {
		for _, name := range slices.Sorted(maps.Keys(q.c.Form)) {
			if !arnParameter.MatchString(name) {
				continue
			}
			there, err := q.balancingTags(ctx, q.c.Get(name))
			if err != nil {
				return err
			}
			context := q.own(q.c.Get(name))
			there.of(context, "elasticloadbalancing")
			asked.asked(context)
		}
	}
	if len(q.requests) == 0 {
		q.own("*")
	}
	if action == "CreateListener" && len(asked) > 0 {
		at := strings.Replace(q.c.Get("LoadBalancerArn"), ":loadbalancer/", ":listener/", 1) + "/*"
		asked.asked(q.ask("elasticloadbalancing:AddTags", at, "elasticloadbalancing:CreateAction", action))
	}
	return nil
}

func (q *question) balancingTags(ctx context.Context, resource string) (tags, error) {
	c := awsquery.NewCall("elasticloadbalancing", "DescribeTags", "ResourceArns.member.1", resource)
	c.Set("Version", "2015-12-01")
	found, err := q.lookup(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, item := range found.Items("DescribeTagsResult", "TagDescriptions") {
		return nodeTags(item.Items("Tags"), "Key", "Value"), nil
	}
	return nil, nil
}

// direct are the calls of EBS direct, by method and path (Service Authorization Reference, Amazon Elastic Block Store).
var direct = []struct {
	method string
	path   *regexp.Regexp
	action string
}{
	{"POST", regexp.MustCompile(`^/snapshots()$`), "StartSnapshot"},
	{"POST", regexp.MustCompile(`^/snapshots/completion/(snap-[0-9a-f]+)$`), "CompleteSnapshot"},
	{"GET", regexp.MustCompile(`^/snapshots/(snap-[0-9a-f]+)/blocks$`), "ListSnapshotBlocks"},
	{"GET", regexp.MustCompile(`^/snapshots/(snap-[0-9a-f]+)/changedblocks$`), "ListChangedBlocks"},
	{"GET", regexp.MustCompile(`^/snapshots/(snap-[0-9a-f]+)/blocks/\d+$`), "GetSnapshotBlock"},
	{"PUT", regexp.MustCompile(`^/snapshots/(snap-[0-9a-f]+)/blocks/\d+$`), "PutSnapshotBlock"},
}

func (q *question) ebs(ctx context.Context) error {
	path, _, _ := strings.Cut(q.c.Path, "?")
	for _, one := range direct {
		match := one.path.FindStringSubmatch(path)
		if match == nil || one.method != q.c.Method {
			continue
		}
		r := resource{kind: "snapshot", id: match[1]}
		if r.id == "" {
			r.id = "*"
		}
		present, err := q.present(ctx, []resource{r})
		if err != nil {
			return err
		}
		present[r.id].of(q.ask("ebs:"+one.action, r.arn()))
		return nil
	}
	q.ask("ebs:"+q.c.Method, "*")
	return nil
}
