// Package deployreport makes the report of a deployment: it probes the service while the deployment goes on, and draws
// what happened, with the network and the instances as they are at the end. It never fails a deployment.
package deployreport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/report"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/login"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
)

// NoReport, as the report's file of a deployment, is for none.
const NoReport = "none"

// reportsKept is how many reports of a stack stay in their usual place.
const reportsKept = 30

// lookLimit is how long it may take to look at the network for the report. A deployment whose API is gone waits no
// longer.
const lookLimit = 15 * time.Second

// reportsPath is the directory of reports whose file nobody named, beside the keys.
func reportsPath(name string) (string, error) {
	key, err := login.KeyPath(name)
	return filepath.Join(filepath.Dir(key), "reports"), err
}

// Deployment is the deployment to report.
type Deployment struct {
	Record record.Record
	// Reason is the error that it ended with; nil if it succeeded.
	Reason error
	// Known are instances of which EC2 may have forgotten where they were: those of before, and those that it launched.
	Known []stack.Instance
	// File is the path of the report. Empty is the usual place, beside the keys; NoReport writes none.
	File string
}

// Leave writes the report of a deployment that has ended, and returns its path. A report that cannot be written is no
// reason for a deployment to fail.
func Leave(ctx context.Context, s *stack.Stack, o *Observer, d Deployment) string {
	if o == nil {
		return ""
	}
	page := reportOf(s, d.Record, d.Reason)
	o.end(&page)
	limited, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	var missing error
	if page.From.Name, missing = releaseOf(limited, s, d.Record.From); missing == nil {
		page.Topology, missing = topology(limited, s, d)
	}
	if missing != nil {
		page.Topology.Incomplete = missing.Error()
		s.Logf("warning: the report's picture of the network is incomplete: %v", missing)
	}
	path, err := writeReport(s.Name, d.File, page)
	if err != nil {
		s.Logf("warning: the report of this deployment: %v", err)
	}
	return path
}

// releaseOf is the release that images were deployed as, or empty.
func releaseOf(ctx context.Context, s *stack.Stack, images record.Images) (string, error) {
	if images.Release != "" || len(images.Tiers) == 0 {
		return images.Release, nil
	}
	records, err := record.History(ctx, s)
	for _, r := range records {
		if r.To.Same(images) && r.To.Release != "" {
			return r.To.Release, nil
		}
	}
	return "", err
}

// reportOf makes a report of a record, without network and health.
func reportOf(s *stack.Stack, r record.Record, reason error) report.Report {
	page := report.Report{
		Stack:   s.Name,
		ID:      r.ID,
		Kind:    r.Kind,
		Who:     r.Who,
		Started: r.Started,
		Ended:   r.Ended,
		Result:  r.Result,
		From:    imagesOf(s, r.From),
		To:      imagesOf(s, r.To),
	}
	if reason != nil {
		page.Reason = reason.Error()
	}
	for _, step := range r.Steps {
		drawn := report.Step{
			Name:    step.Name,
			Tier:    step.Tier,
			Started: r.Started.Add(time.Duration(step.At) * time.Millisecond),
			Took:    time.Duration(step.Took) * time.Millisecond,
			Result:  "ok",
		}
		if step.Failed {
			drawn.Result = "failed"
		}
		if step.ID == plan.Snapshot && !step.Failed {
			drawn.Detail = r.Snapshot
		}
		page.Steps = append(page.Steps, drawn)
	}
	return page
}

// imagesOf are images as the report draws them.
func imagesOf(s *stack.Stack, images record.Images) report.Release {
	drawn := report.Release{Name: images.Release}
	for _, t := range s.Tiers {
		drawn.Images = append(drawn.Images, report.Image{Tier: t.Name, ID: images.Tiers[t.Name]})
	}
	return drawn
}

// topology is the network and what runs in it, as far as the API tells, with what this deployment launched and
// replaced.
func topology(ctx context.Context, s *stack.Stack, d Deployment) (report.Topology, error) {
	n, err := network.Find(ctx, s)
	if err != nil {
		return report.Topology{}, err
	}
	var t report.Topology
	return t, errors.Join(
		addInstances(ctx, s, n, d, &t),
		addSubnets(ctx, s, n, &t),
		addGateways(ctx, s, n, &t),
		addGroups(ctx, s, n, &t))
}

