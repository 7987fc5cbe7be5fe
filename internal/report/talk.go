package report

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// talk are the rules that let one peer connect to a group.
type talk struct {
	from, to string // keys of peers
	rules    []Rule
}

// peer is an end of talks: a range outside, or a group.
type peer struct {
	key, name, detail string
	group             bool
}

// talks reads the rules: one talk for each pair, in the rules' order, and the ranges and unknown groups that they name.
func talks(groups []Group) (all []talk, outside []peer) {
	for _, g := range groups {
		for _, r := range g.Rules {
			for _, from := range sources(groups, r) {
				if !from.group && !slices.ContainsFunc(outside, func(p peer) bool { return p.key == from.key }) {
					outside = append(outside, from)
				}
				i := slices.IndexFunc(all, func(t talk) bool { return t.from == from.key && t.to == g.key() })
				if i < 0 {
					i, all = len(all), append(all, talk{from: from.key, to: g.key()})
				}
				all[i].rules = append(all[i].rules, r)
			}
		}
	}
	return all, outside
}

// sources are whom a rule lets in.
func sources(groups []Group, r Rule) []peer {
	var all []peer
	if r.Group != "" {
		p := peer{key: "group " + r.Group, name: r.Group, detail: "not in this network"}
		for _, g := range groups {
			if g.ID == r.Group || g.Name == r.Group {
				p = peer{key: g.key(), name: g.Title(), group: true}
			}
		}
		all = append(all, p)
	}
	if r.CIDR != "" || r.Group == "" {
		all = append(all, outsider(r))
	}
	return all
}

// outsider is a range. All addresses are the internet; another is called what its rule says that it is.
func outsider(r Rule) peer {
	p := peer{key: "range " + r.CIDR, name: r.Description, detail: r.CIDR}
	prefix, err := netip.ParsePrefix(r.CIDR)
	switch {
	case r.CIDR == "":
		p.name, p.detail = "nobody", "the rule names none"
	case err == nil && prefix.Bits() == 0:
		p.name = "internet"
	case p.name == "":
		p.name, p.detail = r.CIDR, ""
	}
	return p
}

// key tells groups apart also where an id is missing.
func (g Group) key() string { return "group " + g.ID + " " + g.Name }

// traffic is the text for the protocols and ports of rules, for example tcp 80, 443; icmp.
func traffic(rules []Rule) string {
	var protocols []string
	ports := map[string][]Rule{}
	for _, r := range rules {
		name := r.Protocol
		if name == "-1" || name == "" {
			name = "all traffic"
		}
		if !slices.Contains(protocols, name) {
			protocols = append(protocols, name)
		}
		ports[name] = append(ports[name], r)
	}
	var told []string
	for _, name := range protocols {
		told = append(told, name+portList(name, ports[name]))
	}
	return strings.Join(told, "; ")
}

// portList is a protocol's ports. ICMP has none, and all traffic needs none.
func portList(protocol string, rules []Rule) string {
	if protocol != "tcp" && protocol != "udp" {
		return ""
	}
	slices.SortStableFunc(
		rules,
		func(a, b Rule) int { return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Last, b.Last)) },
	)
	if rules[0].Port < 0 {
		return ", all ports"
	}
	var texts []string
	for _, r := range rules {
		text := strconv.Itoa(r.Port)
		if r.Last > r.Port {
			text += "–" + strconv.Itoa(r.Last)
		}
		texts = append(texts, text)
	}
	texts = slices.Compact(texts)
	return " " + strings.Join(texts, ", ")
}
