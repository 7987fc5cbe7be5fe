package api

import (
	"maps"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// handlersOf are, by service and action, who answers the calls that are more than a record. Services that are not here
// are moto's alone.
func (s *Server) handlersOf(network *VPC, compute *EC2, scaled *Scaling) map[string]map[string]awsquery.Handler {
	ec2 := map[string]awsquery.Handler{"DescribeRegions": s.describeRegions}
	for _, resource := range []map[string]awsquery.Handler{
		compute.Handlers(),
		network.Handlers(),
		scaled.Templates.Handlers(),
	} {
		maps.Copy(ec2, resource)
	}
	return map[string]map[string]awsquery.Handler{
		"ec2":                  ec2,
		"autoscaling":          scaled.Groups.Handlers(),
		"elasticloadbalancing": scaled.Balancers.Handlers(),
		"iam":                  s.keys.IAMHandlers(),
		"sts":                  s.keys.STSHandlers(),
	}
}
