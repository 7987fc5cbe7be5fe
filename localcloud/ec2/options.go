package ec2

import (
	"context"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// metadataOptions describes how an instance's metadata service may be used.
func metadataOptions(name string, record records.Instance) *awsquery.Node {
	choose := func(condition bool, yes, no string) string {
		if condition {
			return yes
		}
		return no
	}
	return awsquery.Element(name, awsquery.Text("state", "applied"),
		awsquery.Text("httpTokens", choose(record.TokensRequired, "required", "optional")),
		awsquery.Text("httpPutResponseHopLimit", "1"),
		awsquery.Text("httpEndpoint", choose(record.MetadataDisabled, "disabled", "enabled")),
		awsquery.Text("httpProtocolIpv6", "disabled"),
		awsquery.Text("instanceMetadataTags", choose(record.MetadataTags, "enabled", "disabled")))
}

// modifyMetadataOptions is answered here alone: moto knows nothing of these options.
func (s *Instances) modifyMetadataOptions(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("InstanceId")
	if err := s.records.InStates([]string{id}, "modified", "pending", "running", "stopping", "stopped"); err != nil {
		return nil, err
	}
	err := s.records.ChangeInstance(id, func(record *records.Instance) {
		for name, option := range map[string]struct {
			is  *bool
			set string
		}{
			"HttpTokens":           {&record.TokensRequired, "required"},
			"HttpEndpoint":         {&record.MetadataDisabled, "disabled"},
			"InstanceMetadataTags": {&record.MetadataTags, "enabled"},
		} {
			if value := c.Get(name); value != "" {
				*option.is = value == option.set
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if err := s.metadata.Refresh(ctx, id); err != nil {
		return nil, err
	}
	record, _ := s.records.Instance(id)
	return awsquery.Reply("ModifyInstanceMetadataOptions", awsquery.Text("instanceId", id),
		metadataOptions("instanceMetadataOptions", record)), nil
}
