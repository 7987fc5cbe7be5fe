package stackfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// in puts lines into a block, from its second line on.
func in(head string, lines ...string) string {
	return head + " {\n  " + strings.Join(lines, "\n  ") + "\n}\n"
}

func volume(lines ...string) string { return in(`tier "db"`, in("data_volume", lines...)) }

func rule(lines ...string) string { return in(`tier "web"`, in("rule", lines...)) }

// many are tags that there are too many of.
func many(n int) string {
	var tags []string
	for i := range n {
		tags = append(tags, fmt.Sprintf("t%d = 1", i))
	}
	return "tags = { " + strings.Join(tags, ", ") + " }"
}

func TestFaults(t *testing.T) {
	const existing = `vpc_id = "vpc-01234567"`
	for _, c := range []struct {
		name, source string
		want         []string // place and text of each fault, all of them
	}{
		// The file itself.
		{"name", `name = "Golden"`,
			[]string{`1,8: name: "Golden" should be 1 to 32 lower-case letters, digits and dashes`}},
		{"no name", `name = ""`, []string{`1,8: name: "" should be 1 to 32`}},
		{"region", `region = "Frankfurt"`,
			[]string{`1,10: region: "Frankfurt" should be a region such as eu-central-1`}},
		{"profile", `profile = ""`, []string{`1,11: profile: "" should be the name of a profile`}},
		{"endpoint", `custom_endpoint_ec2 = "localhost"`,
			[]string{`1,23: custom_endpoint_ec2: "localhost" should be a URL such as http://127.66.0.1:4566`}},
		{"no endpoint", `custom_endpoint_ec2 = ""`, []string{`1,23: custom_endpoint_ec2: "" should be a URL`}},
		{"operator", `operator = "me"`,
			[]string{`1,12: operator: "me" should be auto, or a CIDR range such as 192.0.2.7/32`}},
		{"operator without a length", `operator = "192.0.2.7"`,
			[]string{`1,12: operator: "192.0.2.7" should be auto, or a CIDR range`}},
		{"operator with too many bits", `operator = "192.0.2.7/24"`,
			[]string{`1,12: operator: "192.0.2.7/24" has bits set beyond its length; the range is 192.0.2.0/24`}},

		// What hcl says itself.
		{"unknown attribute", "\n\nregoin = \"x\"",
			[]string{
				`3,1: Unsupported argument: An argument named "regoin" is not expected here. Did you mean "region"?`,
			}},
		{"unknown block", "\nnetwrok {}",
			[]string{
				`2,1: Unsupported block type: Blocks of type "netwrok" are not expected here. Did you mean "network"?`,
			}},
		{"unknown attribute in a block", in("deploy", "bake = 1"),
			[]string{`2,3: Unsupported argument: An argument named "bake" is not expected here.`}},
		{"count of db", in(`tier "db"`, "count = 1"), []string{`2,3: Unsupported argument: An argument named "count"`}},
		{"service_address of web", in(`tier "web"`, `service_address = "10.0.1.5"`),
			[]string{`2,3: Unsupported argument: An argument named "service_address"`}},
		{"data_volume of web", in(`tier "web"`, `data_volume {}`),
			[]string{`2,3: Unsupported block type: Blocks of type "data_volume"`}},
		{"no label", "tier {}", []string{`1,6: Missing name for tier: All tier blocks must have 1 labels (name).`}},
		{"two labels", `tier "db" "web" {}`,
			[]string{`1,11: Extraneous label for tier: Only 1 labels (name) are expected for tier blocks.`}},
		{"a label too many", `network "x" {}`, []string{`1,9: Extraneous label for network: No labels are expected`}},
		{"twice", "name = \"a\"\nname = \"b\"",
			[]string{`2,1: Attribute redefined: The argument "name" was already set at `}},
		{"syntax", "name = \"a\"\nnetwork {", []string{`2,9: Unclosed configuration block: `}},

		{"deep lists", "name =\n" + strings.Repeat("[", 501),
			[]string{`2,501: nesting: more than 500 brackets and operators are open here; there should be a few`}},
		{"deep blocks", strings.Repeat("a {\n", 501), []string{`501,3: nesting: `}},
		{"deep signs", "name = " + strings.Repeat("-", 501) + "1", []string{`1,508: nesting: `}},
		{"deep choices", "name = " + strings.Repeat("a?", 501), []string{`1,1009: nesting: `}},
		{"deep templates", "name = " + strings.Repeat(`"${`, 251), []string{`1,758: nesting: `}},
		{"deep and closed by others", "name = " + strings.Repeat("[}", 501), []string{`1,1008: nesting: `}},

		// Blocks.
		{"unknown tier", `tier "cache" {}`, []string{`1,6: tier "cache": it should be tier "db" or tier "web"`}},
		{"tier twice", "tier \"db\" {}\ntier \"web\" {}\ntier \"db\" {}\n",
			[]string{`3,1: tier "db": there is one in line 1 already; there should be one at most`}},
		{"network twice", "network {}\nnetwork {}\n", []string{`2,1: network: there is one in line 1 already`}},
		{"data_volume twice", in(`tier "db"`, "data_volume {}", "data_volume {}"),
			[]string{`3,3: tier "db": data_volume: there is one in line 2 already`}},

		// Values.
		{"a word without quotes", "name = golden",
			[]string{
				`1,8: name: golden is the name of a variable, which is not taken here; a text stands in quotes: ` +
					`"golden"`,
			}},
		{"variable", "name = var.name",
			[]string{`1,8: name: only literals are taken here: no variables, functions or operators`}},
		{"function", `name = env("NAME")`, []string{`1,8: name: only literals`}},
		{"operation", in(`tier "web"`, "count = 1 + 1"), []string{`2,11: tier "web": count: only literals`}},
		{"for", in("deploy", "checkpoints = [for i in [1]: i]"), []string{`2,17: deploy: checkpoints: only literals`}},
		{"template", `name = "a${b}"`,
			[]string{
				`1,12: name: a text is taken as it stands, without templates; a ${ or %{ that belongs to it is ` +
					`written $${ or %%{`,
			}},
		{"template alone", `name = "${b}"`, []string{`1,8: name: a text is taken as it stands`}},
		{"directive", `name = "a%{ if true }b%{ endif }"`, []string{`1,10: name: a text is taken as it stands`}},
		{"in a list", in("deploy", "checkpoints = [1, x]"),
			[]string{`2,21: deploy: checkpoints: x is the name of a variable`}},
		{"in a map", in(`tier "db"`, "tags = {", "  a = 1", "  b = c.d", "}"),
			[]string{`4,9: tier "db": tags: only literals`}},
		{"key", in(`tier "db"`, "tags = { (a) = 1 }"), []string{`2,12: tier "db": tags: only literals`}},
		{"key with a dot", in(`tier "db"`, "tags = { a.b = 1 }"), []string{`2,12: tier "db": tags: only literals`}},
		{"list as a key", in(`tier "db"`, "tags = { [1] = 1 }"),
			[]string{`2,12: tier "db": tags: a key should be a word, or a text in quotes`}},
		{"null", "name = null", []string{`1,8: name: null is no value; leave the attribute out for its default`}},
		{"null in a list", in("deploy", "checkpoints = [null]"),
			[]string{`2,18: deploy: checkpoints: null is no value`}},
		{"monstrous number", "name = 1e99999999",
			[]string{`1,8: name: the number is beyond anything that makes sense`}},
		{"tiny number", "name = 1e-99999999", []string{`1,8: name: the number is beyond anything that makes sense`}},
		{"text for a number", in(`tier "web"`, `count = "two"`),
			[]string{`2,11: tier "web": count: it should be a whole number of at most 2147483647`}},
		{"broken number", in(`tier "web"`, `count = 1.5`),
			[]string{`2,11: tier "web": count: it should be a whole number`}},
		{"large number", in(`tier "web"`, `count = 2147483648`),
			[]string{`2,11: tier "web": count: it should be a whole number of at most 2147483647`}},
		{"text for a bool", volume(`encrypted = "perhaps"`),
			[]string{`3,15: tier "db": data_volume: encrypted: it should be true or false`}},
		{"list for a text", `name = ["a"]`, []string{`1,8: name: it should be a text in quotes`}},
		{"text for a list", in("deploy", `checkpoints = "50"`),
			[]string{`2,17: deploy: checkpoints: it should be a list, in [ ]`}},
		{"text for a map", in(`tier "db"`, `tags = "a"`),
			[]string{`2,10: tier "db": tags: it should be a map, in { }`}},
		{"element", in("deploy", `checkpoints = [10, "x"]`) + in(`tier "web"`, "count = 2"),
			[]string{`2,22: deploy: checkpoints[1]: it should be a whole number`}},
		{"tag", in(`tier "db"`, `tags = { a = ["b"] }`),
			[]string{`2,12: tier "db": tags["a"]: it should be a text in quotes`}},
		{"tag twice", in(`tier "db"`, `tags = { a = "b", "a" = "c" }`),
			[]string{`2,21: tier "db": tags["a"]: it is there twice`}},
		{"duration without a unit", in("deploy", "bake_time = 10"),
			[]string{`2,15: deploy: bake_time: "10" should be a duration such as 90s, 5m or 1h30m`}},
		{"no duration", in("deploy", `bake_time = ""`), []string{`2,15: deploy: bake_time: "" should be a duration`}},

		// The network.
		{"no range", in("network", `cidr = "10.0.0.0"`),
			[]string{`2,10: network: cidr: "10.0.0.0" should be a CIDR range such as 10.0.0.0/16`}},
		{"an empty range", in("network", `cidr = ""`), []string{`2,10: network: cidr: "" should be a CIDR range`}},
		{"a length that cannot be", in("network", `cidr = "10.0.0.0/33"`),
			[]string{`2,10: network: cidr: "10.0.0.0/33" should be a CIDR range`}},
		{"bits", in("network", `cidr = "10.0.0.1/16"`),
			[]string{`2,10: network: cidr: "10.0.0.1/16" has bits set beyond its length; the range is 10.0.0.0/16`}},
		{"IPv6", in("network", `cidr = "fd00::/16"`),
			[]string{`2,10: network: cidr: fd00::/16 should be an IPv4 range such as 10.0.0.0/16`}},
		{"too long", in("network", `cidr = "10.0.0.0/15"`),
			[]string{`2,10: network: cidr: 10.0.0.0/15 should have a length of /16 to /28`}},
		{"too short", in("network", `private_cidr = "10.0.2.0/29"`),
			[]string{`2,18: network: private_cidr: 10.0.2.0/29 should have a length of /16 to /28`}},
		{"loopback", in("network", `cidr = "127.0.0.0/16"`),
			[]string{`2,10: network: cidr: 127.0.0.0/16 is in a range that EC2 makes no VPC in`}},
		{"outside", in("network", `public_cidr = "10.1.0.0/24"`),
			[]string{`2,17: network: public_cidr: 10.1.0.0/24 should be inside the VPC's cidr 10.0.0.0/16`}},
		{"larger than the VPC",
			in("network", `cidr = "10.0.0.0/24"`, `public_cidr = "10.0.0.0/16"`, `private_cidr = "10.0.0.0/28"`),
			[]string{`3,17: network: public_cidr: 10.0.0.0/16 should be inside the VPC's cidr 10.0.0.0/24`}},
		{"defaults outside", in("network", `cidr = "10.1.0.0/16"`),
			[]string{
				`1,1: network: public_cidr: 10.0.1.0/24 should be inside the VPC's cidr 10.1.0.0/16`,
				`1,1: network: private_cidr: 10.0.2.0/24 should be inside`,
			}},
		{"overlap", in("network", `public_cidr = "10.0.2.0/25"`, `private_cidr = "10.0.2.0/24"`),
			[]string{
				`3,18: network: private_cidr: the public subnet 10.0.2.0/25 and the private one 10.0.2.0/24 ` +
					`overlap; they should be apart`,
			}},
		{"as large as the VPC",
			in("network", `cidr = "10.0.0.0/24"`, `public_cidr = "10.0.0.0/24"`, `private_cidr = "10.0.0.0/28"`),
			[]string{
				`4,18: network: private_cidr: the public subnet 10.0.0.0/24 and the private one 10.0.0.0/28 overlap`,
			}},
		{"overlap with the default", in("network", `public_cidr = "10.0.0.0/20"`),
			[]string{
				`2,17: network: public_cidr: the public subnet 10.0.0.0/20 and the private one 10.0.2.0/24 overlap`,
			}},
		{"made and there",
			in("network", `cidr = "10.0.0.0/16"`, existing, `public_subnet_ids = ["subnet-01234567"]`,
				`private_subnet_ids = ["subnet-0123abcd"]`),
			[]string{
				`2,10: network: cidr: it is for a network that Goldsmith makes, and vpc_id is for one that is ` +
					`there; take one out`,
			}},
		{"a boundary by its name", `permissions_boundary = "limit"`,
			[]string{`1,24: permissions_boundary: "limit" should be the ARN of a policy such as arn:aws:iam::`}},
		{"no zone", in("network", `availability_zone = ""`),
			[]string{`2,23: network: availability_zone: "" should be a zone such as eu-central-1a`}},
		{"a Local Zone", in("network", `availability_zone = "us-west-2-lax-1a"`),
			[]string{`2,23: network: availability_zone: "us-west-2-lax-1a" should be a zone such as eu-central-1a`}},
		{"a zone of another region", "region = \"eu-west-1\"\n" + in("network", `availability_zone = "eu-central-1a"`),
			[]string{
				`3,23: network: availability_zone: eu-central-1a is in the region eu-central-1, ` +
					`and region is eu-west-1`,
			}},
		{"a zone for subnets that are there",
			in("network", `availability_zone = "eu-central-1a"`, existing, `public_subnet_ids = ["subnet-01234567"]`,
				`private_subnet_ids = ["subnet-0123abcd"]`),
			[]string{
				`2,23: network: availability_zone: it is for a network that Goldsmith makes, and vpc_id is for one ` +
					`that is there`,
			}},
		{"a subnet that is there", in("network", `private_cidr = "10.0.2.0/24"`, `private_subnet_tags = { a = "b" }`),
			[]string{
				`1,1: network: vpc_id: it is missing; this or vpc_tags is needed, to find the VPC by`,
				`1,1: network: public_subnet_ids: it is missing; this or public_subnet_tags is needed`,
				`2,18: network: private_cidr: it is for a network that Goldsmith makes, and private_subnet_tags is ` +
					`for one that is there`,
			}},
		{"id and tags",
			in("network", existing, `vpc_tags = { a = "b" }`, `public_subnet_ids = ["subnet-01234567"]`,
				`public_subnet_tags = { a = "b" }`, `private_subnet_tags = { a = "b" }`,
				`private_subnet_ids = ["subnet-0123abcd"]`),
			[]string{
				`3,14: network: vpc_tags: it cannot go with vpc_id; take one out`,
				`5,24: network: public_subnet_tags: it cannot go with public_subnet_ids`,
				`6,25: network: private_subnet_tags: it cannot go with private_subnet_ids`,
			}},
		{"no subnets", in("network", existing),
			[]string{
				`1,1: network: public_subnet_ids: it is missing`,
				`1,1: network: private_subnet_ids: it is missing; this or private_subnet_tags is needed, to find ` +
					`the subnets by that a tier is in`,
			}},
		{"no subnet for either tier",
			in("network", existing, `private_subnet_ids = ["subnet-01234567"]`) +
				in(`tier "web"`, `subnet = "private"`, `scaling = "asg"`) + in(`tier "db"`, `subnet = "public"`),
			[]string{`1,1: network: public_subnet_ids: it is missing`}},
		{"ids",
			in("network", `vpc_id = "vpc-x"`, `public_subnet_ids = []`,
				`private_subnet_ids = ["subnet-01234567", "sub", "subnet-01234567"]`),
			[]string{
				`2,12: network: vpc_id: "vpc-x" should be an id such as vpc-0123456789abcdef0`,
				`3,23: network: public_subnet_ids: it is empty; at least one id is needed`,
				`4,44: network: private_subnet_ids[1]: "sub" should be an id such as subnet-0123456789abcdef0`,
				`4,51: network: private_subnet_ids[2]: subnet-01234567 is there twice`,
			}},
		{"tags to find by",
			in("network", `vpc_tags = {}`, `public_subnet_tags = { "" = "a" }`,
				`private_subnet_tags = { a = "`+strings.Repeat("x", 257)+`" }`),
			[]string{
				`2,14: network: vpc_tags: it is empty; at least one tag is needed`,
				`3,26: network: public_subnet_tags[""]: the key has 0 characters; it should have 1 to 128`,
				`4,27: network: private_subnet_tags["a"]: the value has 257 characters; it should have at most 256`,
			}},

		// Tiers.
		{"subnet", in(`tier "db"`, `subnet = "isolated"`),
			[]string{`2,12: tier "db": subnet: "isolated" should be one of public, private`}},
		{"instance type", in(`tier "web"`, `instance_type = "small"`),
			[]string{`2,19: tier "web": instance_type: "small" should be a type such as t3.small`}},
		{"instance type on Xen", in(`tier "web"`, `instance_type = "t2.micro"`),
			[]string{`2,19: tier "web": instance_type: t2.micro runs on Xen`}},
		{"release", in(`tier "web"`, `release = "the last one"`),
			[]string{
				`2,13: tier "web": release: "the last one" should be a release's name: 1 to 64 letters, digits and ._-`,
			}},
		{"ami", in(`tier "web"`, `ami = "ami-X"`),
			[]string{`2,9: tier "web": ami: "ami-X" should be an id such as ami-0123456789abcdef0`}},
		{"release and ami", in(`tier "web"`, `ami = "ami-01234567"`, `release = "1"`),
			[]string{`2,9: tier "web": ami: it cannot go with release; take one out`}},
		{"user data twice", in(`tier "web"`, `user_data = "#!/bin/sh"`, `user_data_file = "script"`),
			[]string{`3,20: tier "web": user_data_file: it cannot go with user_data; take one out`}},
		{"user data of no form", in(`tier "web"`, `user_data = "echo"`),
			[]string{`2,15: tier "web": user_data: it should begin with #cloud-config, or with #! as a script does`}},
		{"no user data", in(`tier "web"`, `user_data = ""`),
			[]string{`2,15: tier "web": user_data: it should begin with`}},
		{"long user data", in(`tier "web"`, `user_data = "#!`+strings.Repeat("x", 14<<10)+`"`),
			[]string{`2,15: tier "web": user_data: it has 14338 bytes; at most 14336 are taken`}},
		{"Goldsmith's settings", in(`tier "web"`, `user_data = "#cloud-config\n#goldsmith: {}\n"`),
			[]string{`2,15: tier "web": user_data: it has a #goldsmith line, which is Goldsmith's own`}},
		{"tags",
			in(`tier "web"`, "tags = {", `  "goldsmith:stack" = "a"`, `  "AWS:x" = "b"`, `  "" = "c"`,
				`  "`+strings.Repeat("ä", 129)+`" = "d"`, `  e = "`+strings.Repeat("x", 257)+`"`,
				`  "`+strings.Repeat("ä", 128)+`" = "f"`, `}`),
			[]string{
				`3,5: tier "web": tags["goldsmith:stack"]: keys that begin with goldsmith: are Goldsmith's own; ` +
					`take another`,
				`4,5: tier "web": tags["AWS:x"]: keys that begin with aws: are Amazon's`,
				`5,5: tier "web": tags[""]: the key has 0 characters`,
				`6,5: tier "web": tags["` + strings.Repeat("ä", 129) + `"]: the key has 129 characters`,
				`7,5: tier "web": tags["e"]: the value has 257 characters; it should have at most 256`,
			}},
		{"many tags, and one less", in(`tier "web"`, many(42)) + in(`tier "db"`, many(41)),
			[]string{`2,10: tier "web": tags: there are 42; at most 41 are taken`}},

		// Rules.
		{"protocol", rule(`protocol = "sctp"`, `port = 1`, `cidr = "10.0.0.0/8"`),
			[]string{`3,14: tier "web": rule: protocol: "sctp" should be one of tcp, udp, icmp`}},
		{"no port", rule(`cidr = "10.0.0.0/8"`),
			[]string{`2,3: tier "web": rule: port: it is missing; a number of 1 to 65535 is needed`}},
		{"port", rule(`port = 65536`, `cidr = "10.0.0.0/8"`),
			[]string{`3,10: tier "web": rule: port: 65536 should be within 1 and 65535`}},
		{"port 0", rule(`port = 0`, `cidr = "10.0.0.0/8"`),
			[]string{`3,10: tier "web": rule: port: 0 should be within 1 and 65535`}},
		{"port of icmp", rule(`protocol = "icmp"`, `port = 8`, `cidr = "10.0.0.0/8"`),
			[]string{`4,10: tier "web": rule: port: icmp has none; take it out`}},
		{"nobody", rule(`port = 1`),
			[]string{`2,3: tier "web": rule: cidr: it is missing; this or from_tier is needed, to say who is let in`}},
		{"both", rule(`port = 1`, `cidr = "10.0.0.0/8"`, `from_tier = "db"`),
			[]string{`5,15: tier "web": rule: from_tier: it cannot go with cidr; take one out`}},
		{"tier", rule(`port = 1`, `from_tier = "cache"`),
			[]string{`4,15: tier "web": rule: from_tier: "cache" should be one of db, web`}},
		{"cidr", rule(`port = 1`, `cidr = "10.0.0.1/8"`),
			[]string{
				`4,10: tier "web": rule: cidr: "10.0.0.1/8" has bits set beyond its length; the range is 10.0.0.0/8`,
			}},
		{"description", rule(`port = 1`, `from_tier = "db"`, `description = "what's up"`),
			[]string{
				`5,17: tier "web": rule: description: "what's up" should be at most 255 letters, digits, spaces and `,
			}},
		{"rule twice",
			in(`tier "db"`, in("rule", "port = 1", `from_tier = "db"`),
				in("rule", `protocol = "tcp"`, "port = 1", `from_tier = "db"`)),
			[]string{`7,3: tier "db": rule: the rule in line 2 says the same; take it out`}},
		{"default of web", rule(`port = 443`, `cidr = "0.0.0.0/0"`),
			[]string{`2,3: tier "web": rule: the tier has it in any case; take it out`}},
		{"the operator's", "operator = \"192.0.2.7/32\"\n" + rule(`port = 22`, `cidr = "192.0.2.7/32"`),
			[]string{`3,3: tier "web": rule: the tier has it in any case`}},
		{"default of db", in(`tier "db"`, in("rule", `protocol = "icmp"`, `from_tier = "web"`)),
			[]string{`2,3: tier "db": rule: the tier has it in any case`}},

		// The database.
		{"no address", in(`tier "db"`, `service_address = "db.local"`),
			[]string{`2,21: tier "db": service_address: "db.local" should be an IP address such as 10.0.2.10`}},
		{"IPv6 address", in(`tier "db"`, `service_address = "fd00::1"`),
			[]string{`2,21: tier "db": service_address: fd00::1 should be an IPv4 address such as 10.0.2.10`}},
		{"IPv6 address in a network that is there",
			in("network", existing, `private_subnet_ids = ["subnet-01234567"]`) +
				in(`tier "db"`, `service_address = "fd00::1"`) + in(
				`tier "web"`, `subnet = "private"`, `scaling = "asg"`,
			),
			[]string{`6,21: tier "db": service_address: fd00::1 should be an IPv4 address`}},
		{"address elsewhere", in(`tier "db"`, `service_address = "10.0.1.10"`),
			[]string{`2,21: tier "db": service_address: 10.0.1.10 should be inside 10.0.2.0/24, where the tier is`}},
		{"fourth address", in(`tier "db"`, `service_address = "10.0.2.3"`),
			[]string{
				`2,21: tier "db": service_address: 10.0.2.3 is one of the five that AWS keeps for itself in ` +
					`10.0.2.0/24: the first four and the last`,
			}},
		{"last address", in(`tier "db"`, `service_address = "10.0.2.255"`),
			[]string{`2,21: tier "db": service_address: 10.0.2.255 is one of the five`}},
		{"type of volume", volume(`type = "st1"`, "iops = 5"),
			[]string{`3,10: tier "db": data_volume: type: "st1" should be one of gp3, gp2, io1, io2`}},
		{"size", volume("size = 0"), []string{`3,10: tier "db": data_volume: size: 0 should be within 1 and 16384`}},
		{"large size", volume("size = 16385"),
			[]string{`3,10: tier "db": data_volume: size: 16385 should be within 1 and 16384`}},
		{"size of io1", volume(`type = "io1"`, "size = 3", "iops = 100"),
			[]string{`4,10: tier "db": data_volume: size: 3 should be within 4 and 16384`}},
		{"iops of gp2", volume(`type = "gp2"`, "iops = 3000"),
			[]string{
				`4,10: tier "db": data_volume: iops: it goes with gp3, io1 and io2, and not with gp2; take it out`,
			}},
		{"iops of gp3", volume("size = 1000", "iops = 2999"),
			[]string{`4,10: tier "db": data_volume: iops: 2999 should be within 3000 and 80000`}},
		{"iops for its size", volume("iops = 4001"),
			[]string{
				`3,10: tier "db": data_volume: iops: 4001 is too much for 8 GiB of gp3; it should be 4000 at most, ` +
					`or size 9 or more`,
			}},
		{"no iops", volume(`type = "io2"`),
			[]string{`2,3: tier "db": data_volume: iops: it is missing; io2 needs it: 100 to 256000`}},
		{"iops of io1", volume(`type = "io1"`, "iops = 401"),
			[]string{
				`4,10: tier "db": data_volume: iops: 401 is too much for 8 GiB of io1; it should be 400 at most, or ` +
					`size 9 or more`,
			}},
		{"iops of io2", volume(`type = "io2"`, "iops = 256001", "size = 16384"),
			[]string{`4,10: tier "db": data_volume: iops: 256001 should be within 100 and 256000`}},
		{"throughput of io2", volume(`type = "io2"`, "iops = 100", "throughput = 125"),
			[]string{`5,16: tier "db": data_volume: throughput: it goes with gp3, and not with io2; take it out`}},
		{"throughput", volume("throughput = 124"),
			[]string{`3,16: tier "db": data_volume: throughput: 124 should be within 125 and 2000`}},
		{"throughput for its iops", volume("throughput = 751"),
			[]string{
				`3,16: tier "db": data_volume: throughput: 751 is too much for 3000 iops; it should be a quarter of ` +
					`them at most, 750, or iops 3004 or more`,
			}},
		{"key", volume(`kms_key_id = "my key"`),
			[]string{
				`3,16: tier "db": data_volume: kms_key_id: "my key" should be a key's id, an alias such as ` +
					`alias/db, or the ARN of either`,
			}},
		{"key for nothing", volume("encrypted = false", `kms_key_id = "alias/db"`),
			[]string{`4,16: tier "db": data_volume: kms_key_id: it goes with encrypted = true; take one out`}},

		// The web tier.
		{"count", in(`tier "web"`, "count = 0"), []string{`2,11: tier "web": count: 0 should be 1 or more`}},
		{"negative count", in(`tier "web"`, "count = -1"), []string{`2,11: tier "web": count: -1 should be 1 or more`}},
		{"no room", in(`tier "web"`, "count = 252"),
			[]string{`2,11: tier "web": count: 252 instances have no room in 10.0.1.0/24; it should be 251 at most`}},
		{"scaling", in(`tier "web"`, `scaling = "auto"`),
			[]string{`2,13: tier "web": scaling: "auto" should be one of single, asg`}},
		{"single and several", in(`tier "web"`, `scaling = "single"`, "count = 2"),
			[]string{`2,13: tier "web": scaling: "single" keeps one instance, and count is 2; it should be "asg"`}},

		// Health checks and deployments.
		{"path", in("health_check", `path = "health"`),
			[]string{`2,10: health_check: path: "health" should be a path such as /health`}},
		{"interval", in("health_check", `interval = "99ms"`),
			[]string{`2,14: health_check: interval: 99ms should be within 100ms and 5m0s`}},
		{"timeout", in("health_check", `timeout = "0s"`),
			[]string{`2,13: health_check: timeout: 0s should be within 100ms and 5m0s`}},
		{"threshold", in("health_check", `healthy_threshold = 0`),
			[]string{`2,23: health_check: healthy_threshold: 0 should be within 1 and 100`}},
		{"deadline", in("health_check", `deadline = "25h"`),
			[]string{`2,14: health_check: deadline: 25h0m0s should be within 1s and 24h0m0s`}},
		{"deadline too near", in("health_check", `interval = "2s"`, `deadline = "3s"`),
			[]string{
				`3,14: health_check: deadline: 3s is too short for 3 checks in a row, one every 2s; it should be 4s ` +
					`or more`,
			}},
		{"one instance that nobody reaches", in(`tier "web"`, `subnet = "private"`),
			[]string{`2,12: tier "web": subnet: one instance is reached by an elastic IP`}},
		{"bake time", in("deploy", `bake_time = "-1s"`),
			[]string{`2,15: deploy: bake_time: -1s should be within 0s and 24h0m0s`}},
		{"drain time", in("deploy", `drain_time = "2h"`),
			[]string{`2,16: deploy: drain_time: 2h0m0s should be within 0s and 1h0m0s`}},
		{"snapshots", in("deploy", `keep_snapshots = 0`),
			[]string{`2,20: deploy: keep_snapshots: 0 should be 1 or more: without a snapshot there is no way back`}},
		{"timeout of a deployment", in("deploy", `timeout = "15s"`),
			[]string{
				`2,13: deploy: timeout: 15s should be longer than bake_time and drain_time together, which are 15s`,
			}},
		{"no timeout", in("deploy", `timeout = "0s"`),
			[]string{`2,13: deploy: timeout: 0s should be within 1s and 24h0m0s`}},
		{"of a group",
			in("deploy", "min_healthy_percentage = 50", "checkpoints = [50]", `checkpoint_delay = "1m"`,
				"auto_rollback = true"),
			[]string{
				`2,28: deploy: min_healthy_percentage: it goes with scaling = "asg" in tier "web", where it is ` +
					`"single"`,
				`3,17: deploy: checkpoints: it goes with`,
				`4,22: deploy: checkpoint_delay: it goes with`, `5,19: deploy: auto_rollback: it goes with`,
			}},
		{"percentages",
			in("deploy", "min_healthy_percentage = 101", "checkpoints = [0, 50, 50, 101]",
				`checkpoint_delay = "1500ms"`) + in(`tier "web"`, "count = 2"),
			[]string{
				`2,28: deploy: min_healthy_percentage: 101 should be within 0 and 100`,
				`3,18: deploy: checkpoints[0]: 0 should be within 1 and 100`,
				`3,25: deploy: checkpoints[2]: 50 should be more than the 50 before it`,
				`3,29: deploy: checkpoints[3]: 101 should be within 1 and 100`,
				`4,22: deploy: checkpoint_delay: 1.5s should be whole seconds`,
			}},
		{"delay of nothing", in("deploy", `checkpoint_delay = "1m"`) + in(`tier "web"`, "count = 2"),
			[]string{`2,22: deploy: checkpoint_delay: it goes with checkpoints, which are missing`}},
		{"long delay", in("deploy", "checkpoints = [50]", `checkpoint_delay = "49h"`) + in(`tier "web"`, "count = 2"),
			[]string{`3,22: deploy: checkpoint_delay: 49h0m0s should be within 0s and 48h0m0s`}},

		// Several at once, in the order of the file.
		{"several",
			in("deploy", `bake_time = "x"`, "drain = 1") + "name = \"_\"\n" +
				in(`tier "web"`, "count = 0", "tags = { \"aws:a\" = 1 }"),
			[]string{
				`2,15: deploy: bake_time: `, `3,3: Unsupported argument: `, `5,8: name: `, `7,11: tier "web": count: `,
				`8,12: tier "web": tags["aws:a"]: `,
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := read(t, c.source)
			var faults Faults
			if f != nil || !errors.As(err, &faults) {
				t.Fatalf("got %+v, %v, want faults", f, err)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(c.want) || len(faults) != len(c.want) {
				t.Fatalf("got %d faults, want %d:\n%v", len(faults), len(c.want), err)
			}
			for i, want := range c.want {
				if !strings.Contains(lines[i], "/stack.hcl:"+want) {
					t.Errorf("got  %s\nwant %s", lines[i], want)
				}
			}
		})
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	directory := t.TempDir()
	if _, err := Read(filepath.Join(directory, "none.hcl")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that it is not there", err)
	}
	if _, err := Read(directory); err == nil || !strings.Contains(err.Error(), "should be a regular file") {
		t.Errorf("a directory: got %v", err)
	}
	if _, err := read(t, strings.Repeat("#\n", sizeLimit/2)); err != nil {
		t.Errorf("the longest file: got %v", err)
	}
	if _, err := read(t, strings.Repeat("#\n", sizeLimit/2)+"\n"); err == nil ||
		!strings.Contains(err.Error(), "has more than 131072 bytes") {
		t.Errorf("a long file: got %v", err)
	}
}

func TestUserDataFiles(t *testing.T) {
	directory := t.TempDir()
	stack := filepath.Join(directory, "stack.hcl")
	write := func(name, content string) string {
		path := filepath.Join(directory, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("script", "#!/bin/sh\n")
	write("long", "#!"+strings.Repeat("x", 14<<10))
	write("other", "echo\n")
	absolute := write("absolute", "#cloud-config\n{}\n")
	for _, c := range []struct{ path, userData, fault string }{
		{"script", "#!/bin/sh\n", ""}, {absolute, "#cloud-config\n{}\n", ""},
		{"none", "", "no such file"}, {".", "", "should be a regular file"}, {"", "", "should be a regular file"},
		{"long", "", "has more than 14336 bytes"}, {"other", "", "it should begin with #cloud-config"},
	} {
		write("stack.hcl", in(`tier "db"`, fmt.Sprintf("user_data_file = %q", c.path)))
		f, err := Read(stack)
		switch {
		case c.fault == "" && (err != nil || f.Database.UserData != c.userData):
			t.Errorf("%q: got %+v, %v, want %q", c.path, f, err, c.userData)
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(),
			`stack.hcl:2,20: tier "db": user_data_file: `) || !strings.Contains(err.Error(), c.fault)):
			t.Errorf("%q: got %v, want %q in line 2", c.path, err, c.fault)
		}
	}
}
