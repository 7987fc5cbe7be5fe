package ec2

import (
	"context"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
)

// Offerings tells which instance types each place has. They are AWS's own as moto has them: us-east-1e has no t3.
type Offerings struct{ moto *moto.Client }

// Handlers answer the calls of EC2 for offerings.
func (o *Offerings) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{"DescribeInstanceTypeOfferings": o.describe}
}

var offeringFilters = map[string]string{"instance-type": "instanceType", "location": "location"}

// locationTypes are those of EC2 of which there is something here.
var locationTypes = []string{"", "region", "availability-zone", "availability-zone-id"}

// describe applies the filters here, as moto takes their values literally, and gives pages as EC2 does.
func (o *Offerings) describe(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	if kind := c.Get("LocationType"); !slices.Contains(locationTypes, kind) {
		return nil, awsquery.Fault(apierror.InvalidValue, kind, "locationType")
	}
	rest, filters, err := awsquery.TakeFilters(c, offeringFilters)
	if err != nil {
		return nil, err
	}
	rest.Drop("MaxResults", "NextToken")
	described, err := o.moto.Ask(ctx, rest)
	if err != nil {
		return nil, err
	}
	offered := filters.Keep(described.Items("instanceTypeOfferingSet"))
	page, next, err := pageOf(offered, c.Get("MaxResults"), c.Get("NextToken"), func(item *awsquery.Node) string {
		return item.Get("instanceType") + "@" + item.Get("location")
	})
	if err != nil {
		return nil, err
	}
	reply := awsquery.Reply("DescribeInstanceTypeOfferings", awsquery.Element("instanceTypeOfferingSet", page...))
	if next != "" {
		reply.Set(next, "nextToken")
	}
	return reply, nil
}
