package ec2fake

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

var templateOperations = ops(
	op(createLaunchTemplate), op(createLaunchTemplateVersion), op(describeLaunchTemplates),
	op(describeLaunchTemplateVersions), op(deleteLaunchTemplate),
)

// template is a launch template by its id or its name.
func (r *Region) template(id, name *string) (*types.LaunchTemplate, error) {
	for _, row := range r.compute.templates.rows {
		if row.id == aws.ToString(id) || id == nil && aws.ToString(row.value.LaunchTemplateName) == aws.ToString(name) {
			return row.value, nil
		}
	}
	if id != nil {
		return nil, Err("InvalidLaunchTemplateId.NotFound", *id)
	}
	return nil, Err("InvalidLaunchTemplateName.NotFoundException", aws.ToString(name))
}

func createLaunchTemplate(r *Region, in *ec2.CreateLaunchTemplateInput) (*ec2.CreateLaunchTemplateOutput, error) {
	if _, err := r.template(nil, in.LaunchTemplateName); err == nil {
		return nil, Err("InvalidLaunchTemplateName.AlreadyExistsException", *in.LaunchTemplateName)
	}
	made := create(r, &r.compute.templates, "lt", types.ResourceTypeLaunchTemplate, in.TagSpecifications,
		func(id string) *types.LaunchTemplate {
			return &types.LaunchTemplate{
				LaunchTemplateId:     aws.String(id),
				LaunchTemplateName:   in.LaunchTemplateName,
				DefaultVersionNumber: aws.Int64(1),
				LatestVersionNumber:  aws.Int64(0),
				CreateTime:           aws.Time(time.Now()),
			}
		})
	if _, err := r.addVersion(made, in.VersionDescription, in.LaunchTemplateData); err != nil {
		return nil, err
	}
	return &ec2.CreateLaunchTemplateOutput{LaunchTemplate: made}, nil
}

func (r *Region) addVersion(
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
	r.compute.versions[id] = append(r.compute.versions[id], made)
	return &made, nil
}

func createLaunchTemplateVersion(
	r *Region, in *ec2.CreateLaunchTemplateVersionInput,
) (*ec2.CreateLaunchTemplateVersionOutput, error) {
	template, err := r.template(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	made, err := r.addVersion(template, in.VersionDescription, in.LaunchTemplateData)
	return &ec2.CreateLaunchTemplateVersionOutput{LaunchTemplateVersion: made}, err
}

func describeLaunchTemplates(
	r *Region, in *ec2.DescribeLaunchTemplatesInput,
) (*ec2.DescribeLaunchTemplatesOutput, error) {
	found, err := describe(r, &r.compute.templates, in.LaunchTemplateIds, in.Filters)
	for _, name := range in.LaunchTemplateNames {
		if _, err := r.template(nil, aws.String(name)); err != nil {
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
	template, err := r.template(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeLaunchTemplateVersionsOutput{}
	for _, version := range in.Versions {
		found, err := r.templateVersion(template, version)
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

func (r *Region) templateVersion(
	template *types.LaunchTemplate, version string,
) (*types.LaunchTemplateVersion, error) {
	all := r.compute.versions[*template.LaunchTemplateId]
	number, err := strconv.Atoi(version)
	switch version {
	case "$Latest":
		number, err = len(all), nil
	case "$Default":
		number, err = int(*template.DefaultVersionNumber), nil
	}
	if err != nil || number < 1 || number > len(all) {
		return nil, Err("InvalidLaunchTemplateId.VersionNotFound", fmt.Sprintf("version %s of %s", version,
			*template.LaunchTemplateId))
	}
	return &all[number-1], nil
}

func deleteLaunchTemplate(r *Region, in *ec2.DeleteLaunchTemplateInput) (*ec2.DeleteLaunchTemplateOutput, error) {
	template, err := r.template(in.LaunchTemplateId, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	r.compute.templates.remove(*template.LaunchTemplateId)
	return &ec2.DeleteLaunchTemplateOutput{LaunchTemplate: template}, nil
}
