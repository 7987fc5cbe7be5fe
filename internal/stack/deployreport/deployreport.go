package stack

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

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/report"
)

// NoReport, as the report's file of a deployment, is for none.
const NoReport = "none"

// reportsKept is how many reports of a stack stay in their usual place.
const reportsKept = 30

// lookLimit is how long it may take to look at the network for the report. A deployment whose API is gone waits no longer.
const lookLimit = 15 * time.Second

// reportsPath is the directory of reports whose file nobody named, beside the keys.
func reportsPath(stack string) (string, error) {
	key, err := KeyPath(stack)
	return filepath.Join(filepath.Dir(key), "reports"), err
}

// leaveReport writes the report of a deployment that has ended, and returns its path. One that cannot be written is
// no reason for a deployment to fail.
func (r *rollout) leaveReport(ctx context.Context, reason error) string {
	if r.observer == nil {
		return ""
	}
	page := reportOf(r.name, r.record, reason)
	r.observer.end(&page)
	limited, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	var missing error
	if page.From.Name, missing = r.releaseOf(limited, r.record.From); missing == nil {
		page.Topology, missing = r.topology(limited)
	}
	if missing != nil {
		page.Topology.Incomplete = missing.Error()
		r.say("warning: the report's picture of the network is incomplete: %v", missing)
	}
	path, err := writeReport(r.name, r.d.Report, page)
	if err != nil {
		r.say("warning: the report of this deployment: %v", err)
	}
	return path
}

// releaseOf is the release that images were deployed as, or empty.
func (s *Stack) releaseOf(ctx context.Context, images Images) (string, error) {
	if images.Release != "" || images == (Images{}) {
		return images.Release, nil
	}
	records, err := s.History(ctx)
	for _, r := range records {
		if r.To.Database == images.Database && r.To.Web == images.Web && r.To.Release != "" {
			return r.To.Release, nil
		}
	}
	return "", err
}

// reportOf is what a record says.
func reportOf(stack string, record Record, reason error) report.Report {
	page := report.Report{Stack: stack, ID: record.ID, Kind: record.Kind, Who: record.Who, Started: record.Started, Ended: record.Ended, Result: record.Result,
		From: report.Release{Name: record.From.Release, Database: record.From.Database, Web: record.From.Web}, To: report.Release{Name: record.To.Release, Database: record.To.Database, Web: record.To.Web}}
	if reason != nil {
		page.Reason = reason.Error()
	}
	for _, step := range record.Steps {
		s := report.Step{Name: step.Name, Tier: tierOf(step.Name), Started: record.Started.Add(time.Duration(step.At) * time.Millisecond),
			Took: time.Duration(step.Took) * time.Millisecond, Result: "ok"}
		if step.Failed {
			s.Result = "failed"
		}
		if step.Name == "snapshot" && !step.Failed {
			s.Detail = record.Snapshot
		}
		page.Steps = append(page.Steps, s)
	}
	return page
}

// tierOf is the tier that a step is about, or empty where it is about the stack.
func tierOf(step string) string {
	words := strings.Fields(step)
	switch {
	case slices.Contains(words, "db"), slices.Contains([]string{"snapshot", "make the volume of a snapshot", "detach", "attach"}, step):
		return "db"
	case slices.Contains(words, "web"), slices.Contains([]string{"load balancer and group", "instance refresh", "https from outside", "drain"}, step):
		return "web"
	}
	return ""
}

// topology is the network and what runs in it, as far as the API tells, with what this deployment launched and replaced.
func (r *rollout) topology(ctx context.Context) (report.Topology, error) {
	n, err := r.FindNetwork(ctx)
	if err != nil {
		return report.Topology{}, err
	}
	var t report.Topology
	return t, errors.Join(r.lookAtInstances(ctx, n, &t), r.lookAtSubnets(ctx, n, &t), r.lookAtGateways(ctx, n, &t), r.lookAtGroups(ctx, n, &t))
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

func (r *rollout) lookAtSubnets(ctx context.Context, n Network, t *report.Topology) error {
	if n.VPC == "" {
		return nil
	}
	t.VPC.ID = n.VPC
	vpcs, err := r.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{n.VPC}})
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
	subnets, err := r.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: ids})
	if err != nil {
		return fmt.Errorf("look at the subnets: %w", err)
	}
	for _, id := range ids { // the public one is drawn first
		for _, s := range subnets.Subnets {
			if aws.ToString(s.SubnetId) == id {
				t.Subnets = append(t.Subnets, report.Subnet{ID: id, Name: tagOf(s.Tags, "Name"), CIDR: aws.ToString(s.CidrBlock), Public: id == n.Public || aws.ToBool(s.MapPublicIpOnLaunch)})
			}
		}
	}
	return nil
}