// known are the ids that are not empty, each once. Without any, an API would describe all that there are.
func known(ids ...string) []string {
	var all []string
	for _, id := range ids {
		if id != "" && !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

func addSubnets(ctx context.Context, s *stack.Stack, n network.Network, t *report.Topology) error {
	if n.VPC == "" {
		return nil
	}
	t.VPC.ID = n.VPC
	vpcs, err := s.EC2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{n.VPC}})
	if err != nil {
		return fmt.Errorf("look at VPC %s: %w", n.VPC, err)
	}
	for _, v := range vpcs.Vpcs {
		t.VPC.CIDR = aws.ToString(v.CidrBlock)
	}
	ids := []string{n.Public, n.Private}
	for _, i := range t.Instances {
		ids = append(ids, i.Subnet)
	}
	if ids = known(ids...); len(ids) == 0 {
		return nil
	}
	subnets, err := s.EC2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: ids})
	if err != nil {
		return fmt.Errorf("look at the subnets: %w", err)
	}
	for _, id := range ids { // the public one is drawn first
		for _, found := range subnets.Subnets {
			if aws.ToString(found.SubnetId) != id {
				continue
			}
			t.Subnets = append(t.Subnets, report.Subnet{
				ID:     id,
				Name:   ec2ops.TagValue(found.Tags, stack.NameTag),
				CIDR:   aws.ToString(found.CidrBlock),
				Public: id == n.Public || aws.ToBool(found.MapPublicIpOnLaunch),
			})
		}
	}
	return nil
}

func addGateways(ctx context.Context, s *stack.Stack, n network.Network, t *report.Topology) error {
	if n.Gateway != "" {
		t.Gateways = append(t.Gateways, report.Gateway{Kind: "internet", ID: n.Gateway})
	}
	if n.NAT == "" {
		return nil
	}
	nats, err := s.EC2.DescribeNatGateways(ctx, &ec2.DescribeNatGatewaysInput{NatGatewayIds: []string{n.NAT}})
	if err != nil {
		return fmt.Errorf("look at NAT gateway %s: %w", n.NAT, err)
	}
	for _, nat := range nats.NatGateways {
		g := report.Gateway{Kind: "NAT", ID: aws.ToString(nat.NatGatewayId), Subnet: aws.ToString(nat.SubnetId)}
		for _, address := range nat.NatGatewayAddresses {
			g.Address = cmp.Or(g.Address, aws.ToString(address.PublicIp))
		}
		t.Gateways = append(t.Gateways, g)
	}
	return nil
}

func addGroups(ctx context.Context, s *stack.Stack, n network.Network, t *report.Topology) error {
	var ids []string
	for _, t := range slices.Backward(s.Tiers) {
		ids = append(ids, n.Groups[t.Name])
	}
	ids = known(ids...)
	if len(ids) == 0 {
		return nil
	}
	groups, err := s.EC2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: ids})
	if err != nil {
		return fmt.Errorf("look at the security groups: %w", err)
	}
	for _, id := range ids {
		for _, g := range groups.SecurityGroups {
			if aws.ToString(g.GroupId) == id {
				drawn := report.Group{ID: id, Name: aws.ToString(g.GroupName), Rules: ingress(g.IpPermissions)}
				t.Groups = append(t.Groups, drawn)
			}
		}
	}
	return nil
}

// ingress are the rules that let somebody in, one for each whom they let in, by port.
func ingress(permissions []types.IpPermission) []report.Rule {
	var rules []report.Rule
	for _, p := range permissions {
		r := report.Rule{Protocol: aws.ToString(p.IpProtocol), Port: -1}
		if p.FromPort != nil && *p.FromPort >= 0 {
			r.Port, r.Last = int(*p.FromPort), int(aws.ToInt32(p.ToPort))
		}
		switch {
		case r.Port == 0 && r.Last == 65535:
			r.Port, r.Last = -1, 0
		case r.Last == r.Port:
			r.Last = 0
		}
		add := func(cidr, group, description *string) {
			r.CIDR, r.Group, r.Description = aws.ToString(cidr), aws.ToString(group), aws.ToString(description)
			if r.Description == "goldsmith" { // says who made the rule, and not whom it lets in
				r.Description = ""
			}
			rules = append(rules, r)
		}
		for _, from := range p.IpRanges {
			add(from.CidrIp, nil, from.Description)
		}
		for _, from := range p.Ipv6Ranges {
			add(from.CidrIpv6, nil, from.Description)
		}
		for _, from := range p.PrefixListIds {
			add(from.PrefixListId, nil, from.Description)
		}
		for _, from := range p.UserIdGroupPairs {
			add(nil, from.GroupId, from.Description)
		}
	}
	slices.SortStableFunc(rules, func(a, b report.Rule) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), strings.Compare(a.CIDR, b.CIDR), strings.Compare(a.Group, b.Group))
	})
	return rules
}

