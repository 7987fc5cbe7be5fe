package ec2fake

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	sqtypes "github.com/aws/aws-sdk-go-v2/service/servicequotas/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// fleet launches the instances of Auto Scaling groups.
type fleet struct{ region *Region }

// Launch launches an instance for a group, and returns its id and its launch template with the version.
func (f fleet) Launch(
	from astypes.LaunchTemplateSpecification, subnet, group string,
) (string, astypes.LaunchTemplateSpecification, error) {
	none := astypes.LaunchTemplateSpecification{}
	template, err := f.region.compute.template(from.LaunchTemplateId, from.LaunchTemplateName)
	if err != nil {
		return "", none, err
	}
	version, err := f.region.compute.templateVersion(template, aws.ToString(from.Version))
	if err != nil {
		return "", none, err
	}
	out, err := runInstances(f.region, launchOf(version.LaunchTemplateData, subnet))
	if err != nil {
		return "", none, err
	}
	id := *out.Instances[0].InstanceId
	f.region.store.SetTags(id, time.Time{}, []types.Tag{{
		Key:   aws.String("aws:autoscaling:groupName"),
		Value: aws.String(group),
	}})
	return id, astypes.LaunchTemplateSpecification{
		LaunchTemplateId: template.LaunchTemplateId,
		Version:          aws.String(strconv.FormatInt(*version.VersionNumber, 10)),
	}, nil
}

// Terminate terminates an instance.
func (f fleet) Terminate(id string) error {
	_, err := terminateInstances(f.region, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	return err
}

// Terminated tells whether an instance is.
func (f fleet) Terminated(id string) bool {
	f.region.settle()
	return f.region.compute.instances.Get(id).State.Name == types.InstanceStateNameTerminated
}

// Healthy tells whether an instance is, as the test has it.
func (f fleet) Healthy(id string) bool { return f.region.healthy(id) }

func (r *Region) healthy(id string) bool {
	return r.account.Healthy == nil || r.account.Healthy(*r.compute.instances.Tagged(id))
}

// balanced is the network that load balancers are in.
type balanced struct{ region *Region }

// Subnet is a subnet.
func (b balanced) Subnet(id *string) (*types.Subnet, error) { return b.region.network.subnets.Find(id) }

// Address is an elastic IP.
func (b balanced) Address(id *string) (*types.Address, error) {
	return b.region.compute.addresses.Find(id)
}

// Plug makes an interface in a subnet, with a public address if there is one, whose description begins so.
func (b balanced) Plug(subnet *types.Subnet, address *types.Address, description string) {
	eni := b.region.compute.interfaces.Create("eni", types.ResourceTypeNetworkInterface, nil,
		func(id string) *types.NetworkInterface {
			return &types.NetworkInterface{
				NetworkInterfaceId: aws.String(id),
				SubnetId:           subnet.SubnetId,
				VpcId:              subnet.VpcId,
				Description:        aws.String(description + id),
				Attachment:         &types.NetworkInterfaceAttachment{},
			}
		})
	if address != nil {
		address.AssociationId = aws.String(b.region.store.Numbers.ID("eipassoc"))
		address.NetworkInterfaceId = eni.NetworkInterfaceId
	}
}

// Unplug removes the interfaces whose descriptions begin so.
func (b balanced) Unplug(description string) {
	compute := &b.region.compute
	for _, row := range slices.Clone(compute.interfaces.Rows) {
		if !strings.HasPrefix(aws.ToString(row.Value.Description), description) {
			continue
		}
		compute.interfaces.Remove(row.ID)
		for _, address := range compute.addresses.Rows {
			if aws.ToString(address.Value.NetworkInterfaceId) == row.ID {
				address.Value.AssociationId, address.Value.NetworkInterfaceId = nil, nil
			}
		}
	}
}

// Members are the instances of a target group.
func (b balanced) Members(targetGroup string) []string { return b.region.scaling.Members(targetGroup) }

// Healthy tells whether an instance is, as the test has it.
func (b balanced) Healthy(id string) bool { return b.region.healthy(id) }

func getCallerIdentity(_ *Region, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
	return &sts.GetCallerIdentityOutput{
		Account: aws.String(Number),
		Arn:     aws.String("arn:aws:iam::" + Number + ":user/tester"),
		UserId:  aws.String("AIDAFAKE"),
	}, nil
}

func getServiceQuota(
	r *Region, in *servicequotas.GetServiceQuotaInput,
) (*servicequotas.GetServiceQuotaOutput, error) {
	value, ok := r.account.Quotas[aws.ToString(in.QuotaCode)]
	if !ok {
		return nil, &sqtypes.NoSuchResourceException{Message: in.QuotaCode}
	}
	return &servicequotas.GetServiceQuotaOutput{Quota: &sqtypes.ServiceQuota{
		ServiceCode: in.ServiceCode,
		QuotaCode:   in.QuotaCode,
		Value:       aws.Float64(value),
	}}, nil
}
