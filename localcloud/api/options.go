package api

import (
	"context"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// metadataOptions describes how an instance's metadata service may be used.
func metadataOptions(name string, record instanceRecord) *awsquery.Node {
	choose := func(condition bool, yes, no string) string {
		if condition {
			return yes
		}
		return no
	}
	return awsquery.Element(name, awsquery.Text("state", "applied"), awsquery.Text("httpTokens", choose(record.TokensRequired, "required", "optional")),
		awsquery.Text("httpPutResponseHopLimit", "1"), awsquery.Text("httpEndpoint", choose(record.MetadataDisabled, "disabled", "enabled")),
		awsquery.Text("httpProtocolIpv6", "disabled"), awsquery.Text("instanceMetadataTags", choose(record.MetadataTags, "enabled", "disabled")))
}

// modifyMetadataOptions is answered here alone: the server behind knows nothing of these options.
func (s *Server) modifyMetadataOptions(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("InstanceId")
	if err := s.inStates([]string{id}, "modified", "pending", "running", "stopping", "stopped"); err != nil {
		return nil, err
	}
	err := s.changeInstance(id, func(record *instanceRecord) {
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
	if err := s.refreshMetadata(ctx, id); err != nil {
		return nil, err
	}
	record, _ := s.instance(id)
	return awsquery.Reply("ModifyInstanceMetadataOptions", awsquery.Text("instanceId", id), metadataOptions("instanceMetadataOptions", record)), nil
}
