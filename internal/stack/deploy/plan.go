package stack

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// Plan is what a deployment would do.
type Plan struct {
	Changes []Change `json:"changes"`
	// Notes are what is to be known besides.
	Notes []string `json:"notes,omitempty"`
}

// Plan tells what a deployment would do, and does nothing. It fails where the deployment would, as far as that can be
// known before.
func (s *Stack) Plan(ctx context.Context, d Deployment) (Plan, error) {
	p := Plan{Changes: []Change{}}
	if err := s.checkScaling(ctx); err != nil {
		return p, err
	}
	release, _, err := s.CurrentRelease(ctx)
	if err != nil {
		return p, err
	}
	w := wants{images: map[string]string{}}
	for tier, asked := range map[string]string{"db": d.DatabaseImage, "web": d.WebImage} {
		if w.images[tier], err = s.findImage(ctx, tier, asked, release); err != nil {
			return p, err
		}
	}
	n, changes, err := s.bringNetwork(ctx, true)
	if err != nil {
		return p, err
	}
	p.Changes = append(p.Changes, changes...)
	for _, plan := range []func(context.Context, *Plan, *wants) error{s.planAccess, s.planAddress, s.planVolume} {
		if err := plan(ctx, &p, &w); err != nil {
			return p, err
		}
	}
	s.completeNetwork(&n)
	if err := s.planTiers(ctx, &p, n, w, d.Replace); err != nil {
		return p, err
	}
	return p, s.planNotes(ctx, &p)
}

// completeNetwork fills in the subnets that are yet to be made.
func (s *Stack) completeNetwork(n *Network) {
	f := s.file.Network
	if f.Existing() {
		return
	}
	for kind, cidr := range map[string]string{"public": f.PublicCIDR.String(), "private": f.PrivateCIDR.String()} {
		if len(n.Subnets[kind]) == 0 {
			n.Subnets[kind] = []Subnet{{CIDR: cidr}}
		}
	}
}

// planAccess looks for what instances need to be entered, and to read their secrets.
func (s *Stack) planAccess(ctx context.Context, p *Plan, _ *wants) error {
	create := func(what string) {
		p.Changes = append(p.Changes, Change{Action: "create", What: what, Reason: missing})
	}
	if _, err := s.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{s.keyName()}}); code(err) == "InvalidKeyPair.NotFound" {
		create("key pair " + s.keyName())
	} else if err != nil {
		return fmt.Errorf("find key pair %s: %w", s.keyName(), err)
	}
	for _, name := range []string{"/db/app_password", "/db/ca"} {
		text, err := s.parameter(ctx, s.parameters()+name)
		if err != nil {
			return err
		}
		if text == "" {
			create("parameter " + s.parameters() + name)
		}
	}
	for _, tier := range slices.Sorted(maps.Keys(readable)) {
		_, err := s.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(s.roleName(tier))})
		if code(err) == "NoSuchEntity" {
			create("role and instance profile " + s.roleName(tier))
		} else if err != nil {
			return fmt.Errorf("find instance profile %s: %w", s.roleName(tier), err)
		}
	}
	return nil
}

func (s *Stack) planAddress(ctx context.Context, p *Plan, w *wants) error {
	found, err := s.webAddress(ctx)
	if err != nil {
		return err
	}
	if found == nil {
		p.Changes = append(p.Changes, Change{Action: "create", What: "elastic IP of the page", Reason: missing})
		return nil
	}
	w.address = aws.ToString(found.PublicIp)
	return nil
}

func (s *Stack) planVolume(ctx context.Context, p *Plan, w *wants) error {
	v, err := s.dataVolume(ctx)
	if err != nil {
		return err
	}
	if v == nil {
		wanted := s.file.Database.DataVolume
		p.Changes = append(p.Changes, Change{Action: "create", What: fmt.Sprintf("data volume of %d GiB, %s", wanted.Size, wanted.Type), Reason: missing})
		return nil
	}
	w.volume, w.zone = aws.ToString(v.VolumeId), aws.ToString(v.AvailabilityZone)
	different, err := s.volumeDifferences(v)
	if len(different) > 0 {
		p.Changes = append(p.Changes, Change{Action: "change", What: "data volume", ID: w.volume, Reason: "its " + strings.Join(different, ", its ")})
	}
	return err
}

func (s *Stack) planTiers(ctx context.Context, p *Plan, n Network, w wants, asked []string) error {
	all, err := s.Instances(ctx)
	if err != nil {
		return err
	}
	old := map[string]Instance{"db": servingOf(all, "db"), "web": servingOf(all, "web")}
	group, web, err := s.groupAsOld(ctx, all, old["web"])
	if err != nil {
		return err
	}
	old["web"] = web
	changes, err := s.tierChanges(n, w, old, asked)
	if err != nil {
		return err
	}
	for _, tier := range []string{"db", "web"} {
		c := changes[tier]
		what := fmt.Sprintf("%s instance of %s", tier, c.image)
		switch {
		case tier == "web" && s.scaled():
			s.planGroup(p, group, c)
		case c.old.ID == "":
			p.Changes = append(p.Changes, Change{Action: "create", What: what, Reason: c.reason})
		case c.replace:
			p.Changes = append(p.Changes, Change{Action: "replace", What: what, ID: c.old.ID, Reason: c.reason})
		default:
			if missing := missingTags(c.old.tags, tagList(s.moreTags(tier)...)); len(missing) > 0 {
				p.Changes = append(p.Changes, Change{Action: "change", What: tier + " instance", ID: c.old.ID, Reason: "its tags differ: " + strings.Join(missing, ", ")})
			}
			if c.old.State != "running" {
				p.Changes = append(p.Changes, Change{Action: "change", What: tier + " instance", ID: c.old.ID, Reason: "it is " + c.old.State})
			}
		}
		for _, other := range others(all, tier, c.old) {
			p.Changes = append(p.Changes, Change{Action: "remove", What: tier + " instance", ID: other.ID, Reason: "an earlier deployment left it: it is " + other.Role})
		}
	}
	return nil
}

// missingTags are the keys of wanted tags that are not there, or have another value.
func missingTags(is, wanted []types.Tag) []string {
	var keys []string
	for _, tag := range wanted {
		if tagOf(is, aws.ToString(tag.Key)) != aws.ToString(tag.Value) {
			keys = append(keys, aws.ToString(tag.Key))
		}
	}
	return keys
}

func (s *Stack) planNotes(ctx context.Context, p *Plan) error {
	now, locked, err := s.holder(ctx)
	if err != nil {
		return err
	}
	if _, host := whoami(); locked && !now.dead(host) {
		p.Notes = append(p.Notes, fmt.Sprintf("another deployment is under way: by %s on %s since %s", now.Who, now.Host, now.Since.Format("2006-01-02 15:04:05 MST")))
		return nil
	}
	records, err := s.History(ctx)
	if err != nil {
		return err
	}
	for _, record := range records {
		if record.Result == Running {
			p.Notes = append(p.Notes, "deployment "+record.ID+" ended without a word; what it left would be put right first")
		}
	}
	return nil
}
