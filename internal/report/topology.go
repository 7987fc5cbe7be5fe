package report

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// network draws the VPC from top to bottom: who is outside, then each subnet with its security groups and instances.
// Lines in the gutter on the left lead from whom a rule lets in to the group that has the rule; each source has a lane
// of its own.
func network(t Topology, width float64) drawing {
	d := newDrawing("network", width, "The network")
	if t.Empty() {
		return *d
	}
	all, outside := talks(t.Groups)
	n := chart{drawing: d, t: t, talks: all, starts: map[string]point{}, ends: map[talkKey]point{}}
	for _, p := range outside {
		n.addLane(p.key)
	}
	for _, each := range all {
		n.addLane(each.from)
	}
	n.step = min(13, width*0.3/float64(max(1, len(n.lanes))))
	n.left, n.right = 18+float64(len(n.lanes))*n.step, width-10
	y := n.outside(outside)
	y = n.vpc(y)
	n.arrows()
	d.Height = number(y + 2)
	d.Text = clean(n.describe(outside))
	return *d
}

type point struct{ x, y float64 }

// talkKey is one end of an arrow: a source at a group.
type talkKey struct{ from, to string }

// chart is a picture of a network under way.
type chart struct {
	*drawing
	t           Topology
	talks       []talk
	left, right float64
	// lanes are the sources in the order of their lanes in the gutter, a step apart; starts and ends are the points
	// where lines leave and arrive.
	lanes  []string
	step   float64
	starts map[string]point
	ends   map[talkKey]point
}

func (n *chart) addLane(key string) {
	if !slices.Contains(n.lanes, key) {
		n.lanes = append(n.lanes, key)
	}
}

// outside draws the ranges.
func (n *chart) outside(peers []peer) float64 {
	y := 1.0
	for _, p := range peers {
		width := min(boxWidth, n.right-n.left)
		n.rect("peer", n.left, y, width, 30)
		n.tailed("strong", n.left+12, y+20, width-24, p.name, p.detail)
		n.starts[p.key] = point{n.left, y + 15}
		y += 38
	}
	return max(y+6, gatewayHeight/2+2)
}

func (n *chart) vpc(y float64) float64 {
	at := len(n.Shapes)
	top := y
	n.rect("vpc", 1, top, float64(n.Width)-2.5, 0)
	room := n.right - n.left
	if n.Width > 600 {
		room -= 270
	}
	n.tailed("strong", n.left, y+24, room, "VPC "+n.t.VPC.CIDR, n.t.VPC.ID)
	y += 38
	gates := n.gates()
	if width := min(250, n.right-n.left); len(gates) > 0 && n.Width > 600 {
		// The first stands in the VPC's border.
		n.gateway(gates[0], n.right-width-10, top-gatewayHeight/2, width)
		gates = gates[1:]
	}
	for _, g := range gates {
		y = n.gateway(g, n.left, y, min(boxWidth, n.right-n.left)) + 10
	}
	for _, s := range n.subnets() {
		y = n.subnet(s, y) + 12
	}
	if strays := n.groupsIn("", false); len(strays) > 0 {
		n.text("soft", n.left, y+14, n.right-n.left, "Security groups of no instance")
		for y += 24; len(strays) > 0; strays = strays[1:] {
			y = n.group(strays[0], n.left, y, min(boxWidth, n.right-n.left)) + 10
		}
	}
	n.Shapes[at].Height = number(y - top)
	return y
}

// subnets are those that are known, and those that instances only name.
func (n *chart) subnets() []Subnet {
	all := slices.Clone(n.t.Subnets)
	for _, i := range n.t.Instances {
		if !slices.ContainsFunc(all, func(s Subnet) bool { return s.ID == i.Subnet }) {
			all = append(all, Subnet{ID: i.Subnet})
		}
	}
	return all
}

