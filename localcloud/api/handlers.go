package api

// balancerHandlers answer calls of Elastic Load Balancing; others go to the server behind.
var balancerHandlers = map[string]handler{
	"CreateLoadBalancer":          (*Server).createBalancer,
	"DeleteLoadBalancer":          (*Server).deleteBalancer,
	"CreateTargetGroup":           (*Server).createTargetGroup,
	"ModifyTargetGroupAttributes": (*Server).modifyTargetGroup,
	"DeleteTargetGroup":           (*Server).deleteTargetGroup,
	"CreateListener":              (*Server).createListener,
	"DeleteListener":              (*Server).deleteListener,
	"DescribeTargetHealth":        (*Server).describeTargetHealth,
}

// securityTokenHandlers answer calls of STS. Its temporary keys are made here, as the server behind makes ones that can
// be guessed.
var securityTokenHandlers = map[string]handler{
	"GetCallerIdentity":         (*Server).getCallerIdentity,
	"AssumeRole":                (*Server).assumeRole,
	"GetSessionToken":           (*Server).getSessionToken,
	"GetFederationToken":        (*Server).noSuchToken,
	"AssumeRoleWithWebIdentity": (*Server).noSuchToken,
	"AssumeRoleWithSAML":        (*Server).noSuchToken,
	"AssumeRoot":                (*Server).noSuchToken,
}

// identityHandlers answer the calls of IAM after which another key is good.
var identityHandlers = map[string]handler{
	"CreateAccessKey": (*Server).createAccessKey,
	"UpdateAccessKey": (*Server).updateAccessKey,
	"DeleteAccessKey": (*Server).deleteAccessKey,
	"DeleteUser":      (*Server).deleteUser,
}

var handlers = map[string]handler{
	"RunInstances":                         (*Server).runInstances,
	"StartInstances":                       (*Server).startInstances,
	"StopInstances":                        (*Server).stopInstances,
	"RebootInstances":                      (*Server).rebootInstances,
	"TerminateInstances":                   (*Server).terminateInstances,
	"DescribeInstances":                    (*Server).describeInstances,
	"DescribeInstanceStatus":               (*Server).describeInstanceStatus,
	"GetConsoleOutput":                     (*Server).getConsoleOutput,
	"ModifyInstanceAttribute":              (*Server).modifyInstanceAttribute,
	"ModifyInstanceMetadataOptions":        (*Server).modifyMetadataOptions,
	"CreateImage":                          (*Server).createImage,
	"DeregisterImage":                      (*Server).deregisterImage,
	"DescribeImages":                       (*Server).describeImages,
	"ModifyImageAttribute":                 (*Server).modifyImageAttribute,
	"EnableImageDeprecation":               (*Server).enableImageDeprecation,
	"DisableImageDeprecation":              (*Server).disableImageDeprecation,
	"EnableImageDeregistrationProtection":  (*Server).enableProtection,
	"DisableImageDeregistrationProtection": (*Server).disableProtection,
	"ModifySnapshotAttribute":              (*Server).modifySnapshotAttribute,
	"DescribeRegions":                      (*Server).describeRegions,
	"CreateSnapshot":                       (*Server).createSnapshot,
	"DeleteSnapshot":                       (*Server).deleteSnapshot,
	"DescribeSnapshots":                    (*Server).describeSnapshots,
	"CreateVolume":                         (*Server).createVolume,
	"DeleteVolume":                         (*Server).deleteVolume,
	"AttachVolume":                         (*Server).attachVolume,
	"DetachVolume":                         (*Server).detachVolume,
	"ModifyVolume":                         (*Server).modifyVolume,
	"AllocateAddress":                      (*Server).allocateAddress,
	"AssociateAddress":                     (*Server).associateAddress,
	"DisassociateAddress":                  (*Server).disassociateAddress,
	"ReleaseAddress":                       (*Server).releaseAddress,
	"DescribeAddresses":                    (*Server).describeAddresses,
	"AssignPrivateIpAddresses":             (*Server).assignPrivateIPAddresses,
	"UnassignPrivateIpAddresses":           (*Server).unassignPrivateIPAddresses,
	"DescribeNatGateways":                  (*Server).describeNatGateways,
	"DeleteNatGateway":                     (*Server).deleteNatGateway,
	"DescribeNetworkInterfaces":            (*Server).describeNetworkInterfaces,
	"CreateNetworkInterface":               (*Server).createNetworkInterface,
	"ModifyNetworkInterfaceAttribute":      (*Server).modifyNetworkInterface,
	"AttachNetworkInterface":               (*Server).oneInterface,
	"DetachNetworkInterface":               (*Server).oneInterface,
	"DeleteSecurityGroup":                  (*Server).deleteSecurityGroup,
	"AuthorizeSecurityGroupIngress":        (*Server).authorizeRules,
	"AuthorizeSecurityGroupEgress":         (*Server).authorizeRules,
	"RevokeSecurityGroupIngress":           (*Server).revokeRules,
	"RevokeSecurityGroupEgress":            (*Server).revokeRules,
	"DeleteSubnet":                         (*Server).deleteSubnet,
	"CreateVpc":                            (*Server).createVpc,
	"DeleteVpc":                            (*Server).deleteVpc,
	"CreateKeyPair":                        (*Server).createKeyPair,
	"ImportKeyPair":                        (*Server).importKeyPair,
	"DeleteKeyPair":                        (*Server).deleteKeyPair,
	"DescribeKeyPairs":                     (*Server).describeKeyPairs,
	"CreateTags":                           (*Server).changeTags,
	"DeleteTags":                           (*Server).changeTags,
	"CreateLaunchTemplate":                 (*Server).createLaunchTemplate,
	"CreateLaunchTemplateVersion":          (*Server).createLaunchTemplateVersion,
	"DeleteLaunchTemplate":                 (*Server).deleteLaunchTemplate,
}

// owned are the services of which some calls are more than a record.
var owned = map[string]map[string]handler{
	"ec2":                  handlers,
	"autoscaling":          groupHandlers,
	"elasticloadbalancing": balancerHandlers,
	"iam":                  identityHandlers,
	"sts":                  securityTokenHandlers,
}

// groupHandlers answer calls of Auto Scaling; others go to the server behind.
var groupHandlers = map[string]handler{
	"CreateAutoScalingGroup":              (*Server).createGroup,
	"UpdateAutoScalingGroup":              (*Server).updateGroup,
	"SetDesiredCapacity":                  (*Server).updateGroup,
	"DeleteAutoScalingGroup":              (*Server).deleteGroup,
	"DescribeAutoScalingGroups":           (*Server).describeGroups,
	"DescribeAutoScalingInstances":        (*Server).describeMembers,
	"TerminateInstanceInAutoScalingGroup": (*Server).terminateMember,
	"StartInstanceRefresh":                (*Server).startRefresh,
	"DescribeInstanceRefreshes":           (*Server).describeRefreshes,
	"RollbackInstanceRefresh":             (*Server).endRefresh,
	"CancelInstanceRefresh":               (*Server).endRefresh,
}
