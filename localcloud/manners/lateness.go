package manners

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
)

// How late what is eventually consistent is. None of it is scaled.
var (
	// unknownFor is how long something that was just made is not known to all of EC2; one in lateOne takes longer.
	unknownFor     = span{500 * time.Millisecond, 6 * time.Second}
	unknownForLong = span{6 * time.Second, 15 * time.Second}
	// tagsFor is how long old tags are shown.
	tagsFor = span{500 * time.Millisecond, 6 * time.Second}
	// profileFor is how long EC2 does not know an instance profile that IAM made or gave a role.
	profileFor = span{8 * time.Second, 15 * time.Second}
	// snapshotFor is how long a snapshot is in use after its image was deregistered.
	snapshotFor = span{2 * time.Second, 20 * time.Second}
)

const (
	// lateOne of so many is late for long.
	lateOne = 10
	// missed is the part of the calls that do not see what is new.
	missed = 0.6
	// parameterFor is how long the name of a deleted parameter cannot be used again.
	parameterFor = 30 * time.Second
)

// missing is EC2's error for an unknown id of a kind, or for the name of a key pair; nil for another kind.
func missing(kind string) *apierror.Row {
	if kind == "key" {
		return apierror.InvalidKeyPairNotFound
	}
	known, _ := apierror.KindOf(kind)
	return known.NotFound
}

// lateness holds recent changes that some calls do not see yet.
type lateness struct {
	draws *draws

	mu sync.Mutex
	// fresh are ids, and names of key pairs after "key:", and until when some calls do not know them.
	fresh map[string]time.Time
	// profiles are instance profiles, parameters deleted parameters, by name.
	profiles, parameters map[string]time.Time
	// tags are old tags by id.
	tags map[string]oldTags
	// snapshots are those that came with an image that is no more.
	snapshots map[string]formerUse
}

type oldTags struct {
	until time.Time
	set   *awsquery.Node
}

type formerUse struct {
	until time.Time
	image string
}

func newLateness(d *draws) *lateness {
	return &lateness{
		draws:      d,
		fresh:      map[string]time.Time{},
		profiles:   map[string]time.Time{},
		parameters: map[string]time.Time{},
		tags:       map[string]oldTags{},
		snapshots:  map[string]formerUse{},
	}
}

func (l *lateness) draw(s span, what, id string) time.Time {
	return time.Now().Add(s.at(l.draws.number(what, kindOf(id), id)))
}

// kindOf is the kind of thing of an id, or of a name after its kind and a colon.
func kindOf(id string) string {
	if kind, _, ok := strings.Cut(id, ":"); ok {
		return kind
	}
	if i := strings.LastIndexByte(id, '-'); i > 0 && awsquery.IsResourceID(id) {
		return id[:i]
	}
	return ""
}

// admit refuses a call that names what it does not know yet, or not any more.
func (l *lateness) admit(c *awsquery.Call) error {
	switch c.Service {
	case "ssm":
		return l.admitParameter(c)
	case "autoscaling":
		return l.admitTemplate(c)
	case "ec2":
	default:
		return nil
	}
	for _, name := range subjects(c) {
		if l.unknown(name) {
			return awsquery.Fault(missing(kindOf(name)), strings.TrimPrefix(name, "key:"))
		}
	}
	if err := l.admitProfile(c); err != nil {
		return err
	}
	if c.Action() != "DeleteSnapshot" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if use, ok := l.snapshots[c.Get("SnapshotId")]; ok && time.Now().Before(use.until) {
		return awsquery.Fault(apierror.InvalidSnapshotInUse, c.Get("SnapshotId"), use.image)
	}
	return nil
}

// subjects are the ids that a call names, and the key pair that it launches with, in order. Those in filters only leave
// more or less out.
func subjects(c *awsquery.Call) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.Form)) {
		if awsquery.FreeText.MatchString(name) || strings.HasPrefix(name, "Filter.") {
			continue
		}
		for _, value := range c.Form[name] {
			if awsquery.IsResourceID(value) && missing(kindOf(value)) != nil {
				names = append(names, value)
			}
			if c.Action() == "RunInstances" && name == "KeyName" ||
				c.Action() == "DescribeKeyPairs" && strings.HasPrefix(name, "KeyName.") {
				names = append(names, "key:"+value)
			}
		}
	}
	return names
}