// gates are the gateways that are in no subnet: they are the VPC's.
func (n *chart) gates() []Gateway {
	return slices.DeleteFunc(slices.Clone(n.t.Gateways), func(g Gateway) bool { return n.known(g.Subnet) })
}

func (n *chart) known(subnet string) bool {
	return slices.ContainsFunc(n.t.Subnets, func(s Subnet) bool { return s.ID == subnet })
}

// home is the subnet of a group's first instance: there the group is drawn, and the others name it.
func (n *chart) home(g Group) (subnet string, ok bool) {
	for _, i := range n.t.Instances {
		if slices.Contains(i.Groups, g.ID) || slices.Contains(i.Groups, g.Name) {
			return i.Subnet, true
		}
	}
	return "", false
}

// groupsIn are the groups at home in a subnet; with false, those that no instance is in.
func (n *chart) groupsIn(subnet string, used bool) []Group {
	var all []Group
	for _, g := range n.t.Groups {
		if home, ok := n.home(g); ok == used && home == subnet {
			all = append(all, g)
		}
	}
	return all
}

const (
	gap            = 10.0
	boxWidth       = 340.0
	gatewayHeight  = 12 + 2*lineStep
	instanceWidth  = 236.0
	instanceHeight = 6*lineStep + 14
)

// subnet draws its groups and gateways on the left, and its instances right of them and below.
func (n *chart) subnet(s Subnet, y float64) float64 {
	at := len(n.Shapes)
	top, width := y, n.right-n.left
	kind := "private"
	if s.Public {
		kind = "public"
	} else if !n.known(s.ID) {
		kind = "unknown"
	}
	n.rect("subnet "+kind, n.left, top, width, 0)
	x, room := n.left+gap, width-2*gap
	n.tailed("strong", x, y+22, room, kind+" subnet "+s.CIDR, strings.TrimSpace(s.Name+" "+s.ID))
	y += 34
	columns := max(1, int((room+gap)/(instanceWidth+gap)))
	g := cells{x: x, y: y, columns: columns, width: (room+gap)/float64(columns) - gap, side: y}
	for _, group := range n.groupsIn(s.ID, true) {
		g.side = n.group(group, x, g.side, g.width) + gap
	}
	for _, gateway := range n.t.Gateways {
		if gateway.Subnet == s.ID && n.known(s.ID) {
			g.side = n.gateway(gateway, x, g.side, g.width) + gap
		}
	}
	y = max(g.side, n.instances(s, g))
	n.Shapes[at].Height = number(y - top)
	return y
}

// cells are the places for instances: in columns, of which the first is taken as far down as side.
type cells struct {
	x, y, width, side float64
	columns           int
}

// all are the first cells that are free.
func (c cells) all(count int) []point {
	var free []point
	y := c.y
	if c.columns == 1 {
		y = c.side
	}
	for ; len(free) < count; y += instanceHeight + gap {
		for column := range c.columns {
			if len(free) < count && (column > 0 || y >= c.side) {
				free = append(free, point{c.x + float64(column)*(c.width+gap), y})
			}
		}
	}
	return free
}

// group draws a security group with each talk to it: who it is with comes on the next line where there is no room.
func (n *chart) group(g Group, x, y, width float64) float64 {
	at, top, room := len(n.Shapes), y, width-24
	n.rect("group", x, y, width, 0)
	id := g.ID
	if g.Name == "" {
		id = ""
	}
	n.tailed("strong", x+12, y+20, room, g.Title(), id)
	n.starts[g.key()] = point{x, y + 15}
	y += 22
	for _, each := range n.talks {
		if each.to != g.key() {
			continue
		}
		y += lineStep
		n.ends[talkKey{each.from, each.to}] = point{x, y - 5}
		how, from := traffic(each.rules), "from "+n.peerName(each.from, each.rules)
		if textWidth(clean(how+" "+from)) <= room {
			n.tailed("", x+12, y, room, how, from)
			continue
		}
		n.text("", x+12, y, room, how)
		y += lineStep
		n.text("soft", x+12, y, room, from)
	}
	if y == top+22 {
		y += lineStep
		n.text("soft", x+12, y, room, "lets nobody in")
	}
	n.Shapes[at].Height = number(y + 10 - top)
	return y + 10
}

