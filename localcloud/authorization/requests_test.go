package authorization

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/policyeval"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// newClient is a client of a moto with these answers.
func newClient(t *testing.T, b *mototest.Moto) (*moto.Client, *records.Store) {
	t.Helper()
	store := &records.Store{}
	if err := store.Open(filepath.Join(t.TempDir(), "api.json"), netip.MustParsePrefix("127.66.9.0/24")); err != nil {
		t.Fatal(err)
	}
	return moto.New(b.Dial, slog.New(slog.NewTextHandler(io.Discard, nil))), store
}

const (
	instance = "i-00000000000000001"
	volume   = "vol-00000000000000001"
	ec2      = "arn:aws:ec2:us-east-1:123456789012:"
	profile  = "arn:aws:iam::123456789012:role/goldsmith-shop-web"
)

// resourcesThere is a moto with one resource of each kind that the tests name.
func resourcesThere(t *testing.T) *mototest.Moto {
	item := func(set, inner string) func(url.Values) string {
		return mototest.Canned("<" + set + "><item>" + inner + "</item></" + set + ">")
	}
	return mototest.New(t, map[string]func(url.Values) string{
		"DescribeTags": func(form url.Values) string {
			if form.Get("ResourceArns.member.1") != "" {
				return `<DescribeTagsResult><TagDescriptions><member><Tags><member><Key>goldsmith:stack</Key>` +
					`<Value>shop</Value></member></Tags></member></TagDescriptions></DescribeTagsResult>`
			}
			set := ""
			for _, values := range form {
				if awsquery.IsResourceID(values[0]) && !strings.HasSuffix(values[0], "9") {
					set += "<item><resourceId>" + values[0] +
						"</resourceId><key>goldsmith:stack</key><value>shop</value></item>"
				}
			}
			return "<tagSet>" + set + "</tagSet>"
		},
		"DescribeKeyPairs":    item("keySet", "<keyName>shop</keyName><keyPairId>key-00000000000000001</keyPairId>"),
		"DescribeAddresses":   item("addressesSet", "<allocationId>eipalloc-00000000000000001</allocationId>"),
		"DescribeRouteTables": item("routeTableSet", "<routeTableId>rtb-00000000000000001</routeTableId>"),
		"DescribeLaunchTemplates": item("launchTemplates", "<launchTemplateId>lt-00000000000000001</launchTemplateId>"+
			"<launchTemplateName>web</launchTemplateName><defaultVersionNumber>1</defaultVersionNumber>"+
			"<latestVersionNumber>2</latestVersionNumber>"),
		"GetInstanceProfile": mototest.Canned("<GetInstanceProfileResult><InstanceProfile><Roles><member><Arn>" +
			profile +
			"</Arn></member></Roles></InstanceProfile></GetInstanceProfileResult>"),
		"GetRole": mototest.Canned("<GetRoleResult><Role><Arn>" + profile + "</Arn><PermissionsBoundary>" +
			"<PermissionsBoundaryArn>arn:aws:iam::123456789012:policy/limit</PermissionsBoundaryArn>" +
			"</PermissionsBoundary>" +
			"<Tags><member><Key>team</Key><Value>a</Value></member></Tags></Role></GetRoleResult>"),
		"DescribeAutoScalingGroups": mototest.Canned("<DescribeAutoScalingGroupsResult><AutoScalingGroups><member>" +
			"<AutoScalingGroupARN>" + arn("autoscaling", "autoScalingGroup:1-2:autoScalingGroupName/web") +
			"</AutoScalingGroupARN></member></AutoScalingGroups></DescribeAutoScalingGroupsResult>"),
		"ListTagsForResource": mototest.Canned(`{"TagList": [{"Key": "goldsmith:stack", "Value": "shop"}]}`),
		"DescribeParameters": func(form url.Values) string {
			kind := "String"
			if strings.Contains(form.Get("body"), "secret") {
				kind = "SecureString"
			}
			return fmt.Sprintf(
				`{"Parameters": [{"Name": "/goldsmith/shop/secret", "Type": %q, "KeyId": "alias/aws/ssm"}]}`,
				kind)
		},
	})
}

