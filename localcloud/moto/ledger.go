package moto

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// What the journal has to know of calls, to leave out those of things that came and went: which things a call is
// about, which it makes, and which it ends.

// made says what an action makes: things that it is remembered for, as long as one of them lives, and others that come
// along with them or that join two things, and are only looked up.
type made struct {
	lasting, also []string
}

func lasting(prefixes ...string) made { return made{lasting: prefixes} }

func joining(prefix string) made { return made{also: []string{prefix}} }

var makes = map[string]made{
	// A volume that is not deleted with its instance outlives it; TerminateInstances notes those that are.
	"RunInstances":                  {lasting: []string{"i-", "vol-"}, also: []string{"eni-"}},
	"CreateVpc":                     {lasting: []string{"vpc-"}, also: []string{"rtb-", "sg-", "acl-"}},
	"CreateImage":                   lasting("ami-", "snap-"),
	"RegisterImage":                 lasting("ami-"),
	"CopyImage":                     lasting("ami-"),
	"CreateSnapshot":                lasting("snap-"),
	"CopySnapshot":                  lasting("snap-"),
	"CreateVolume":                  lasting("vol-"),
	"CreateSubnet":                  lasting("subnet-"),
	"CreateSecurityGroup":           lasting("sg-"),
	"CreateRouteTable":              lasting("rtb-"),
	"CreateInternetGateway":         lasting("igw-"),
	"CreateNatGateway":              {lasting: []string{"nat-"}, also: []string{"eni-"}},
	"AllocateAddress":               lasting("eipalloc-"),
	"CreateNetworkInterface":        lasting("eni-"),
	"CreateNetworkAcl":              lasting("acl-"),
	"CreateLaunchTemplate":          lasting("lt-"),
	"CreateVpcPeeringConnection":    lasting("pcx-"),
	"CreateVpcEndpoint":             lasting("vpce-"),
	"CreateAutoScalingGroup":        lasting("group:"),
	"CreateLoadBalancer":            lasting(balancerARN),
	"CreateTargetGroup":             lasting(balancerARN),
	"CreateListener":                joining(balancerARN),
	"ImportKeyPair":                 lasting("key:"),
	"CreateRole":                    lasting("role:"),
	"CreateInstanceProfile":         lasting("profile:"),
	"PutParameter":                  lasting("parameter:"),
	"AssociateAddress":              joining("eipassoc-"),
	"AssociateRouteTable":           joining("rtbassoc-"),
	"ReplaceRouteTableAssociation":  joining("rtbassoc-"),
	"AuthorizeSecurityGroupIngress": joining("sgr-"),
	"AuthorizeSecurityGroupEgress":  joining("sgr-"),
	"AssociateIamInstanceProfile":   joining("iip-assoc-"),
	"AttachNetworkInterface":        joining("eni-attach-"),
}