// peerName is the label of a source.
func (n *chart) peerName(key string, rules []Rule) string {
	for _, r := range rules {
		for _, p := range sources(n.t.Groups, r) {
			if p.key == key {
				return p.name
			}
		}
	}
	return key
}

func (n *chart) gateway(g Gateway, x, y, width float64) float64 {
	n.rect("gateway", x, y, width, gatewayHeight)
	n.tailed("strong", x+12, y+20, width-24, g.Kind+" gateway", g.Address)
	n.text("soft", x+12, y+20+lineStep, width-24, g.ID)
	return y + gatewayHeight
}

// instances draws a subnet's instances, and returns where they end.
func (n *chart) instances(s Subnet, c cells) float64 {
	mine := slices.DeleteFunc(slices.Clone(n.t.Instances), func(i Instance) bool { return i.Subnet != s.ID })
	if len(mine) == 0 {
		at := c.all(1)[0]
		n.text("soft", at.x, at.y+16, c.width, "no instance")
		return at.y + 16 + gap
	}
	end := 0.0
	for at, cell := range c.all(len(mine)) {
		n.instance(mine[at], cell.x, cell.y, c.width)
		end = cell.y + instanceHeight + gap
	}
	return end
}

func (n *chart) instance(i Instance, x, y, width float64) {
	class := "instance old"
	if i.New {
		class = "instance new"
	}
	n.rect(class, x, y, width, instanceHeight)
	if i.Serving {
		n.rect("serves", x, y+6, 5, instanceHeight-12)
	}
	lines := []string{
		i.Now(),
		i.ID,
		i.Image,
		strings.Join(slices.DeleteFunc([]string{i.Private, i.Public}, func(a string) bool { return a == "" }), " · "),
		n.t.GroupNames(i),
	}
	n.text("strong", x+12, y+20, width-24, cmp.Or(i.Name, i.Tier, i.ID, "without a name"))
	for at, line := range lines {
		class := "soft"
		if at == 0 {
			class = ""
		}
		n.text(class, x+12, y+20+lineStep*float64(at+1), width-24, line)
	}
}

// arrows draws each source's line: out of its box, along its lane, and into each group that lets it in. Lines differ in
// their dashes, so that one can be followed where several cross.
func (n *chart) arrows() {
	for _, each := range n.talks {
		start, lane := n.starts[each.from], slices.Index(n.lanes, each.from)
		end, ok := n.ends[talkKey{each.from, each.to}]
		if !ok {
			continue
		}
		n.path(
			"talk dash"+strconv.Itoa(lane%4),
			"M%s %sH%sV%sH%s",
			start.x,
			start.y,
			10+float64(lane)*n.step,
			end.y,
			end.x-7,
		)
		n.path("head", "M%s %sl-9 -4.5v9z", end.x-1, end.y)
		n.rect("start", start.x-3, start.y-3, 6, 6)
	}
}

// describe is the picture in words.
func (n *chart) describe(outside []peer) string {
	parts := []string{strings.TrimSpace("VPC " + n.t.VPC.ID + " " + n.t.VPC.CIDR)}
	for _, s := range n.subnets() {
		count := 0
		for _, i := range n.t.Instances {
			if i.Subnet == s.ID {
				count++
			}
		}
		parts = append(parts, strings.TrimSpace("subnet "+s.ID+" "+s.CIDR)+" has "+plural(count, "instance"))
	}
	for _, each := range n.talks {
		for _, g := range n.t.Groups {
			if g.key() == each.to {
				parts = append(
					parts,
					g.Title()+" lets in "+traffic(each.rules)+" from "+n.peerName(each.from, each.rules),
				)
			}
		}
	}
	return sentence(parts...) + " The tables below have all of it."
}