// unknown draws whether a call knows a thing.
func (l *lateness) unknown(id string) bool {
	l.mu.Lock()
	until, ok := l.fresh[id]
	l.mu.Unlock()
	return ok && time.Now().Before(until) && l.draws.number("sight", kindOf(id), id) < missed
}

// profileActions are the calls of EC2 that look an instance profile up.
var profileActions = map[string]string{
	"AssociateIamInstanceProfile":          "",
	"CreateLaunchTemplate":                 "LaunchTemplateData.",
	"CreateLaunchTemplateVersion":          "LaunchTemplateData.",
	"ReplaceIamInstanceProfileAssociation": "",
	"RunInstances":                         "",
}

// admitProfile refuses a call with an instance profile that IAM made a moment ago.
func (l *lateness) admitProfile(c *awsquery.Call) error {
	prefix, ok := profileActions[c.Action()]
	if !ok {
		return nil
	}
	for _, by := range []struct {
		parameter string
		refusal   *apierror.Row
	}{
		{"IamInstanceProfile.Name", apierror.InvalidProfileNameUse},
		{"IamInstanceProfile.Arn", apierror.InvalidProfileArnUse},
	} {
		given := c.Get(prefix + by.parameter)
		l.mu.Lock()
		until, late := l.profiles[given[strings.LastIndexByte(given, '/')+1:]]
		l.mu.Unlock()
		if late && time.Now().Before(until) {
			return awsquery.Fault(by.refusal, given)
		}
	}
	return nil
}

// parameter are the members of Parameter Store's calls that are looked at.
type parameter struct {
	Name      string
	Names     []string
	Overwrite bool
	Value     string
	Tier      string
}

func readParameter(c *awsquery.Call) parameter {
	var p parameter
	_ = json.Unmarshal(c.Body, &p) // who answers the call says what is wrong with it
	return p
}

func (l *lateness) admitParameter(c *awsquery.Call) error {
	if c.Action() != "PutParameter" {
		return nil
	}
	p := readParameter(c)
	l.mu.Lock()
	defer l.mu.Unlock()
	if until, ok := l.parameters[p.Name]; !ok || !time.Now().Before(until) {
		return nil
	}
	if p.Overwrite {
		return awsquery.Fault(apierror.TooManyUpdates).Adding("(%s)", p.Name)
	}
	return awsquery.Fault(apierror.ParameterAlreadyExists)
}

// former is the state before a call whose change is seen late.
type former struct {
	tags      map[string]*awsquery.Node // by id
	image     string
	snapshots []string
}

// before looks at what a call is going to change.
func (l *lateness) before(ctx context.Context, c *awsquery.Call, carry Carry) (former, error) {
	var f former
	switch c.Service {
	case "ec2":
	case "autoscaling":
		return groupTags(ctx, c, carry)
	default:
		return f, nil
	}
	switch c.Action() {
	case "CreateTags", "DeleteTags":
		f.tags = map[string]*awsquery.Node{}
		for _, id := range c.List("ResourceId") {
			described, err := ask(ctx, carry, "DescribeTags", "Filter.1.Name", "resource-id", "Filter.1.Value.1", id)
			if err != nil {
				return f, err
			}
			set := awsquery.Element("tagSet")
			for _, tag := range described.Items("tagSet") {
				set.Children = append(set.Children, awsquery.Element("item", awsquery.Text("key", tag.Get("key")),
					awsquery.Text("value", tag.Get("value"))))
			}
			f.tags[id] = set
		}
	case "DeregisterImage":
		described, err := ask(ctx, carry, "DescribeImages", "ImageId.1", c.Get("ImageId"))
		if err != nil {
			return f, err
		}
		f.image = c.Get("ImageId")
		f.snapshots = described.All("imagesSet", "*", "blockDeviceMapping", "*", "ebs", "snapshotId")
	}
	return f, nil
}

