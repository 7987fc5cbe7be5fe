package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// handler answers an EC2 call that is more than a record.
type handler func(*Server, context.Context, *awsquery.Call) (*awsquery.Node, error)

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

// networkAction matches the names of calls after which the network is another.
var networkAction = regexp.MustCompile(`Vpc|Subnet|Route|Gateway|SecurityGroup|Address|NetworkInterface`)

func (s *Server) answer(ctx context.Context, c *awsquery.Call) (*awsquery.Answer, error) {
	own, ok := owned[c.Service]
	if ok && c.Action() == "" {
		// The server behind would read more than the form, and find an action that was never looked at here.
		return nil, awsquery.Fault("MissingAction", "The request is missing an action: it is a form with an Action")
	}
	if c.Service == "ec2" {
		if dry, err := c.DryRun(); dry || err != nil {
			return nil, cmp.Or(err, s.dryRun(ctx, c))
		}
	}
	if !c.Reads() {
		// A change that has begun is brought to its end, also if the client goes away.
		ctx = context.WithoutCancel(ctx)
		s.change.Lock()
		defer s.change.Unlock()
	}
	if !ok {
		a, err := s.passThrough(ctx, c)
		if c.Service == "ebs" {
			a = numberBlocks(a)
		}
		return a, err
	}
	ctx, made := collecting(ctx)
	a, err := s.answerOwn(ctx, c, own[c.Action()])
	var unreal *unrealError
	if errors.As(err, &unreal) && !c.Reads() {
		err = errors.Join(err, s.takeBackCalls(ctx, *made))
	}
	return a, err
}

// answerOwn is for the services of which some calls are more than a record.
func (s *Server) answerOwn(ctx context.Context, c *awsquery.Call, handle handler) (*awsquery.Answer, error) {
	if handle == nil {
		return s.passThroughOwn(ctx, c)
	}
	root, err := handle(s, ctx, c)
	if err != nil {
		return nil, err
	}
	return &awsquery.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/xml;charset=UTF-8"}}, Body: root.Bytes()}, nil
}

// passThroughOwn is for actions that are a record only, or change no more than the network.
func (s *Server) passThroughOwn(ctx context.Context, c *awsquery.Call) (*awsquery.Answer, error) {
	a, err := s.passThrough(ctx, c)
	if err != nil || !a.OK() || c.Reads() || c.Service != "ec2" || !networkAction.MatchString(c.Action()) {
		return a, err
	}
	if err := s.applyNetwork(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// changeTags tags one resource after the other, so that the journal can forget one without the others.
func (s *Server) changeTags(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	resources := c.List("ResourceId")
	if len(resources) == 0 {
		return s.forward(ctx, c)
	}
	for _, resource := range resources {
		if _, err := s.forward(ctx, c.With("ResourceId", resource)); err != nil {
			return nil, err
		}
		if record, ok := s.instance(resource); ok && record.MetadataTags && record.State != "terminated" {
			if err := s.refreshMetadata(ctx, resource); err != nil {
				return nil, err
			}
		}
	}
	return awsquery.Done(c.Action()), nil
}

var quotedBlock = regexp.MustCompile(`"BlockIndex":\s*"(\d+)"`)

// numberBlocks makes numbers of the block indexes of EBS direct, which the server behind gives as strings.
func numberBlocks(a *awsquery.Answer) *awsquery.Answer {
	if a == nil || !strings.Contains(a.Header.Get("Content-Type"), "json") {
		return a
	}
	a.Body = quotedBlock.ReplaceAll(a.Body, []byte(`"BlockIndex": $1`))
	return a
}
