package stackfile

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instancetype"
)

var (
	amiID       = idPattern("ami-")
	description = regexp.MustCompile(`^[A-Za-z0-9 ._:/()#,@\[\]+=&;{}!$*-]{0,255}$`)
)

const (
	// userDataLimit is the largest user-data in bytes: EC2's 16 KiB less the 2 KiB that are left for Goldsmith's own.
	userDataLimit = 14 << 10
	// tagLimit is EC2's largest number of tags, 50 (EC2 User Guide, Tag your resources: Tag restrictions), less
	// Goldsmith's own: of an instance of the db tier, which has the most, Name and goldsmith:stack, tier, deploy, role,
	// settings, address, volume and server.
	tagLimit = 50 - 9
)

func (r *reader) checkTier(f *File, tier string, t *Tier, b *block) {
	r.oneOf(b, "subnet", t.Subnet, "public", "private")
	r.matches(b, "instance_type", t.InstanceType, instanceType, "a type such as t3.small")
	if err := instancetype.NotNitro(t.InstanceType); err != nil {
		r.fault(b, "instance_type", "%v", err)
	}
	r.matches(b, "release", t.Release, releaseName, "a release's name: 1 to 64 letters, digits and ._-")
	r.matches(b, "ami", t.AMI, amiID, "an id such as ami-0123456789abcdef0")
	r.either(b, "release", "ami", false, "")
	r.checkUserData(t, b)
	r.checkTags(t, b)
	taken := defaultRules(tier, f.Operator)
	for i := range t.Rules {
		r.checkRule(&t.Rules[i], b.blocks["rule"][i], taken)
	}
}

// checkUserData reads the file too.
func (r *reader) checkUserData(t *Tier, b *block) {
	name := "user_data"
	r.either(b, name, "user_data_file", false, "")
	if b.given("user_data_file") && b.good("user_data_file") {
		name = "user_data_file"
		path := t.UserDataFile
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.directory, path)
		}
		text, err := readLimited(path, userDataLimit)
		if err != nil {
			r.fault(b, name, "%v", err)
			return
		}
		t.UserData = string(text)
	}
	if !b.given(name) || !b.good(name) {
		return
	}
	_, err := instance.ParseSettings([]byte(t.UserData))
	switch {
	case len(t.UserData) > userDataLimit:
		r.fault(b, name, "it has %d bytes; at most %d are taken", len(t.UserData), userDataLimit)
	case !strings.HasPrefix(t.UserData, "#cloud-config") && !strings.HasPrefix(t.UserData, "#!"):
		r.fault(b, name, "it should begin with #cloud-config, or with #! as a script does")
	case !errors.Is(err, instance.ErrNotConfigured):
		r.fault(b, name, "it has a #goldsmith line, which is Goldsmith's own; it should have none")
	}
}

// checkTags holds tags to EC2's limits: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html
func (r *reader) checkTags(t *Tier, b *block) {
	if len(t.Tags) > tagLimit {
		r.fault(b, "tags", "there are %d; at most %d are taken", len(t.Tags), tagLimit)
	}
	for key, value := range t.Tags {
		element := fmt.Sprintf("tags[%q]", key)
		switch lower := strings.ToLower(key); {
		case strings.HasPrefix(lower, "aws:"):
			r.fault(b, element, "keys that begin with aws: are Amazon's; take another")
		case strings.HasPrefix(lower, "goldsmith:"):
			r.fault(b, element, "keys that begin with goldsmith: are Goldsmith's own; take another")
		}
		r.checkTagLength(b, "tags", key, value)
	}
}

func (r *reader) checkTagLength(b *block, name, key, value string) {
	element := fmt.Sprintf("%s[%q]", name, key)
	if n := utf8.RuneCountInString(key); n < 1 || n > 128 {
		r.fault(b, element, "the key has %d characters; it should have 1 to 128", n)
	}
	if n := utf8.RuneCountInString(value); n > 256 {
		r.fault(b, element, "the value has %d characters; it should have at most 256", n)
	}
}

// opening is the protocol, port and peer of a rule, by which EC2 refuses a duplicate.
type opening struct {
	protocol string
	port     int32
	peer     string
}

// defaultRules are the rules that a tier's security group always has, each with the text that an error about a
// duplicate gives for it.
func defaultRules(tier string, operator Operator) map[opening]string {
	const always = "the tier has it in any case"
	if tier == "db" {
		return map[opening]string{{"tcp", 22, "web"}: always, {"tcp", 3306, "web"}: always, {"icmp", -1, "web"}: always}
	}
	return map[opening]string{
		{"tcp", 22, operator.String()}: always,
		{"tcp", 80, "0.0.0.0/0"}:       always,
		{"tcp", 443, "0.0.0.0/0"}:      always,
	}
}

func (r *reader) checkRule(rule *Rule, b *block, taken map[opening]string) {
	if !b.given("protocol") {
		rule.Protocol = "tcp"
	}
	r.oneOf(b, "protocol", rule.Protocol, "tcp", "udp", "icmp")
	switch {
	case rule.Protocol == "icmp" && b.given("port"):
		r.fault(b, "port", "icmp has none; take it out")
	case rule.Protocol == "icmp":
		rule.Port = -1
	case !b.given("port"):
		r.fault(b, "port", "it is missing; a number of 1 to 65535 is needed")
	case b.good("port"):
		within(r, b, "port", rule.Port, 1, 65535)
	}
	r.either(b, "cidr", "from_tier", true, "to say who is let in")
	if b.given("from_tier") {
		r.oneOf(b, "from_tier", rule.FromTier, "db", "web")
	}
	r.matches(b, "description", rule.Description, description,
		"at most 255 letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*")
	if !b.good("protocol", "port", "cidr", "from_tier") {
		return
	}
	what := opening{rule.Protocol, rule.Port, rule.FromTier}
	if rule.FromTier == "" {
		what.peer = rule.CIDR.String()
	}
	if where := taken[what]; where != "" {
		r.fault(b, "", "%s; take it out", where)
		return
	}
	taken[what] = fmt.Sprintf("the rule in line %d says the same", b.place.Start.Line)
}

// checkCount checks count and scaling, and sets the default of scaling.
func (r *reader) checkCount(f *File, b, network *block) {
	w := &f.Web
	if w.Count < 1 {
		r.fault(b, "count", "%d should be 1 or more", w.Count)
	}
	if made := f.Network.rangeOf(
		w.Subnet,
	); !f.Network.Existing() && network.good("cidr", "public_cidr", "private_cidr") &&
		int(w.Count) > room(made) {
		r.fault(b, "count", "%d instances have no room in %s; it should be %d at most", w.Count, made, room(made))
	}
	switch {
	case b.given("scaling"):
		r.oneOf(b, "scaling", w.Scaling, "single", "asg")
		if w.Scaling == "single" && w.Count > 1 {
			r.fault(b, "scaling", `"single" keeps one instance, and count is %d; it should be "asg"`, w.Count)
			w.Scaling = "asg"
		}
	case w.Count > 1:
		w.Scaling = "asg"
	default:
		w.Scaling = "single"
	}
	if w.Scaling == "single" && w.Subnet == "private" && b.good("subnet", "scaling") {
		r.fault(
			b,
			"subnet",
			`one instance is reached by an elastic IP, which needs the public subnet; with scaling = "asg" a load `+
				`balancer is there for it`,
		)
	}
}
