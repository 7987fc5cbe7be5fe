package ec2fake

import (
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/balancing"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/identity"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/parameters"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/scaling"
)

// operations are the calls that the account answers, by service and name.
var operations = map[string]resource.Operations[Region]{
	"EC2": resource.Join(
		instanceOperations, interfaceOperations, keyOperations, templateOperations, imageOperations,
		sharingOperations, volumeOperations, vpcOperations, routeOperations, groupOperations, addressOperations,
		regionOperations,
	),
	"IAM":                       in(identity.Operations, func(r *Region) *identity.State { return r.account.identity }),
	"SSM":                       in(parameters.Operations, func(r *Region) *parameters.State { return r.parameters }),
	"STS":                       resource.Op(getCallerIdentity),
	"Service Quotas":            resource.Op(getServiceQuota),
	"Auto Scaling":              in(scaling.Operations, func(r *Region) *scaling.State { return r.scaling }),
	"Elastic Load Balancing v2": in(balancing.Operations, func(r *Region) *balancing.State { return r.balancing }),
}

// in are operations of a service on a region's state of it.
func in[S any](all resource.Operations[S], of func(*Region) *S) resource.Operations[Region] {
	regional := resource.Operations[Region]{}
	for name, do := range all {
		regional[name] = func(r *Region, input any) (any, error) { return do(of(r), input) }
	}
	return regional
}
