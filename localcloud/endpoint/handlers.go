package endpoint

import (
	"maps"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/ec2"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/scaling"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/vpc"
)

// handlersOf are, by service and action, who answers the calls that are more than a record. Services that are not here
// are moto's alone.
func (s *Server) handlersOf(network *vpc.VPC, compute *ec2.EC2,
	scaled *scaling.Scaling) map[string]map[string]awsquery.Handler {
	calls := map[string]awsquery.Handler{"DescribeRegions": s.describeRegions}
	for _, resource := range []map[string]awsquery.Handler{
		compute.Handlers(),
		network.Handlers(),
		scaled.Templates.Handlers(),
	} {
		maps.Copy(calls, resource)
	}
	return map[string]map[string]awsquery.Handler{
		"ec2":                  calls,
		"autoscaling":          scaled.Groups.Handlers(),
		"elasticloadbalancing": scaled.Balancers.Handlers(),
		"iam":                  s.keys.IAMHandlers(),
		"sts":                  s.keys.STSHandlers(),
	}
}
