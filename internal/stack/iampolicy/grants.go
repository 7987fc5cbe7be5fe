package iampolicy

// scope is the set of resources of an account that a grant is limited to.
type scope int

const (
	// anything is for actions that only look, that make something new, or that IAM cannot hold to a tag, as their
	// resources have none or they have no resource at all (Service Authorization Reference).
	anything scope = iota
	// tagged is for changing and ending resources with Goldsmith's tags.
	tagged
	// tagging gives tags: to a resource that is just made, and to one of Goldsmith's. Else who may tag might end all.
	tagging
	groups       // Auto Scaling groups, by name
	parameters   // by name
	roleLooks    // roles and instance profiles, by name
	roleNames    // those that are made and removed
	boundedRoles // those, where they can be given rights
	passRole     // roles that are passed to EC2
	serviceRoles // roles that services make for themselves
	keys         // KMS keys, as EC2 uses them for who asks for a volume or an image
)

// grant are actions that some may do. who has a letter for each of them: b bakes, d deploys, s sets a stack up and ends
// it, r reads.
type grant struct {
	who     string
	on      scope
	actions []string
	// group says that it is for tiers that Auto Scaling groups keep, network that it is for networks of Goldsmith's
	// own.
	group, network bool
}

// grants are the IAM actions of all calls in the code, and the others that those calls need: see implied.
var grants = []grant{
	{
		who: "bdsr",
		on:  anything,
		actions: []string{
			"ec2:DescribeAddresses",
			"ec2:DescribeImages",
			"ec2:DescribeInstances",
			"ec2:DescribeInternetGateways",
			"ec2:DescribeKeyPairs",
			"ec2:DescribeNatGateways",
			"ec2:DescribeRouteTables",
			"ec2:DescribeSecurityGroups",
			"ec2:DescribeSnapshots",
			"ec2:DescribeSubnets",
			"ec2:DescribeVolumes",
			"ec2:DescribeVpcAttribute",
			"ec2:DescribeVpcs",
			"ec2:GetConsoleOutput",
		},
	},
	{who: "bds", on: anything, actions: []string{"ec2:DescribeInstanceTypes", "servicequotas:GetServiceQuota"}},
	{who: "dsr", on: anything, actions: []string{"ec2:DescribeAvailabilityZones", "ec2:DescribeInstanceTypeOfferings",
		"ec2:DescribeNetworkInterfaces", "ec2:GetSubnetCidrReservations"}},

	{who: "b", on: anything, actions: []string{"ec2:CopyImage", "ec2:CreateImage", "ec2:CreateSecurityGroup",
		"ec2:DescribeImageAttribute", "ec2:DescribeRegions", "ec2:DescribeSpotPriceHistory", "ec2:ImportKeyPair",
		"ec2:RegisterImage", "ec2:RunInstances"}},
	{who: "b", on: tagged, actions: []string{"ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteKeyPair",
		"ec2:DeleteSecurityGroup", "ec2:DeleteSnapshot", "ec2:DeleteTags", "ec2:DeleteVolume", "ec2:DeregisterImage",
		"ec2:DisableImageDeregistrationProtection", "ec2:EnableImageDeprecation",
		"ec2:EnableImageDeregistrationProtection", "ec2:ModifyImageAttribute", "ec2:ModifyInstanceAttribute",
		"ec2:ModifySnapshotAttribute", "ec2:StopInstances", "ec2:TerminateInstances"}},
	{who: "b", on: anything, actions: []string{"iam:ListRoles"}},
	{who: "b", on: roleLooks, actions: []string{"iam:ListInstanceProfilesForRole", "iam:ListRolePolicies"}},
	{who: "b", on: boundedRoles, actions: []string{"iam:CreateRole", "iam:DeleteRolePolicy", "iam:PutRolePolicy"}},
	{who: "b", on: roleNames, actions: []string{"iam:AddRoleToInstanceProfile", "iam:CreateInstanceProfile",
		"iam:DeleteInstanceProfile", "iam:DeleteRole", "iam:RemoveRoleFromInstanceProfile", "iam:TagInstanceProfile",
		"iam:TagRole"}},

	{who: "d", on: anything, actions: []string{"ec2:AllocateAddress", "ec2:CreateSnapshot", "ec2:CreateVolume",
		"ec2:ImportKeyPair", "ec2:RunInstances"}},
	{who: "d", on: tagged, actions: []string{"ec2:AssignPrivateIpAddresses", "ec2:AssociateAddress",
		"ec2:AttachVolume", "ec2:AuthorizeSecurityGroupEgress",
		"ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSnapshot", "ec2:DeleteVolume", "ec2:DetachVolume",
		"ec2:DisassociateAddress", "ec2:ModifyVolume", "ec2:ReleaseAddress", "ec2:RevokeSecurityGroupEgress",
		"ec2:RevokeSecurityGroupIngress",
		"ec2:StartInstances", "ec2:StopInstances", "ec2:TerminateInstances"}},
	{who: "d", on: anything, group: true, actions: []string{"ec2:CreateLaunchTemplate",
		"elasticloadbalancing:AddTags", "elasticloadbalancing:CreateListener",
		"elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"}},
	{who: "dr", on: anything, group: true, actions: []string{"autoscaling:DescribeAutoScalingGroups",
		"autoscaling:DescribeInstanceRefreshes", "autoscaling:DescribeScalingActivities",
		"ec2:DescribeLaunchTemplateVersions", "elasticloadbalancing:DescribeLoadBalancers",
		"elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth"}},
	{who: "d", on: tagged, group: true, actions: []string{"ec2:CreateLaunchTemplateVersion", "ec2:DeleteLaunchTemplate",
		"elasticloadbalancing:DeleteLoadBalancer", "elasticloadbalancing:DeleteTargetGroup",
		"elasticloadbalancing:ModifyLoadBalancerAttributes", "elasticloadbalancing:ModifyTargetGroupAttributes"}},
	{who: "d", on: groups, group: true, actions: []string{"autoscaling:CancelInstanceRefresh",
		"autoscaling:CreateAutoScalingGroup", "autoscaling:CreateOrUpdateTags", "autoscaling:DeleteAutoScalingGroup",
		"autoscaling:ResumeProcesses", "autoscaling:RollbackInstanceRefresh", "autoscaling:StartInstanceRefresh",
		"autoscaling:SuspendProcesses", "autoscaling:UpdateAutoScalingGroup"}},

	{who: "s", on: anything, network: true, actions: []string{"ec2:AllocateAddress", "ec2:AttachInternetGateway",
		"ec2:CreateInternetGateway", "ec2:CreateNatGateway", "ec2:CreateRouteTable", "ec2:CreateSubnet",
		"ec2:CreateSubnetCidrReservation", "ec2:CreateVpc", "ec2:DeleteSubnetCidrReservation"}},
	{who: "s", on: tagged, network: true, actions: []string{
		"ec2:AssociateRouteTable",
		"ec2:CreateRoute",
		"ec2:DeleteInternetGateway",
		"ec2:DeleteNatGateway",
		"ec2:DeleteRouteTable",
		"ec2:DeleteSubnet",
		"ec2:DeleteVpc",
		"ec2:DetachInternetGateway",
		"ec2:DisassociateRouteTable",
		"ec2:ModifySubnetAttribute",
		"ec2:ModifyVpcAttribute",
		"ec2:ReleaseAddress",
		"ec2:ReplaceRoute",
		"ec2:ReplaceRouteTableAssociation",
	}},
	{who: "s", on: anything, actions: []string{"ec2:CreateSecurityGroup"}},
	{who: "s", on: tagged, actions: []string{"ec2:DeleteKeyPair", "ec2:DeleteSecurityGroup"}},
	{who: "s", on: boundedRoles, actions: []string{"iam:CreateRole", "iam:DeleteRolePolicy", "iam:PutRolePolicy"}},
	{who: "s", on: roleNames, actions: []string{"iam:AddRoleToInstanceProfile", "iam:CreateInstanceProfile",
		"iam:DeleteInstanceProfile", "iam:DeleteRole", "iam:RemoveRoleFromInstanceProfile", "iam:TagInstanceProfile",
		"iam:TagRole"}},

	{who: "bds", on: tagging, actions: []string{"ec2:CreateTags"}},
	{who: "bdsr", on: parameters, actions: []string{"ssm:GetParameter", "ssm:GetParametersByPath"}},
	{who: "bds", on: parameters, actions: []string{"ssm:AddTagsToResource", "ssm:DeleteParameter",
		"ssm:DeleteParameters", "ssm:PutParameter"}},
	{who: "bdsr", on: roleLooks, actions: []string{"iam:GetInstanceProfile", "iam:GetRolePolicy"}},
	{who: "bd", on: passRole, actions: []string{"iam:PassRole"}},
	{who: "bs", on: serviceRoles, actions: []string{"iam:CreateServiceLinkedRole"}},
	{who: "bd", on: keys, actions: []string{"kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey",
		"kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"}},
}