// text is a request as the tests have it: action, resource, and the keys that are asked for.
func text(r policyeval.Request, keys []string) string {
	parts := []string{r.Action, r.Resource}
	for _, key := range keys {
		if values, ok := r.Context[strings.ToLower(key)]; ok {
			parts = append(parts, key+"="+strings.Join(values, ","))
		}
	}
	if r.Granted {
		parts = append(parts, "granted")
	}
	return strings.Join(parts, " ")
}

// TestRequests has, for calls of each kind, what AWS asks IAM for: Service Authorization Reference.
func TestRequests(t *testing.T) {
	m := NewMapper(newClient(t, resourcesThere(t)))
	if err := m.records.Update(func(s *records.State) {
		s.Templates["lt-00000000000000001"] = map[string]url.Values{"2": {
			"ImageId":                              {"ami-00000000000000001"},
			"IamInstanceProfile.Name":              {"goldsmith-shop-web"},
			"MetadataOptions.HttpTokens":           {"required"},
			"TagSpecification.1.ResourceType":      {"instance"},
			"TagSpecification.1.Tag.1.Key":         {"goldsmith:stack"},
			"TagSpecification.1.Tag.1.Value":       {"shop"},
			"NetworkInterface.1.SecurityGroupId.1": {"sg-00000000000000001"},
		}}
	}); err != nil {
		t.Fatal(err)
	}
	const stack, tagged = "aws:ResourceTag/goldsmith:stack", " aws:ResourceTag/goldsmith:stack=shop"
	for _, c := range []struct {
		service, action string
		parameters      []string
		keys            []string
		want            []string
	}{
		{"ec2", "DescribeInstances", []string{"InstanceId.1", instance}, []string{stack},
			[]string{"ec2:DescribeInstances *"}},
		{"ec2", "GetConsoleOutput", []string{"InstanceId", instance}, []string{stack},
			[]string{"ec2:GetConsoleOutput " + ec2 + "instance/" + instance + tagged}},
		{"ec2", "TerminateInstances", []string{"InstanceId.1", instance, "InstanceId.2", "i-00000000000000009"},
			[]string{stack, "ec2:ResourceTag/goldsmith:stack"}, []string{
				"ec2:TerminateInstances " + ec2 + "instance/" + instance + tagged +
					" ec2:ResourceTag/goldsmith:stack=shop",
				"ec2:TerminateInstances " + ec2 + "instance/i-00000000000000009",
			}},
		{"ec2", "CreateVolume", []string{"Size", "1", "SnapshotId", "snap-00000000000000001", "Encrypted", "true",
			"TagSpecification.1.ResourceType", "volume", "TagSpecification.1.Tag.1.Key", "a",
			"TagSpecification.1.Tag.1.Value", "b"}, []string{"aws:RequestTag/a", "aws:TagKeys", "ec2:CreateAction"},
			[]string{
				"ec2:CreateVolume " + ec2 + "volume/* aws:RequestTag/a=b aws:TagKeys=a",
				"ec2:CreateVolume arn:aws:ec2:us-east-1::snapshot/snap-00000000000000001",
				"ec2:CreateTags " + ec2 + "volume/* aws:RequestTag/a=b aws:TagKeys=a ec2:CreateAction=CreateVolume",
				"kms:GenerateDataKeyWithoutPlaintext arn:aws:kms:us-east-1:123456789012:alias/aws/ebs granted",
				"kms:CreateGrant arn:aws:kms:us-east-1:123456789012:alias/aws/ebs granted",
			}},
		{"ec2", "CreateTags", []string{"ResourceId.1", instance, "ResourceId.2", volume, "Tag.1.Key", "Name",
			"Tag.1.Value", "vol-00000000000000007"}, []string{stack, "aws:RequestTag/Name", "aws:TagKeys"}, []string{
			"ec2:CreateTags " + ec2 + "instance/" + instance + tagged +
				" aws:RequestTag/Name=vol-00000000000000007 aws:TagKeys=Name",
			"ec2:CreateTags " + ec2 + "volume/" + volume + tagged +
				" aws:RequestTag/Name=vol-00000000000000007 aws:TagKeys=Name",
		}},
		{"ec2", "DeleteKeyPair", []string{"KeyPairId", "key-00000000000000001"}, []string{stack},
			[]string{"ec2:DeleteKeyPair " + ec2 + "key-pair/shop" + tagged}},
		{"ec2", "DisassociateRouteTable", []string{"AssociationId", "rtbassoc-00000000000000001"}, []string{stack},
			[]string{"ec2:DisassociateRouteTable " + ec2 + "route-table/rtb-00000000000000001" + tagged}},
		{"ec2", "AuthorizeSecurityGroupIngress", []string{"GroupId", "sg-00000000000000001",
			"IpPermissions.1.Groups.1.GroupId", "sg-00000000000000009"}, nil,
			[]string{"ec2:AuthorizeSecurityGroupIngress " + ec2 + "security-group/sg-00000000000000001"}},
		{"ec2", "EnableSerialConsoleAccess", nil, nil, []string{"ec2:EnableSerialConsoleAccess *"}},
		{"ec2", "RunInstances", []string{"ImageId", "ami-00000000000000001", "InstanceType", "t3.micro",
			"SubnetId", "subnet-00000000000000001", "SecurityGroupId.1", "sg-00000000000000001", "KeyName", "shop",
			"IamInstanceProfile.Name", "goldsmith-shop-web", "TagSpecification.1.ResourceType", "instance",
			"TagSpecification.1.Tag.1.Key", "a", "TagSpecification.1.Tag.1.Value", "b"},
			[]string{"ec2:InstanceType", "ec2:MetadataHttpTokens", "aws:RequestTag/a", "iam:PassedToService",
				"ec2:CreateAction"}, []string{
				"ec2:RunInstances " + ec2 + "instance/* ec2:InstanceType=t3.micro aws:RequestTag/a=b",
				"ec2:RunInstances " + ec2 + "volume/*",
				"ec2:RunInstances " + ec2 + "network-interface/*",
				"ec2:RunInstances arn:aws:ec2:us-east-1::image/ami-00000000000000001",
				"ec2:RunInstances " + ec2 + "key-pair/shop",
				"ec2:RunInstances " + ec2 + "security-group/sg-00000000000000001",
				"ec2:RunInstances " + ec2 + "subnet/subnet-00000000000000001",
				"ec2:CreateTags " + ec2 + "instance/* aws:RequestTag/a=b ec2:CreateAction=RunInstances",
				"iam:PassRole " + profile + " iam:PassedToService=ec2.amazonaws.com",
			}},
		{"autoscaling", "CreateAutoScalingGroup", []string{"AutoScalingGroupName", "new", "Tags.member.1.Key", "k",
			"Tags.member.1.Value", "v", "LaunchTemplate.LaunchTemplateId", "lt-00000000000000001",
			"LaunchTemplate.Version",
			"$Latest"}, []string{"aws:RequestTag/k", "ec2:MetadataHttpTokens", "iam:PassedToService",
			"ec2:CreateAction"},
			[]string{
				"autoscaling:CreateAutoScalingGroup " + arn("autoscaling",
					"autoScalingGroup:1-2:autoScalingGroupName/web") +
					" aws:RequestTag/k=v",
				"ec2:RunInstances " + ec2 + "instance/* ec2:MetadataHttpTokens=required",
				"ec2:RunInstances " + ec2 + "volume/*",
				"ec2:RunInstances " + ec2 + "network-interface/*",
				"ec2:RunInstances " + ec2 + "launch-template/lt-00000000000000001",
				"ec2:RunInstances arn:aws:ec2:us-east-1::image/ami-00000000000000001",
				"ec2:RunInstances " + ec2 + "security-group/sg-00000000000000001",
				"ec2:RunInstances " + ec2 + "subnet/*",
				"ec2:CreateTags " + ec2 + "instance/* ec2:CreateAction=RunInstances",
				"iam:PassRole " + profile + " iam:PassedToService=ec2.amazonaws.com",
			}},
		{"autoscaling", "DescribeAutoScalingGroups", nil, nil, []string{"autoscaling:DescribeAutoScalingGroups *"}},
		{"elasticloadbalancing", "DeleteLoadBalancer", []string{"LoadBalancerArn", "arn:x"}, []string{stack},
			[]string{"elasticloadbalancing:DeleteLoadBalancer arn:x" + tagged}},
		{"elasticloadbalancing", "CreateTargetGroup", []string{"Name", "web", "Tags.member.1.Key", "k",
			"Tags.member.1.Value", "v"}, []string{"aws:RequestTag/k", "elasticloadbalancing:CreateAction"}, []string{
			"elasticloadbalancing:CreateTargetGroup " + arn("elasticloadbalancing", "targetgroup/web/*") +
				" aws:RequestTag/k=v",
			"elasticloadbalancing:AddTags " + arn("elasticloadbalancing", "targetgroup/web/*") +
				" aws:RequestTag/k=v elasticloadbalancing:CreateAction=CreateTargetGroup",
		}},
		{"iam", "CreateRole", []string{"RoleName", "r", "Path", "/p/", "PermissionsBoundary", "arn:b",
			"Tags.member.1.Key", "k",
			"Tags.member.1.Value", "v"}, []string{"iam:PermissionsBoundary", "aws:TagKeys"}, []string{
			"iam:CreateRole arn:aws:iam::123456789012:role/p/r iam:PermissionsBoundary=arn:b aws:TagKeys=k",
			"iam:TagRole arn:aws:iam::123456789012:role/p/r aws:TagKeys=k",
		}},
		{"iam", "PutRolePolicy", []string{"RoleName", "r", "PolicyName", "p"},
			[]string{"iam:PermissionsBoundary", "aws:ResourceTag/team"}, []string{"iam:PutRolePolicy " + profile +
				" iam:PermissionsBoundary=arn:aws:iam::123456789012:policy/limit aws:ResourceTag/team=a"}},
		{"iam", "AttachRolePolicy", []string{"RoleName", "r", "PolicyArn", "arn:p"}, []string{"iam:PolicyARN"},
			[]string{"iam:AttachRolePolicy " + profile + " iam:PolicyARN=arn:p"}},
		{"iam", "GetRole", []string{"RoleName", "r"}, []string{"iam:PermissionsBoundary"},
			[]string{"iam:GetRole " + profile + " iam:PermissionsBoundary=arn:aws:iam::123456789012:policy/limit"}},
		{"iam", "TagRole", []string{"RoleName", "r"}, []string{"iam:PermissionsBoundary"}, []string{"iam:TagRole " +
			profile}},
		{"iam", "AddRoleToInstanceProfile", []string{"RoleName", "r", "InstanceProfileName", "p"},
			[]string{"iam:PassedToService"}, []string{
				"iam:AddRoleToInstanceProfile arn:aws:iam::123456789012:instance-profile/p",
				"iam:PassRole " + profile + " iam:PassedToService=ec2.amazonaws.com",
			}},
		{"iam", "ListRoles", nil, nil, []string{"iam:ListRoles arn:aws:iam::123456789012:role/"}},
		{"iam", "CreatePolicy", []string{"PolicyName", "p"}, nil,
			[]string{"iam:CreatePolicy arn:aws:iam::123456789012:policy/p"}},
		{"iam", "CreateAccessKey", nil, nil, []string{"iam:CreateAccessKey arn:aws:iam::123456789012:user/john"}},
		{"iam", "CreateServiceLinkedRole", []string{"AWSServiceName", "autoscaling.amazonaws.com"},
			[]string{"iam:AWSServiceName"}, []string{"iam:CreateServiceLinkedRole arn:aws:iam::123456789012:role/" +
				"aws-service-role/autoscaling.amazonaws.com/* iam:AWSServiceName=autoscaling.amazonaws.com"}},
		{"sts", "GetCallerIdentity", nil, nil, nil},
		{"sts", "AssumeRole", []string{"RoleArn", profile, "ExternalId", "7"}, []string{"sts:ExternalId"},
			[]string{"sts:AssumeRole " + profile + " sts:ExternalId=7"}},
	} {
		call := awsquery.NewCall(c.service, c.action, c.parameters...)
		call.Caller.ARN = "arn:aws:iam::123456789012:user/john"
		got, err := m.Requests(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, r := range got {
			texts = append(texts, text(r, c.keys))
		}
		if !slices.Equal(texts, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.action, strings.Join(texts, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// ssmCall is a call of Parameter Store's.
func ssmCall(t *testing.T, action string, members map[string]any) *awsquery.Call {
	t.Helper()
	body, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return &awsquery.Call{Service: "ssm", Method: http.MethodPost, Path: "/", Body: body, Header: http.Header{
		"X-Amz-Target": {"AmazonSSM." + action}}}
}

// TestRequestsForParameters has the names of parameters, and the key of those that are encrypted.
func TestRequestsForParameters(t *testing.T) {
	m := NewMapper(newClient(t, resourcesThere(t)))
	const at = "arn:aws:ssm:us-east-1:123456789012:parameter/goldsmith/shop"
	decrypt := func(action string) string {
		return "kms:" + action +
			" arn:aws:kms:us-east-1:123456789012:alias/aws/ssm kms:ViaService=ssm.us-east-1.amazonaws.com" +
			" kms:EncryptionContext:PARAMETER_ARN=" + at + "/secret granted"
	}
	for _, c := range []struct {
		action  string
		members map[string]any
		want    []string
	}{
		{"GetParameter", map[string]any{"Name": "/goldsmith/shop/a"}, []string{"ssm:GetParameter " + at + "/a"}},
		{"GetParameter", map[string]any{"Name": "/goldsmith/shop/a", "WithDecryption": true},
			[]string{"ssm:GetParameter " + at + "/a"}},
		{"GetParameter", map[string]any{"Name": "/goldsmith/shop/secret", "WithDecryption": true},
			[]string{"ssm:GetParameter " + at + "/secret", decrypt("Decrypt")}},
		{"GetParameters", map[string]any{"Names": []string{"/goldsmith/shop/a", "/goldsmith/shop/b:3"}},
			[]string{"ssm:GetParameters " + at + "/a", "ssm:GetParameters " + at + "/b"}},
		{"GetParametersByPath", map[string]any{"Path": "/goldsmith/shop/", "Recursive": true},
			[]string{"ssm:GetParametersByPath " + at + "/"}},
		{"PutParameter", map[string]any{"Name": "/goldsmith/shop/secret", "Type": "SecureString",
			"Tags": []any{map[string]string{"Key": "k", "Value": "v"}}}, []string{"ssm:PutParameter " + at + "/secret",
			"ssm:AddTagsToResource " + at + "/secret", decrypt("Encrypt")}},
		{"AddTagsToResource", map[string]any{"ResourceType": "Parameter", "ResourceId": "/goldsmith/shop/a"},
			[]string{"ssm:AddTagsToResource " + at + "/a"}},
		{"DescribeParameters", nil, []string{"ssm:DescribeParameters *"}},
		{"CreateDocument", map[string]any{"Name": "d"}, []string{"ssm:CreateDocument *"}},
	} {
		got, err := m.Requests(t.Context(), ssmCall(t, c.action, c.members))
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, r := range got {
			texts = append(texts, text(r, []string{"kms:ViaService", "kms:EncryptionContext:PARAMETER_ARN"}))
		}
		if !slices.Equal(texts, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.action, strings.Join(texts, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestRequestsForBlocks(t *testing.T) {
	m := NewMapper(newClient(t, resourcesThere(t)))
	const at = " arn:aws:ec2:us-east-1::snapshot/snap-00000000000000001"
	for _, c := range [][3]string{
		{"POST", "/snapshots", "ebs:StartSnapshot arn:aws:ec2:us-east-1::snapshot/*"},
		{"PUT", "/snapshots/snap-00000000000000001/blocks/7", "ebs:PutSnapshotBlock" + at},
		{"GET", "/snapshots/snap-00000000000000001/blocks/7?blockToken=x", "ebs:GetSnapshotBlock" + at},
		{"GET", "/snapshots/snap-00000000000000001/blocks", "ebs:ListSnapshotBlocks" + at},
		{"POST", "/snapshots/completion/snap-00000000000000001", "ebs:CompleteSnapshot" + at},
	} {
		got, err := m.Requests(t.Context(), &awsquery.Call{Service: "ebs", Method: c[0], Path: c[1]})
		if err != nil || len(got) != 1 || text(got[0], nil) != c[2] {
			t.Errorf("%s %s: %v, %v, want %s", c[0], c[1], got, err, c[2])
		}
	}
}
