package scaling

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// templateData is the beginning of the names of a launch template's parameters. Behind it they are those of
// RunInstances.
const templateData = "LaunchTemplateData."

// Templates answers the calls for launch templates.
type Templates struct {
	moto    *moto.Client
	records *records.Store
}

// Handlers answer the calls of EC2 for launch templates that are more than a record.
func (t *Templates) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"CreateLaunchTemplate":        t.create,
		"CreateLaunchTemplateVersion": t.createVersion,
		"DeleteLaunchTemplate":        t.delete,
	}
}

// create keeps what a template says as RunInstances takes it: moto leaves parts of it out.
func (t *Templates) create(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := t.moto.Forward(ctx, withoutOwnTags(c))
	if err != nil {
		return nil, err
	}
	id := answered.Get("launchTemplate", "launchTemplateId")
	return answered, t.records.Update(func(o *records.State) {
		o.Templates[id] = map[string]url.Values{"1": dataOf(
			c)}
	})
}

func (t *Templates) createVersion(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := t.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	made := answered.At("launchTemplateVersion")
	id, version := made.Get("launchTemplateId"), made.Get("versionNumber")
	return answered, t.records.Update(func(o *records.State) {
		if o.Templates[id] == nil {
			o.Templates[id] = map[string]url.Values{}
		}
		data := dataOf(c)
		for name, value := range o.Templates[id][c.Get("SourceVersion")] {
			if _, given := data[name]; !given {
				data[name] = value
			}
		}
		o.Templates[id][version] = data
	})
}

// absent is EC2's error for a launch template that is not there, and what it names.
func absent(id, name string) (missing *apierror.Row, wanted string) {
	if id != "" {
		return apierror.InvalidLaunchTemplateIDNotFound, id
	}
	return apierror.InvalidLaunchTemplateNameNotFound, name
}

func (t *Templates) delete(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	if found, err := t.find(ctx, c, ""); err != nil && found.ID == "" {
		missing, wanted := absent(c.Get("LaunchTemplateId"), c.Get("LaunchTemplateName"))
		return nil, awsquery.Fault(missing, wanted)
	}
	answered, err := t.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, t.records.Update(func(o *records.State) {
		delete(o.Templates,
			answered.Get("launchTemplate", "launchTemplateId"))
	})
}

// dataOf are the parameters of a launch that a template holds.
func dataOf(c *awsquery.Call) url.Values {
	data := url.Values{}
	for name, value := range c.Form {
		if rest, ok := strings.CutPrefix(name, templateData); ok {
			data[rest] = value
		}
	}
	return data
}

// withoutOwnTags is a call whose template has no tags for what it launches where the template itself has some: moto
// takes only one of the two. They are kept here.
func withoutOwnTags(c *awsquery.Call) *awsquery.Call {
	c = c.Clone()
	c.Drop(templateData + "TagSpecification.")
	return c
}

// find reads the template that parameters beginning with prefix name, by id or by name.
func (t *Templates) find(ctx context.Context, c *awsquery.Call, prefix string) (records.Template, error) {
	question := awsquery.NewCall("ec2", "DescribeLaunchTemplates")
	id, name := c.Get(prefix+"LaunchTemplateId"), c.Get(prefix+"LaunchTemplateName")
	described, err := t.moto.Ask(ctx, question)
	if err != nil {
		return records.Template{}, err
	}
	for _, item := range described.Items("launchTemplates") {
		if id != "" && item.Get("launchTemplateId") != id || id == "" && item.Get("launchTemplateName") != name {
			continue
		}
		found := records.Template{
			ID:      item.Get("launchTemplateId"),
			Name:    item.Get("launchTemplateName"),
			Version: c.Get(prefix + "Version"),
		}
		switch found.Version {
		case "", "$Default":
			found.Version = item.Get("defaultVersionNumber")
		case "$Latest":
			found.Version = item.Get("latestVersionNumber")
		}
		if _, err := strconv.Atoi(found.Version); err != nil || t.records.TemplateValues(found) == nil {
			return found, awsquery.Fault(apierror.LaunchTemplateInvalid,
				apierror.InvalidLaunchTemplateNoVersion.Text(found.Version, found.ID))
		}
		return found, nil
	}
	missing, wanted := absent(id, name)
	return records.Template{}, awsquery.Fault(apierror.LaunchTemplateInvalid, missing.Text(wanted))
}