func startsWithAny(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// ends are the actions after which what they name in this way is gone.
var ends = map[string]string{
	"TerminateInstances":         "i-",
	"DeregisterImage":            "ami-",
	"DeleteSnapshot":             "snap-",
	"DeleteVolume":               "vol-",
	"DeleteVpc":                  "vpc-",
	"DeleteSubnet":               "subnet-",
	"DeleteSecurityGroup":        "sg-",
	"DeleteRouteTable":           "rtb-",
	"DeleteInternetGateway":      "igw-",
	"DeleteNatGateway":           "nat-",
	"ReleaseAddress":             "eipalloc-",
	"DeleteNetworkInterface":     "eni-",
	"DeleteNetworkAcl":           "acl-",
	"DeleteLaunchTemplate":       "lt-",
	"DeleteVpcPeeringConnection": "pcx-",
	"DeleteVpcEndpoints":         "vpce-",
	"DeleteKeyPair":              "key:",
	"DeleteRole":                 "role:",
	"DeleteInstanceProfile":      "profile:",
	"DeleteParameter":            "parameter:",
	"DeleteParameters":           "parameter:",
	"DeleteAutoScalingGroup":     "group:",
	"DeleteLoadBalancer":         balancerARN,
	"DeleteTargetGroup":          balancerARN,
}

// changes are the actions that change one thing and may name others: by the parameter that names the one. What they did
// to it lasts, whatever becomes of the others; so they are kept as long as it is there, and with them what they name.
var changes = map[string]string{
	"AuthorizeSecurityGroupIngress":              "GroupId",
	"AuthorizeSecurityGroupEgress":               "GroupId",
	"RevokeSecurityGroupIngress":                 "GroupId",
	"RevokeSecurityGroupEgress":                  "GroupId",
	"ModifySecurityGroupRules":                   "GroupId",
	"UpdateSecurityGroupRuleDescriptionsIngress": "GroupId",
	"UpdateSecurityGroupRuleDescriptionsEgress":  "GroupId",
	"CreateRoute":                                "RouteTableId",
	"ReplaceRoute":                               "RouteTableId",
	"DeleteRoute":                                "RouteTableId",
	"AssociateRouteTable":                        "SubnetId",
	"ReplaceRouteTableAssociation":               "AssociationId",
	"DisassociateRouteTable":                     "AssociationId",
	"CreateNetworkAclEntry":                      "NetworkAclId",
	"ReplaceNetworkAclEntry":                     "NetworkAclId",
	"DeleteNetworkAclEntry":                      "NetworkAclId",
	"ReplaceNetworkAclAssociation":               "AssociationId",
	"CreateTags":                                 "ResourceId.1",
	"DeleteTags":                                 "ResourceId.1",
	"CreateLaunchTemplateVersion":                "LaunchTemplateId",
	"ModifyLaunchTemplate":                       "LaunchTemplateId",
	"UpdateAutoScalingGroup":                     "group:AutoScalingGroupName",
	"AttachLoadBalancerTargetGroups":             "group:AutoScalingGroupName",
	"CreateListener":                             "LoadBalancerArn",
	"ModifyListener":                             "ListenerArn",
	"RegisterTargets":                            "TargetGroupArn",
}

// subject is the name of what a call changes, if it is one of those.
func subject(c *awsquery.Call) string {
	name, ok := changes[c.Action()]
	if !ok {
		return ""
	}
	prefix := ""
	if kind, rest, ofKind := strings.Cut(name, ":"); ofKind {
		prefix, name = kind+":", rest
	}
	if value := c.Form.Get(name); value != "" {
		return prefix + value
	}
	return ""
}

// nameParameters are parameters by which things without an id are named.
var nameParameters = map[string]string{
	"KeyName":                  "key:",
	"RoleName":                 "role:",
	"InstanceProfileName":      "profile:",
	"IamInstanceProfile.Name":  "profile:",
	"IamInstanceProfile.Arn":   "profile:",
	"AutoScalingGroupName":     "group:",
	"Tags.member.1.ResourceId": "group:",
}

// balancerARN is the prefix of the ARNs of load balancers, target groups and listeners.
const balancerARN = "arn:aws:elasticloadbalancing:"

var balancerName = regexp.MustCompile(balancerARN + `[^<\s]+`)

// ids are the ids of resources that a request names.
func ids(c *awsquery.Call) []string {
	switch {
	case c.Service == "ssm":
		return nil
	case c.Form == nil:
		return awsquery.ResourceID.FindAllString(string(c.Body), -1)
	}
	var found []string
	for name, values := range c.Form {
		if !awsquery.FreeText.MatchString(name) {
			found = append(found, awsquery.ResourceID.FindAllString(strings.Join(values, " "), -1)...)
		}
	}
	return found
}

// named are the things that a request is about.
func named(c *awsquery.Call) []string {
	names := ids(c)
	for name, prefix := range nameParameters {
		if value := c.Form.Get(name); value != "" {
			names = append(names, prefix+value[strings.LastIndexByte(value, '/')+1:])
		}
	}
	for name, values := range c.Form {
		for _, value := range values {
			if strings.HasPrefix(value, balancerARN) && !awsquery.FreeText.MatchString(name) {
				names = append(names, value)
			}
		}
	}
	if c.Service == "ssm" {
		var request struct {
			Name, ResourceId string
			Names            []string
		}
		if json.Unmarshal(c.Body, &request) == nil {
			for _, name := range append(request.Names, request.Name, request.ResourceId) {
				if name != "" {
					names = append(names, "parameter:"+name)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ledger follows which line of the journal made what is there now. A name may be used again after its bearer is gone.
type ledger struct {
	maker   map[string]int
	lasting map[string]bool // the living things that their entry is remembered for
	living  []int           // by entry, how many of the things that it is remembered for live
	uses    [][]int
	// subjects are, by entry, who made what the entry changes, and ended who made what it ends. An entry that changes
	// what no entry made, a default VPC's group say, has always as its subject.
	subjects []int
	ended    [][]int
}

// Subjects that no entry made.
const (
	none   = -1 // there is no subject
	always = -2 // it is there in each new server
)

func readLedger(entries []entry) *ledger {
	l := &ledger{maker: map[string]int{}, lasting: map[string]bool{}}
	for i, e := range entries {
		l.add(i, e)
	}
	return l
}

func (l *ledger) add(i int, e entry) {
	l.living, l.uses = append(l.living, 0), append(l.uses, nil)
	l.subjects, l.ended = append(l.subjects, l.subjectOf(e)), append(l.ended, nil)
	gone := ends[e.Call.Action()]
	for _, name := range e.Named {
		maker, ok := l.maker[name]
		if !ok {
			continue
		}
		l.uses[i] = append(l.uses[i], maker)
		if gone != "" && strings.HasPrefix(name, gone) {
			if e.Call.Action() == "TerminateInstances" && e.Ended == nil {
				e.Ended = append(e.Ended, l.volumesOf(name)...)
			}
			l.end(i, name)
		}
	}
	for _, name := range e.Ended {
		l.end(i, name)
	}
	for _, name := range e.Created {
		l.maker[name] = i
		if e.lasts(name) {
			l.lasting[name] = true
			l.living[i]++
		}
	}
}

// subjectOf finds out who made what an entry changes.
func (l *ledger) subjectOf(e entry) int {
	name := subject(e.Call)
	if name == "" {
		return none
	}
	if maker, ok := l.maker[name]; ok {
		return maker
	}
	return always
}

// volumesOf are the volumes that came with an instance and that are still there.
func (l *ledger) volumesOf(instance string) []string {
	var volumes []string
	for name, maker := range l.maker {
		if first, ok := l.maker[instance]; ok && maker == first && strings.HasPrefix(name, "vol-") {
			volumes = append(volumes, name)
		}
	}
	slices.Sort(volumes)
	return volumes
}

// end notes that an entry ends a thing.
func (l *ledger) end(i int, name string) {
	maker, ok := l.maker[name]
	if !ok {
		return
	}
	l.ended[i] = append(l.ended[i], maker)
	if l.lasting[name] {
		l.living[maker]--
	}
	delete(l.maker, name)
	delete(l.lasting, name)
}

// lasts tells whether the entry is remembered for what has this name.
func (e *entry) lasts(name string) bool { return startsWithAny(name, makes[e.Call.Action()].lasting) }

// created are the things that a call has just made, by what was answered to it.
func (l *ledger) created(c *awsquery.Call, answered []byte) []string {
	kind, ok := makes[c.Action()]
	if !ok {
		return nil
	}
	var created []string
	request := named(c)
	answers := append(awsquery.ResourceID.FindAllString(string(answered), -1),
		balancerName.FindAllString(string(answered), -1)...)
	for _, name := range append(answers, request...) {
		before := slices.Contains(request, name) && awsquery.IsResourceID(name)
		_, known := l.maker[name]
		if before || known || slices.Contains(created, name) {
			continue
		}
		if startsWithAny(name, kind.lasting) || startsWithAny(name, kind.also) {
			created = append(created, name)
		}
	}
	return created
}

// Made are the ids of what a call has just made, by what was answered to it: those that the request does not name.
func Made(c *awsquery.Call, answered []byte) []string {
	kind := makes[c.Action()]
	request := ids(c)
	var made []string
	for _, id := range awsquery.ResourceID.FindAllString(string(answered), -1) {
		if (startsWithAny(id, kind.lasting) || startsWithAny(id, kind.also)) && !slices.Contains(request, id) &&
			!slices.Contains(made, id) {
			made = append(made, id)
		}
	}
	return made
}

// compact leaves out what came and went. It keeps each entry that made something that is still there, what that entry
// is about, and so on; what changed a thing that is kept, whatever became of the other things that it names; and of the
// rest that made nothing lasting what is only about what is kept. So what is kept can be made again: nothing in it
// names anything that is not, and what was ended on the way ends again. A CreateImage line keeps its instance's lines,
// until the image is gone.
func compact(entries []entry) []entry {
	l := readLedger(entries)
	keep := make([]bool, len(entries))
	var mark func(int)
	mark = func(i int) {
		if keep[i] {
			return
		}
		keep[i] = true
		for _, maker := range l.uses[i] {
			mark(maker)
		}
	}
	for i := range entries {
		if l.living[i] > 0 {
			mark(i)
		}
	}
	// Each entry that is kept for its subject may bring others, whose changes and ends are then kept too.
	for again := true; again; {
		again = false
		for i := range entries {
			if !keep[i] && l.lasts(i, keep) {
				mark(i)
				again = true
			}
		}
	}
	var kept []entry
	for i, e := range entries {
		lost := slices.ContainsFunc(l.uses[i], func(maker int) bool { return !keep[maker] })
		if keep[i] || !slices.ContainsFunc(e.Created, e.lasts) && !lost {
			keep[i] = true
			kept = append(kept, e)
		}
	}
	return kept
}

// lasts tells whether what an entry did outlasts the things that it names: because it changed one that is kept, or
// ended one that would be there again without it.
func (l *ledger) lasts(i int, keep []bool) bool {
	maker := l.subjects[i]
	return maker == always || maker >= 0 && keep[maker] ||
		slices.ContainsFunc(l.ended[i], func(maker int) bool { return keep[maker] })
}
