package vpc

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
)

// What a rule of a security group says ends up in the firewall of a VPC. Moto records anything; here a rule
// that a firewall cannot have is refused, with the codes of
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html

// comparable is the rule as an admitted request has it.
func (r ruleOfPeer) comparable() ruleOfPeer {
	r = r.bare()
	r.protocol = protocolName(r.protocol)
	if r.protocol == "-1" {
		r.from, r.to = "-1", "-1"
	}
	return r
}

// flat are the parameters of a single rule in the request's older form, and where they are in the newer one.
var flat = map[string]string{
	"IpProtocol":                 "IpProtocol",
	"FromPort":                   "FromPort",
	"ToPort":                     "ToPort",
	"CidrIp":                     "IpRanges.1.CidrIp",
	"SourceSecurityGroupName":    "Groups.1.GroupName",
	"SourceSecurityGroupOwnerId": "Groups.1.UserId",
}

// listed is a request with its rules in a list that begins with 1.
func listed(c *awsquery.Call) (*awsquery.Call, error) {
	c = c.Clone()
	indexes := map[int]int{}
	var found []int
	for name := range c.Form {
		rest, ok := strings.CutPrefix(name, "IpPermissions.")
		if !ok {
			continue
		}
		first, _, _ := strings.Cut(rest, ".")
		index, err := strconv.Atoi(first)
		if err != nil || index < 0 {
			return nil, awsquery.Fault(apierror.UnknownParameter, name)
		}
		if !slices.Contains(found, index) {
			found = append(found, index)
		}
	}
	slices.Sort(found)
	for i, index := range found {
		indexes[index] = i + 1
	}
	for name, values := range c.Clone().Form {
		if rest, ok := strings.CutPrefix(name, "IpPermissions."); ok {
			first, field, _ := strings.Cut(rest, ".")
			index, _ := strconv.Atoi(first)
			c.Form.Del(name)
			c.Form[fmt.Sprintf("IpPermissions.%d.%s", indexes[index], field)] = values
		}
	}
	next := fmt.Sprintf("IpPermissions.%d.", len(found)+1)
	for name, place := range flat {
		if value, ok := c.Form[name]; ok {
			c.Form.Del(name)
			c.Form[next+place] = value
		}
	}
	return c, nil
}

// peerField matches the parameters of a permission's peers.
var peerField = regexp.MustCompile(`^(IpRanges|Ipv6Ranges|PrefixListIds|Groups)\.([1-9][0-9]*)\.` +
	`(CidrIp|CidrIpv6|PrefixListId|GroupId|GroupName|UserId|VpcId|Description)$`)

// admittedPermissions checks the rules of a request whose list begins with 1, and puts them in order: the shortest
// names of protocols, no ports where all are meant, and ranges without host bits.
func admittedPermissions(c *awsquery.Call) ([]ruleOfPeer, error) {
	var all []ruleOfPeer
	for i := 1; ; i++ {
		prefix := fmt.Sprintf("IpPermissions.%d.", i)
		fields := map[string]string{}
		for name, values := range c.Form {
			if field, ok := strings.CutPrefix(name, prefix); ok {
				fields[field] = values[0]
			}
		}
		if len(fields) == 0 {
			break
		}
		found, err := admittedPermission(c, prefix, fields)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return nil, awsquery.Fault(apierror.MissingParameter, "ipPermissions")
	}
	return all, nil
}

func admittedPermission(c *awsquery.Call, prefix string, fields map[string]string) ([]ruleOfPeer, error) {
	if fields["IpProtocol"] == "" {
		return nil, awsquery.Fault(apierror.MissingParameter, "ipProtocol")
	}
	rule := ruleOfPeer{protocol: protocolName(fields["IpProtocol"]), from: fields["FromPort"], to: fields["ToPort"]}
	if err := rule.admitPorts(); err != nil {
		return nil, err
	}
	c.Set(prefix+"IpProtocol", rule.protocol)
	c.Form.Del(prefix + "FromPort")
	c.Form.Del(prefix + "ToPort")
	if rule.protocol != "-1" && rule.from != "" {
		c.Set(prefix+"FromPort", rule.from)
		c.Set(prefix+"ToPort", rule.to)
	}
	if rule.from == "" {
		rule.from, rule.to = "-1", "-1"
	}
	var all []ruleOfPeer
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if field == "IpProtocol" || field == "FromPort" || field == "ToPort" {
			continue
		}
		peer, err := admittedPeer(rule, prefix+field, field, fields[field])
		if err != nil {
			return nil, err
		}
		if peer.peer == "" {
			continue
		}
		if strings.HasPrefix(peer.id, "Cidr") {
			c.Set(prefix+field, peer.peer)
		}
		all = append(all, peer)
	}
	if len(all) == 0 {
		return nil, awsquery.Faultf(apierror.MissingParameters,
			"The request must name a source or a destination: a CIDR block, a security group or a prefix list")
	}
	return all, nil
}