func (r *rollout) lookAtGateways(ctx context.Context, n Network, t *report.Topology) error {
	if n.Gateway != "" {
		t.Gateways = append(t.Gateways, report.Gateway{Kind: "internet", ID: n.Gateway})
	}
	if n.NAT == "" {
		return nil
	}
	nats, err := r.ec2.DescribeNatGateways(ctx, &ec2.DescribeNatGatewaysInput{NatGatewayIds: []string{n.NAT}})
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

func (r *rollout) lookAtGroups(ctx context.Context, n Network, t *report.Topology) error {
	ids := known(n.WebGroup, n.DatabaseSG)
	if len(ids) == 0 {
		return nil
	}
	groups, err := r.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: ids})
	if err != nil {
		return fmt.Errorf("look at the security groups: %w", err)
	}
	for _, id := range ids {
		for _, g := range groups.SecurityGroups {
			if aws.ToString(g.GroupId) == id {
				t.Groups = append(t.Groups, report.Group{ID: id, Name: aws.ToString(g.GroupName), Rules: ingress(g.IpPermissions)})
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

// lookAtInstances are those that run, and those that ended in this deployment: EC2 remembers them for an hour, but neither
// where they were nor their addresses.
func (r *rollout) lookAtInstances(ctx context.Context, n Network, t *report.Topology) error {
	before := map[string]Instance{}
	for _, i := range r.old {
		before[i.ID] = i
	}
	for _, i := range r.launched {
		before[i.ID] = i
	}
	for pages := ec2.NewDescribeInstancesPaginator(r.ec2, &ec2.DescribeInstancesInput{Filters: r.mine()}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("look at the instances: %w", err)
		}
		for _, reservation := range page.Reservations {
			for _, i := range reservation.Instances {
				tier, id := tagOf(i.Tags, tierTag), aws.ToString(i.InstanceId)
				if tier != "" && (i.State == nil || i.State.Name != types.InstanceStateNameTerminated || before[id].ID != "") {
					t.Instances = append(t.Instances, r.drawn(n, i, instanceOf(i, tier), before[id]))
				}
			}
		}
	}
	slices.SortFunc(t.Instances, func(a, b report.Instance) int { return strings.Compare(a.Tier+a.ID, b.Tier+b.ID) })
	return nil
}

// drawn is an instance as the report shows it; before is what was known of it while it ran.
func (r *rollout) drawn(n Network, raw types.Instance, i, before Instance) report.Instance {
	ended := i.State == string(types.InstanceStateNameTerminated) || i.State == string(types.InstanceStateNameShuttingDown)
	private := []string{cmp.Or(i.Private, before.Private)}
	if i.Role == serving && !ended {
		private = append(private, i.service)
	}
	d := report.Instance{ID: i.ID, Name: tagOf(raw.Tags, "Name"), Tier: i.Tier, Image: i.Image, State: i.State, Subnet: aws.ToString(raw.SubnetId),
		Private: strings.Join(known(private...), ", "), Public: i.Public,
		New: i.deploy == r.result.ID, Serving: i.Role == serving && !ended}
	for _, g := range raw.SecurityGroups {
		d.Groups = append(d.Groups, aws.ToString(g.GroupId))
	}
	subnet, group := n.Public, n.WebGroup
	if i.Tier == "db" {
		subnet, group = n.Private, n.DatabaseSG
	}
	d.Subnet = cmp.Or(d.Subnet, subnet)
	if len(d.Groups) == 0 {
		d.Groups = known(group)
	}
	if ended {
		d.Private, d.Public = cmp.Or(before.Private, i.Private), ""
	}
	return d
}

// writeReport writes a report to its file, and returns which that is. Without one it goes to its usual place, where the
// oldest ones make room.
func writeReport(stack, path string, page report.Report) (string, error) {
	dir := ""
	if path == "" {
		var err error
		if dir, err = reportsPath(stack); err == nil {
			err = os.MkdirAll(dir, 0o700)
		}
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, stack+"-"+page.ID+".html")
	}
	if err := replaceFile(path, page); err != nil {
		return "", err
	}
	if dir == "" {
		return path, nil
	}
	return path, forgetReports(dir, stack)
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
func forgetReports(dir, stack string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	mine := regexp.MustCompile(`^` + regexp.QuoteMeta(stack) + `-\d{8}-\d{6}-\d{3}\.html$`)
	var names []string
	for _, e := range entries {
		if mine.MatchString(e.Name()) {
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
