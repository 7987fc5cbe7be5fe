package ec2

import (
	"context"
	"fmt"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// changeTags tags one resource after the other, so that the journal can forget one without the others.
func (s *Instances) changeTags(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	resources := c.List("ResourceId")
	if len(resources) == 0 {
		return s.moto.Forward(ctx, c)
	}
	for _, resource := range resources {
		if _, err := s.moto.Forward(ctx, c.With("ResourceId", resource)); err != nil {
			return nil, err
		}
		if record, ok := s.records.Instance(resource); ok && record.MetadataTags && record.State != "terminated" {
			if err := s.metadata.Refresh(ctx, resource); err != nil {
				return nil, err
			}
		}
	}
	return awsquery.Done(c.Action()), nil
}

// splitTags takes the tags of one kind of resource out of a call, as parameters of CreateTags: moto cannot take those
// of an image's snapshots and of an instance's network interface with the call.
func splitTags(c *awsquery.Call, kind string) (rest *awsquery.Call, tags []string) {
	rest = c.Clone()
	rest.Drop("TagSpecification.")
	kept := 0
	for i := 1; c.Get(fmt.Sprintf("TagSpecification.%d.ResourceType", i)) != ""; i++ {
		prefix := fmt.Sprintf("TagSpecification.%d.", i)
		if c.Get(prefix+"ResourceType") != kind {
			kept++
			for name, values := range c.Form {
				if tail, ok := strings.CutPrefix(name, prefix); ok {
					rest.Form[fmt.Sprintf("TagSpecification.%d.%s", kept, tail)] = values
				}
			}
			continue
		}
		for n := 1; c.Get(fmt.Sprintf("%sTag.%d.Key", prefix, n)) != ""; n++ {
			for _, part := range []string{"Key", "Value"} {
				tags = append(tags, fmt.Sprintf("Tag.%d.%s", n, part),
					c.Get(fmt.Sprintf("%sTag.%d.%s", prefix, n, part)))
			}
		}
	}
	return rest, tags
}