// Reason is why an action is granted that no call of the code's is named for; empty is for one that is called.
func Reason(action string) string { return implied[action] }

// implied are actions that no call of the code's is named for, and why they are needed.
var implied = map[string]string{
	"iam:PassRole": "EC2 and Auto Scaling give an instance its role for who may pass it (IAM User Guide, Grant a " +
		"user permissions to pass a role to an AWS service)",
	"iam:TagRole":            "CreateRole with tags (API reference of CreateRole)",
	"iam:TagInstanceProfile": "CreateInstanceProfile with tags (API reference of CreateInstanceProfile)",
	"iam:CreateServiceLinkedRole": "the first spot instance, group and load balancer of an account (EC2, Auto " +
		"Scaling and Elastic Load Balancing User Guides, service-linked roles)",
	"elasticloadbalancing:AddTags": "balancers and target groups are made with tags (Elastic Load Balancing User " +
		"Guide, Tag resources during creation)",
	"kms:CreateGrant": "volumes and images with a key of one's own (EBS User Guide, Permissions to use KMS keys; so " +
		"are the other actions of KMS)",
	"kms:Decrypt":                         "see kms:CreateGrant",
	"kms:DescribeKey":                     "see kms:CreateGrant",
	"kms:GenerateDataKeyWithoutPlaintext": "see kms:CreateGrant",
	"kms:ReEncryptFrom":                   "see kms:CreateGrant",
	"kms:ReEncryptTo":                     "see kms:CreateGrant",
}
