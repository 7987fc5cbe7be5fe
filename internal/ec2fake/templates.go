package ec2fake

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
)

var templateOperations = resource.Join(
	resource.Op(createLaunchTemplate), resource.Op(createLaunchTemplateVersion),
	resource.Op(describeLaunchTemplates), resource.Op(describeLaunchTemplateVersions),
	resource.Op(deleteLaunchTemplate),
)

// template is a launch template by its id or its name.
func (c *compute) template(id, name *string) (*types.LaunchTemplate, error) {
	for _, row := range c.templates.Rows {
		if row.ID == aws.ToString(id) || id == nil && aws.ToString(row.Value.LaunchTemplateName) == aws.ToString(name) {
			return row.Value, nil
		}
	}
	if id != nil {
		return nil, Err(apierror.InvalidLaunchTemplateIDNotFound, *id)
	}
	return nil, Err(apierror.InvalidLaunchTemplateNameNotFound, aws.ToString(name))
}

func createLaunchTemplate(r *Region, in *ec2.CreateLaunchTemplateInput) (*ec2.CreateLaunchTemplateOutput, error) {
	if _, err := r.compute.template(nil, in.LaunchTemplateName); err == nil {
		return nil, Err(apierror.InvalidTemplateNameExists)
	}
	made := r.compute.templates.Create("lt", types.ResourceTypeLaunchTemplate, in.TagSpecifications,
		func(id string) *types.LaunchTemplate {
			return &types.LaunchTemplate{
				LaunchTemplateId:     aws.String(id),
				LaunchTemplateName:   in.LaunchTemplateName,
				DefaultVersionNumber: aws.Int64(1),
				LatestVersionNumber:  aws.Int64(0),
				CreateTime:           aws.Time(time.Now()),
			}
		})
	if _, err := r.compute.addVersion(made, in.VersionDescription, in.LaunchTemplateData); err != nil {
		return nil, err
	}
	return &ec2.CreateLaunchTemplateOutput{LaunchTemplate: made}, nil
}

func (c *compute) addVersion(
	template *types.LaunchTemplate,
	description *string,
	wanted *types.RequestLaunchTemplateData,
) (*types.LaunchTemplateVersion, error) {
	// What is asked for and what is described are two types with fields of the same names.
	text, err := json.Marshal(wanted)
	if err != nil {
		return nil, err
	}
	data := &types.ResponseLaunchTemplateData{}
	if err := json.Unmarshal(text, data); err != nil {
		return nil, err
	}
	template.LatestVersionNumber = aws.Int64(*template.LatestVersionNumber + 1)
	made := types.LaunchTemplateVersion{
		LaunchTemplateId:   template.LaunchTemplateId,
		LaunchTemplateName: template.LaunchTemplateName,
		VersionNumber:      aws.Int64(*template.LatestVersionNumber),
		VersionDescription: description,
		LaunchTemplateData: data,
		CreateTime:         aws.Time(time.Now()),
	}
	id := *template.LaunchTemplateId
	c.versions[id] = append(c.versions[id], made)
	return &made, nil
}

func createLaunchTemplateVersion(
	r *Region, in *ec2.CreateLaunchTemplateVersionInput,
) (*ec2.CreateLaunchTemplateVersionOutput, error) {
	template, err := r.compute.template(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	made, err := r.compute.addVersion(template, in.VersionDescription, in.LaunchTemplateData)
	return &ec2.CreateLaunchTemplateVersionOutput{LaunchTemplateVersion: made}, err
}

func describeLaunchTemplates(
	r *Region, in *ec2.DescribeLaunchTemplatesInput,
) (*ec2.DescribeLaunchTemplatesOutput, error) {
	found, err := r.compute.templates.Describe(in.LaunchTemplateIds, in.Filters)
	if err != nil {
		return nil, err
	}
	for _, name := range in.LaunchTemplateNames {
		if _, err = r.compute.template(nil, aws.String(name)); err != nil {
			return nil, err
		}
	}
	found = slices.DeleteFunc(found, func(t types.LaunchTemplate) bool {
		return len(in.LaunchTemplateNames) > 0 &&
			!slices.Contains(in.LaunchTemplateNames, aws.ToString(t.LaunchTemplateName))
	})
	return &ec2.DescribeLaunchTemplatesOutput{LaunchTemplates: found}, err
}

func describeLaunchTemplateVersions(
	r *Region, in *ec2.DescribeLaunchTemplateVersionsInput,
) (*ec2.DescribeLaunchTemplateVersionsOutput, error) {
	template, err := r.compute.template(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeLaunchTemplateVersionsOutput{}
	for _, version := range in.Versions {
		found, err := r.compute.templateVersion(template, version)
		if err != nil {
			return nil, err
		}
		out.LaunchTemplateVersions = append(out.LaunchTemplateVersions, *found)
	}
	if len(in.Versions) == 0 {
		out.LaunchTemplateVersions = slices.Clone(r.compute.versions[*template.LaunchTemplateId])
	}
	return out, nil
}

func (c *compute) templateVersion(
	template *types.LaunchTemplate, version string,
) (*types.LaunchTemplateVersion, error) {
	all := c.versions[*template.LaunchTemplateId]
	number, err := strconv.Atoi(version)
	switch version {
	case "$Latest":
		number, err = len(all), nil
	case "$Default":
		number, err = int(*template.DefaultVersionNumber), nil
	}
	if err != nil || number < 1 || number > len(all) {
		return nil, Err(apierror.InvalidLaunchTemplateNoVersion, version, *template.LaunchTemplateId)
	}
	return &all[number-1], nil
}

func deleteLaunchTemplate(r *Region, in *ec2.DeleteLaunchTemplateInput) (*ec2.DeleteLaunchTemplateOutput, error) {
	template, err := r.compute.template(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	r.compute.templates.Remove(*template.LaunchTemplateId)
	return &ec2.DeleteLaunchTemplateOutput{LaunchTemplate: template}, nil
}

// launchOf is the launch that a template's version asks for.
func launchOf(data *types.ResponseLaunchTemplateData, subnet string) *ec2.RunInstancesInput {
	input := &ec2.RunInstancesInput{
		ImageId:      data.ImageId,
		InstanceType: data.InstanceType,
		KeyName:      data.KeyName,
		UserData:     data.UserData,
		SubnetId:     aws.String(subnet),
		MinCount:     aws.Int32(1),
		MaxCount:     aws.Int32(1),
	}
	if p := data.IamInstanceProfile; p != nil {
		input.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: p.Name}
	}
	for _, spec := range data.TagSpecifications {
		input.TagSpecifications = append(input.TagSpecifications,
			types.TagSpecification{ResourceType: spec.ResourceType, Tags: spec.Tags})
	}
	for _, eni := range data.NetworkInterfaces {
		input.NetworkInterfaces = append(input.NetworkInterfaces, types.InstanceNetworkInterfaceSpecification{
			DeviceIndex:              eni.DeviceIndex,
			Groups:                   eni.Groups,
			SubnetId:                 aws.String(subnet),
			AssociatePublicIpAddress: eni.AssociatePublicIpAddress,
		})
	}
	return input
}
