package stack

import "encoding/json"

// operatorActions are what the builder and this package call, by what they are for.
var operatorActions = []struct {
	Sid     string
	Actions []string
}{
	{"Look", []string{"ec2:DescribeAddresses", "ec2:DescribeAvailabilityZones", "ec2:DescribeImageAttribute",
		"ec2:DescribeImages", "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeInstances",
		"ec2:DescribeInternetGateways", "ec2:DescribeKeyPairs",
		"ec2:DescribeNatGateways", "ec2:DescribeNetworkInterfaces", "ec2:DescribeRegions", "ec2:DescribeRouteTables",
		"ec2:DescribeSecurityGroups", "ec2:DescribeSnapshots", "ec2:DescribeSpotPriceHistory",
		"ec2:DescribeSubnets", "ec2:DescribeVolumes", "ec2:DescribeVpcAttribute", "ec2:DescribeVpcs",
		"ec2:GetConsoleOutput", "ec2:GetSubnetCidrReservations"}},
	{"Bake", []string{"ec2:AuthorizeSecurityGroupIngress", "ec2:CopyImage", "ec2:CreateImage",
		"ec2:CreateSecurityGroup", "ec2:CreateSnapshot", "ec2:CreateTags",
		"ec2:DeleteKeyPair", "ec2:DeleteSecurityGroup", "ec2:DeleteSnapshot", "ec2:DeleteTags", "ec2:DeregisterImage",
		"ec2:DisableImageDeregistrationProtection", "ec2:EnableImageDeprecation",
		"ec2:EnableImageDeregistrationProtection", "ec2:ImportKeyPair", "ec2:ModifyImageAttribute",
		"ec2:ModifyInstanceAttribute", "ec2:ModifySnapshotAttribute", "ec2:RegisterImage", "ec2:RunInstances",
		"ec2:StartInstances", "ec2:StopInstances", "ec2:TerminateInstances"}},
	{"Network", []string{"ec2:AllocateAddress", "ec2:AssociateRouteTable", "ec2:AttachInternetGateway",
		"ec2:CreateInternetGateway", "ec2:CreateNatGateway", "ec2:CreateRoute",
		"ec2:CreateRouteTable", "ec2:CreateSubnet", "ec2:CreateSubnetCidrReservation", "ec2:CreateVpc", "ec2:DeleteInternetGateway",
		"ec2:DeleteNatGateway", "ec2:DeleteRouteTable", "ec2:DeleteSubnet", "ec2:DeleteSubnetCidrReservation",
		"ec2:DeleteVpc", "ec2:DetachInternetGateway", "ec2:DisassociateRouteTable", "ec2:ModifySubnetAttribute",
		"ec2:ModifyVpcAttribute", "ec2:ReleaseAddress",
		"ec2:AuthorizeSecurityGroupEgress", "ec2:ReplaceRoute", "ec2:ReplaceRouteTableAssociation",
		"ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress"}},
	{"Redeploy", []string{"ec2:AssignPrivateIpAddresses", "ec2:AssociateAddress", "ec2:AttachVolume",
		"ec2:CreateVolume", "ec2:DeleteVolume", "ec2:DetachVolume", "ec2:DisassociateAddress", "ec2:ModifyVolume"}},
	{"Group", []string{"autoscaling:CancelInstanceRefresh", "autoscaling:CreateAutoScalingGroup",
		"autoscaling:CreateOrUpdateTags", "autoscaling:DeleteAutoScalingGroup",
		"autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeInstanceRefreshes",
		"autoscaling:DescribeScalingActivities", "autoscaling:ResumeProcesses",
		"autoscaling:RollbackInstanceRefresh",
		"autoscaling:StartInstanceRefresh", "autoscaling:SuspendProcesses", "autoscaling:UpdateAutoScalingGroup",
		"ec2:CreateLaunchTemplate", "ec2:CreateLaunchTemplateVersion", "ec2:DeleteLaunchTemplate",
		"ec2:DescribeLaunchTemplateVersions", "elasticloadbalancing:AddTags", "elasticloadbalancing:CreateListener",
		"elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup",
		"elasticloadbalancing:DeleteLoadBalancer", "elasticloadbalancing:DeleteTargetGroup",
		"elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeTargetGroups",
		"elasticloadbalancing:DescribeTargetHealth",
		"elasticloadbalancing:ModifyLoadBalancerAttributes", "elasticloadbalancing:ModifyTargetGroupAttributes"}},
}

// OperatorPolicy is the IAM policy, as JSON, of whoever bakes images and runs stacks. What can be held to the stacks'
// own roles and parameters is.
func OperatorPolicy() ([]byte, error) {
	var statements []any
	for _, group := range operatorActions {
		statements = append(statements, map[string]any{
			"Sid":      group.Sid,
			"Effect":   "Allow",
			"Action":   group.Actions,
			"Resource": "*",
		})
	}
	roles := []string{"arn:aws:iam::*:role/goldsmith-*", "arn:aws:iam::*:instance-profile/goldsmith-*"}
	statements = append(statements,
		map[string]any{"Sid": "Parameters", "Effect": "Allow", "Resource": "arn:aws:ssm:*:*:parameter/goldsmith/*",
			"Action": []string{"ssm:AddTagsToResource", "ssm:DeleteParameter", "ssm:DeleteParameters",
				"ssm:GetParameter", "ssm:GetParametersByPath", "ssm:PutParameter"}},
		map[string]any{
			"Sid":      "Roles",
			"Effect":   "Allow",
			"Resource": roles,
			"Action": []string{"iam:AddRoleToInstanceProfile", "iam:CreateInstanceProfile", "iam:CreateRole",
				"iam:DeleteInstanceProfile", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:GetInstanceProfile",
				"iam:GetRolePolicy", "iam:PutRolePolicy", "iam:RemoveRoleFromInstanceProfile",
				"iam:TagInstanceProfile", "iam:TagRole"},
		},
		map[string]any{
			"Sid":      "ServiceRoles",
			"Effect":   "Allow",
			"Resource": "arn:aws:iam::*:role/aws-service-role/*",
			"Action":   "iam:CreateServiceLinkedRole",

			"Condition": map[string]any{
				"StringEquals": map[string]any{
					"iam:AWSServiceName": []string{"autoscaling.amazonaws.com", "elasticloadbalancing.amazonaws.com"},
				},
			},
		},
		map[string]any{"Sid": "PassRoles", "Effect": "Allow", "Resource": roles[0], "Action": "iam:PassRole",
			"Condition": map[string]any{"StringEquals": map[string]string{"iam:PassedToService": "ec2.amazonaws.com"}}})
	return json.MarshalIndent(map[string]any{"Version": "2012-10-17", "Statement": statements}, "", "  ")
}