// admittedPeer reads one field of a permission's peers. What names no peer, a description for example, gives none.
func admittedPeer(rule ruleOfPeer, parameter, field, value string) (ruleOfPeer, error) {
	parts := peerField.FindStringSubmatch(field)
	if parts == nil {
		return rule, awsquery.Fault(apierror.UnknownParameter, parameter)
	}
	rule.list, rule.id = parts[1], parts[3]
	switch rule.id {
	case "CidrIp", "CidrIpv6":
		cidr, err := netip.ParsePrefix(value)
		if err != nil || cidr.Addr().Is4() != (rule.id == "CidrIp") || cidr.Addr().Zone() != "" {
			return rule, awsquery.Fault(apierror.InvalidCidrBlock, value)
		}
		rule.peer = cidr.Masked().String()
	case "GroupId", "PrefixListId":
		if awsquery.ResourceID.FindString(value) != value {
			return rule, awsquery.Fault(apierror.InvalidGroupIDMalformed, value, "sg")
		}
		rule.peer = value
	case "GroupName":
		rule.peer = "name " + value
	case "Description":
		if len(value) > 255 {
			return rule, awsquery.Faultf(apierror.InvalidParameterValue,
				"Invalid rule description: it is longer than 255 characters")
		}
	}
	return rule, nil
}

// protocolName is a protocol as EC2 describes it: by its name where it has one there.
func protocolName(given string) string {
	name := strings.ToLower(given)
	if known, ok := map[string]string{
		"6":   "tcp",
		"17":  "udp",
		"1":   "icmp",
		"58":  "icmpv6",
		"all": "-1",
	}[name]; ok {
		return known
	}
	return name
}

// admitPorts checks a rule's protocol and its ports, or its ICMP type and code.
func (r *ruleOfPeer) admitPorts() error {
	from, err1 := strconv.Atoi(r.from)
	to, err2 := strconv.Atoi(r.to)
	numbers := err1 == nil && err2 == nil
	// The peer is another matter; this one is of no consequence.
	probe := network.Rule{
		Protocol: r.protocol,
		From:     -1,
		To:       -1,
		CIDR:     netip.MustParsePrefix("0.0.0.0/0"),
	}
	if probe.Check() != nil {
		return awsquery.Faultf(apierror.InvalidParameterValue,
			"Invalid value '%.60s' for IP protocol. Unknown protocol.", r.protocol)
	}
	switch r.protocol {
	case "tcp", "udp":
		if !numbers {
			return awsquery.Faultf(apierror.InvalidParameterValue,
				"Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
		}
		if from < 0 || to > 65535 || from > to {
			return awsquery.Faultf(apierror.InvalidParameterValue, "Invalid TCP/UDP port range (%d:%d)", from, to)
		}
	case "icmp", "icmpv6":
		return r.admitICMP()
	default: // a protocol without ports; what is said of them means nothing
		if (r.from != "" || r.to != "") && !numbers {
			return awsquery.Faultf(apierror.InvalidParameterValue, "Invalid port range (%.20s:%.20s)", r.from, r.to)
		}
		r.from, r.to = "", ""
		return nil
	}
	r.from, r.to = strconv.Itoa(from), strconv.Itoa(to)
	return nil
}

// admitICMP checks an ICMP type and code; none means all.
func (r *ruleOfPeer) admitICMP() error {
	kind, err1 := strconv.Atoi(r.from)
	code, err2 := strconv.Atoi(r.to)
	if r.from == "" && r.to == "" {
		kind, code, err1, err2 = -1, -1, nil, nil
	}
	valid := func(n int) bool { return n >= -1 && n <= 255 }
	if err1 != nil || err2 != nil || !valid(kind) || !valid(code) || kind == -1 && code != -1 {
		return awsquery.Faultf(apierror.InvalidParameterValue,
			"ICMP code (%.20s) and type (%.20s) are not valid", r.to, r.from)
	}
	r.from, r.to = strconv.Itoa(kind), strconv.Itoa(code)
	return nil
}