// ask makes a call of our own to EC2.
func ask(ctx context.Context, carry Carry, action string, parameters ...string) (*awsquery.Node, error) {
	return carried(ctx, carry, awsquery.NewCall("ec2", action, parameters...))
}

func carried(ctx context.Context, carry Carry, c *awsquery.Call) (*awsquery.Node, error) {
	a, err := carry(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.XML()
}

// note remembers what a call made, changed or ended.
func (l *lateness) note(c *awsquery.Call, a *awsquery.Answer, before former) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetLocked()
	for id, set := range before.tags {
		l.tags[id] = oldTags{l.draw(tagsFor, "tags", id), set}
	}
	for _, id := range before.snapshots {
		l.snapshots[id] = formerUse{l.draw(snapshotFor, "use", id), before.image}
	}
	switch c.Service + " " + c.Action() {
	case "ec2 ImportKeyPair", "ec2 CreateKeyPair":
		l.freshLocked("key:" + c.Get("KeyName"))
	case "iam CreateInstanceProfile", "iam AddRoleToInstanceProfile":
		name := c.Get("InstanceProfileName")
		l.profiles[name] = l.draw(profileFor, "profile", "profile:"+name)
	case "ssm DeleteParameter", "ssm DeleteParameters":
		p := readParameter(c)
		for _, name := range append(p.Names, p.Name) {
			l.parameters[name] = time.Now().Add(parameterFor)
		}
	}
	if c.Service == "ec2" {
		for _, id := range moto.Made(c, a.Body) {
			l.freshLocked(id)
		}
	}
}

// freshLocked notes that a thing was just made. The caller holds l.mu.
func (l *lateness) freshLocked(id string) {
	if _, ok := l.fresh[id]; ok || l.draws.knows(kindOf(id), id) {
		return // the call was made again, with the same token
	}
	l.fresh[id] = time.Now().Add(l.lag(id))
}

// lag is how long something that was just made is not known.
func (l *lateness) lag(id string) time.Duration {
	s := unknownFor
	if l.draws.number("lateness", kindOf(id), id) < 1.0/lateOne {
		s = unknownForLong
	}
	return s.at(l.draws.number("lateness", kindOf(id), id))
}

// sighted notes an instance that Auto Scaling launched: EC2 may know it later than that.
func (l *lateness) sighted(id string, launched time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.fresh[id]; !ok && time.Since(launched) < unknownForLong.high {
		l.fresh[id] = launched.Add(l.lag(id))
	}
}

// forgetLocked drops what is known everywhere by now. The caller holds l.mu.
func (l *lateness) forgetLocked() {
	now := time.Now()
	for _, times := range []map[string]time.Time{l.fresh, l.profiles, l.parameters} {
		maps.DeleteFunc(times, func(_ string, until time.Time) bool { return now.Sub(until) > unknownForLong.high })
	}
	maps.DeleteFunc(l.tags, func(_ string, old oldTags) bool { return now.After(old.until) })
	maps.DeleteFunc(l.snapshots, func(_ string, use formerUse) bool { return now.After(use.until) })
}

// oldTags draws whether a call sees the tags of before, and returns them.
func (l *lateness) oldTags(id string) (tags []*awsquery.Node, late bool) {
	l.mu.Lock()
	old, ok := l.tags[id]
	l.mu.Unlock()
	if !ok || !time.Now().Before(old.until) || l.draws.number("tags seen", kindOf(id), id) >= missed {
		return nil, false
	}
	return old.set.Children, true
}

// showTags may have a thing's description show the tags of before.
func (l *lateness) showTags(item *awsquery.Node, id string) {
	if tags, late := l.oldTags(id); late {
		item.Remove("tagSet")
		item.Children = append(item.Children, awsquery.Element("tagSet", tags...))
	}
}