// addInstances adds those that run, and those that ended in this deployment: EC2 remembers them for an hour, but
// neither where they were nor their addresses.
func addInstances(
	ctx context.Context, s *stack.Stack, n network.Network, d Deployment, t *report.Topology,
) error {
	before := map[string]stack.Instance{}
	for _, i := range d.Known {
		before[i.ID] = i
	}
	all, err := ec2ops.Instances(ctx, s.EC2, &ec2.DescribeInstancesInput{Filters: s.OwnFilters()})
	if err != nil {
		return fmt.Errorf("look at the instances: %w", err)
	}
	for _, raw := range all {
		tier, id := ec2ops.TagValue(raw.Tags, stack.TierTag), aws.ToString(raw.InstanceId)
		ended := raw.State != nil && raw.State.Name == types.InstanceStateNameTerminated
		if tier != "" && (!ended || before[id].ID != "") {
			t.Instances = append(t.Instances, drawn(s, n, d.Record.ID, raw, before[id]))
		}
	}
	slices.SortFunc(t.Instances, func(a, b report.Instance) int { return strings.Compare(a.Tier+a.ID, b.Tier+b.ID) })
	return nil
}

// drawn is an instance as the report of a deployment shows it; before is its last known state while it ran.
func drawn(s *stack.Stack, n network.Network, deploy string, raw types.Instance,
	before stack.Instance) report.Instance {
	i := stack.InstanceOf(raw, ec2ops.TagValue(raw.Tags, stack.TierTag))
	ended := i.State == string(types.InstanceStateNameTerminated) ||
		i.State == string(types.InstanceStateNameShuttingDown)
	private := []string{cmp.Or(i.Private, before.Private)}
	// The service address of a service tier is its public one.
	if i.Role == stack.Serving && !ended && s.Tier(i.Tier).Kind == stack.DataTier {
		private = append(private, i.Detail.Service)
	}
	d := report.Instance{
		ID:      i.ID,
		Name:    ec2ops.TagValue(raw.Tags, stack.NameTag),
		Tier:    i.Tier,
		Image:   i.Image,
		State:   i.State,
		Subnet:  i.Detail.Subnet,
		Private: strings.Join(known(private...), ", "),
		Public:  i.Public,
		New:     i.Detail.Deploy == deploy,
		Serving: i.Role == stack.Serving && !ended,
	}
	for _, g := range raw.SecurityGroups {
		d.Groups = append(d.Groups, aws.ToString(g.GroupId))
	}
	usual := n.Private
	if s.Tier(i.Tier).Subnet == stack.PublicSubnet {
		usual = n.Public
	}
	d.Subnet = cmp.Or(d.Subnet, usual)
	if len(d.Groups) == 0 {
		d.Groups = known(n.Groups[i.Tier])
	}
	if ended {
		d.Private, d.Public = cmp.Or(before.Private, i.Private), ""
	}
	return d
}

// writeReport writes a report to its file, and returns which that is. Without one it goes to its usual place, where the
// oldest ones make room.
func writeReport(name, path string, page report.Report) (string, error) {
	dir := ""
	if path == "" {
		var err error
		if dir, err = reportsPath(name); err == nil {
			err = os.MkdirAll(dir, 0o700)
		}
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, name+"-"+page.ID+".html")
	}
	if err := replaceFile(path, page); err != nil {
		return "", err
	}
	if dir == "" {
		return path, nil
	}
	return path, forgetReports(dir, name)
}

// replaceFile writes a report so that the file is whole or not there.
func replaceFile(path string, page report.Report) error {
	// What is not a file, a device for example, must not be replaced by one.
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("write %s: it is there and is no regular file", path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".goldsmith-report-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = errors.Join(report.Write(f, page), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}

// forgetReports removes a stack's reports but for the youngest. Ids sort by time.
func forgetReports(dir, name string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	own := regexp.MustCompile(`^` + regexp.QuoteMeta(name) + `-\d{8}-\d{6}-\d{3}\.html$`)
	var names []string
	for _, e := range entries {
		if own.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	var errs []error
	for _, old := range names[:max(0, len(names)-reportsKept)] {
		errs = append(errs, os.Remove(filepath.Join(dir, old)))
	}
	return errors.Join(errs...)
}
