// Package quotas compares what some work needs with what an account has left of its quotas, before anything is made. It
// only warns: quotas are raised while a build waits, instances end, and who may not look them up may launch.
package quotas

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/smithy-go"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

// quota is one of an account's in a region, by the codes that Service Quotas has for it.
type quota struct{ service, code, name, unit string }

// "Amazon EC2 endpoints and quotas" and "Amazon VPC quotas".
var (
	vcpuQuota    = quota{"ec2", "L-1216C47A", "Running On-Demand Standard instances", "vCPUs"}
	addressQuota = quota{"ec2", "L-0263D0A3", "EC2-VPC Elastic IPs", "elastic IPs"}
	vpcQuota     = quota{"vpc", "L-F678F1CE", "VPCs per Region", "VPCs"}
)

// standard are the types that vcpuQuota is for: of the families A, C, D, H, I, M, R, T and Z.
var standard = regexp.MustCompile(`^(a|c|d|h|i|im|is|m|r|t|z)\d`)

// lookLimit is how long the quotas may take: in a network without a way to Service Quotas nobody answers at all.
const lookLimit = 10 * time.Second

// Account is one in one region.
type Account struct {
	ec2    *ec2.Client
	quotas *servicequotas.Client
}

// Open is the account of a configuration.
func Open(conf aws.Config) *Account {
	return &Account{ec2: ec2.NewFromConfig(conf), quotas: servicequotas.NewFromConfig(conf)}
}

// ForInstances are warnings where there is no room for what work launches on demand: sets of instances, by their types,
// one set after the other. what is the work, for people.
func (a *Account) ForInstances(ctx context.Context, what string, sets ...[]string) []string {
	var launched [][]types.InstanceType
	for _, set := range sets {
		var counted []types.InstanceType
		for _, kind := range set {
			if standard.MatchString(kind) {
				counted = append(counted, types.InstanceType(kind))
			}
		}
		launched = append(launched, counted)
	}
	kinds := slices.Concat(launched...)
	if len(kinds) == 0 {
		return nil
	}
	return a.compare(ctx, vcpuQuota, what, func(ctx context.Context) (used, needed int, err error) {
		running, err := a.running(ctx)
		if err != nil {
			return 0, 0, err
		}
		known, err := a.vcpusOf(ctx, slices.Concat(running, kinds))
		if err != nil {
			return 0, 0, err
		}
		for _, set := range launched {
			needed = max(needed, total(known, set))
		}
		return total(known, running), needed, nil
	})
}

// ForNetwork are warnings where there is no room for so many more VPCs and elastic IPs.
func (a *Account) ForNetwork(ctx context.Context, what string, vpcs, addresses int) []string {
	var all []string
	if vpcs > 0 {
		all = append(all, a.compare(ctx, vpcQuota, what, func(ctx context.Context) (int, int, error) {
			there, err := ec2ops.VPCs(ctx, a.ec2, &ec2.DescribeVpcsInput{})
			return len(there), vpcs, err
		})...)
	}
	if addresses > 0 {
		all = append(all, a.compare(ctx, addressQuota, what, func(ctx context.Context) (int, int, error) {
			out, err := a.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{})
			if err != nil {
				return 0, 0, err
			}
			return len(out.Addresses), addresses, nil
		})...)
	}
	return all
}

// compare asks for a quota, and for what is used and needed of it.
func (a *Account) compare(
	ctx context.Context, q quota, what string, count func(context.Context) (used, needed int, err error),
) []string {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	most, err := a.value(ctx, q)
	if awserr.Is(err, apierror.NoSuchResource) {
		return nil // the region has no such quota
	}
	var used, needed int
	if err == nil {
		used, needed, err = count(ctx)
	}
	if err != nil {
		return []string{fmt.Sprintf("whether the account has room for this was not checked: quota %s, %s: %s", q.code,
			q.name, cause(err))}
	}
	if left := max(0, most-used); left < needed {
		return []string{fmt.Sprintf("the account has room for %d of the %d %s that %s needs: "+
			"its quota is %d (%s, %s), of which %d are in use; ask for more in Service Quotas",
			left, needed, q.unit, what, most, q.code, q.name, used)}
	}
	return nil
}

// cause is the code and message of AWS's error, without the SDK's text about the call.
func cause(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return err.Error()
}

// value is a quota's: the account's own, or AWS's default.
func (a *Account) value(ctx context.Context, q quota) (int, error) {
	out, err := a.quotas.GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{
		ServiceCode: aws.String(q.service),
		QuotaCode:   aws.String(q.code),
	})
	if err != nil {
		return 0, err
	}
	if out.Quota == nil || out.Quota.Value == nil {
		return 0, errors.New("the answer has no value")
	}
	return int(*out.Quota.Value), nil
}

// running are the types of the instances that count: they run, on demand, or are about to.
func (a *Account) running(ctx context.Context) ([]types.InstanceType, error) {
	all, err := ec2ops.Instances(ctx, a.ec2, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		ec2ops.Filter("instance-state-name", "pending", "running", "stopping"),
	}})
	var found []types.InstanceType
	for _, i := range all {
		if i.InstanceLifecycle == "" && standard.MatchString(string(i.InstanceType)) {
			found = append(found, i.InstanceType)
		}
	}
	return found, err
}

// vcpusOf are the vCPUs that instances of these types have, by type.
func (a *Account) vcpusOf(ctx context.Context, kinds []types.InstanceType) (map[types.InstanceType]int, error) {
	slices.Sort(kinds)
	out, err := a.ec2.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: slices.Compact(kinds)})
	if err != nil {
		return nil, err
	}
	known := map[types.InstanceType]int{}
	for _, described := range out.InstanceTypes {
		if described.VCpuInfo != nil {
			known[described.InstanceType] = int(aws.ToInt32(described.VCpuInfo.DefaultVCpus))
		}
	}
	return known, nil
}

func total(known map[types.InstanceType]int, kinds []types.InstanceType) (n int) {
	for _, kind := range kinds {
		n += known[kind]
	}
	return n
}
