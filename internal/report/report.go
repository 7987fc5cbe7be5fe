// Package report writes what happened in a deploy as one HTML page that needs nothing else: no script, no other file,
// no network. It draws what it is told and asks nobody; what is missing or makes no sense is left out, and said.
package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// Report is one deploy or rollback of a stack. All of its text is shown as text, whoever wrote it.
type Report struct {
	Stack, ID string
	// Kind is deploy or rollback.
	Kind           string
	Who            string
	Started, Ended time.Time
	From, To       Release
	// Result is running, done, rolled back or needs a person.
	Result string
	// Reason is why it is not done.
	Reason string
	Steps  []Step
	// Interruptions are when the database took no writes. One without an end lasts.
	Interruptions []Interval
	Moves         []Move
	Health        []Sample
	Topology      Topology
}

// Release is images that were proved together.
type Release struct {
	Name   string
	Images []Image
}

// Image is the image of a tier.
type Image struct{ Tier, ID string }

// Step is one thing that was done. Steps of several tiers run side by side.
type Step struct {
	Name, Tier string
	Started    time.Time
	Took       time.Duration
	// Result is ok, failed or undone; a step without one is under way.
	Result string
	Detail string
}

// Interval is from one moment to another.
type Interval struct{ Start, End time.Time }

// Move is a moment at which an address or a volume went elsewhere.
type Move struct {
	At   time.Time
	What string
}

// Sample is one question to the stack from outside.
type Sample struct {
	At     time.Time
	OK     bool
	Took   time.Duration
	Detail string
}

// Topology is the network and what runs in it.
type Topology struct {
	// Incomplete is why some of it is not known.
	Incomplete string
	VPC        VPC
	Subnets    []Subnet
	Instances  []Instance
	Groups     []Group
	Gateways   []Gateway
}

type VPC struct{ ID, CIDR string }

type Subnet struct {
	ID, Name, CIDR string
	Public         bool
}

// Instance is one that runs, or did before the deploy.
type Instance struct {
	ID, Name, Tier string
	// Subnet is the subnet's id.
	Subnet                        string
	Image, Private, Public, State string
	// Groups are the ids or names of its security groups.
	Groups []string
	// New is one that this deploy launched; Serving one that traffic goes to.
	New, Serving bool
}

// Group is a security group with its ingress rules.
type Group struct {
	ID, Name string
	Rules    []Rule
}

// Rule lets a range in, or a group.
type Rule struct {
	// Protocol is tcp, udp, icmp, or -1 for all.
	Protocol string
	// Port is -1 for all, or the first of those up to Last.
	Port, Last int
	// CIDR is a range; Group is the id or name of a security group.
	CIDR, Group, Description string
}

// Gateway is a way in or out.
type Gateway struct {
	// Kind is internet or NAT.
	Kind, ID, Address string
	// Subnet is the id of the subnet that a NAT gateway is in.
	Subnet string
}

// Write writes the page.
func Write(w io.Writer, r Report) error {
	if _, err := io.WriteString(&plaintext.Writer{W: w}, page(newView(r))); err != nil {
		return fmt.Errorf("write the report of %s: %w", r.ID, err)
	}
	return nil
}

// mostFailures is the largest number of runs of failed samples in the table.
const mostFailures = 20

// widths are those that each picture is drawn for: a phone, a tablet or a sheet of paper, a screen. The page shows one.
var widths = []float64{312, 700, 1060}

// view is a report as the page shows it.
type view struct {
	Report
	Tone, Mark, Took             string
	Rows                         []row
	Answered                     string
	Failures                     []failure
	More                         string
	Jumps                        []jump
	Pauses                       []string
	Timelines, Networks, Healths []drawing
}

// row is a step in the table.
type row struct {
	Step
	Offset, Seconds, Word string
}

// failure is a run of samples without an answer.
type failure struct {
	At, Until string
	Count     int
	Detail    string
}

// jump is a move in the list.
type jump struct{ At, What string }

func newView(r Report) view {
	r.Steps, r.Health, r.Moves = slices.Clone(r.Steps), slices.Clone(r.Health), slices.Clone(r.Moves)
	slices.SortStableFunc(r.Steps, func(a, b Step) int { return a.Started.Compare(b.Started) })
	slices.SortStableFunc(r.Health, func(a, b Sample) int { return a.At.Compare(b.At) })
	slices.SortStableFunc(r.Moves, func(a, b Move) int { return a.At.Compare(b.At) })
	if r.Started.IsZero() && len(r.Steps) > 0 {
		r.Started = r.Steps[0].Started
	}
	r, pauses := interrupted(r)
	v := view{
		Report: r,
		Pauses: pauses,
		Took:   "not known",
		Tone:   "open",
		Mark:   "…",
	}
	switch r.Result {
	case "done":
		v.Tone, v.Mark = "good", "✓"
	case "running":
		v.Took = "it is still running"
	case "rolled back":
		v.Tone, v.Mark = "bad", "↩"
	case "needs a person":
		v.Tone, v.Mark = "bad", "✕"
	}
	if !r.Started.IsZero() && !r.Ended.Before(r.Started) {
		v.Took = length(r.Ended.Sub(r.Started))
	}
	for _, s := range r.Steps {
		v.Rows = append(v.Rows, row{s, offset(r.Started, s.Started), seconds(s), word(s)})
	}
	for _, m := range r.Moves {
		v.Jumps = append(v.Jumps, jump{offset(r.Started, m.At), m.What})
	}
	v.Answered, v.Failures = judge(r)
	if more := len(v.Failures) - mostFailures; more > 0 {
		v.Failures, v.More = v.Failures[:mostFailures], fmt.Sprintf("And %d more.", more)
	}
	for _, w := range widths {
		v.Timelines = append(v.Timelines, timeline(r, w))
		v.Networks = append(v.Networks, network(r.Topology, w))
		v.Healths = append(v.Healths, health(r, w))
	}
	return v
}

// interrupted says when there were no writes. An interruption that lasts is drawn up to the end of what is known; one
// that makes no sense is left out.
func interrupted(r Report) (Report, []string) {
	var all []Interval
	var told []string
	for _, i := range r.Interruptions {
		from := offset(r.Started, i.Start) + " after the start"
		switch {
		case i.Start.IsZero():
		case i.End.IsZero() && !r.Ended.Before(i.Start):
			all = append(all, Interval{i.Start, r.Ended})
			told = append(told, fmt.Sprintf("Writes were interrupted %s, and still were at the end.", from))
		case !i.End.Before(i.Start):
			all = append(all, i)
			told = append(
				told,
				fmt.Sprintf("Writes were interrupted for %d ms, %s.", i.End.Sub(i.Start).Milliseconds(), from),
			)
		}
	}
	r.Interruptions = all
	return r, told
}

// Empty says that nothing is known of the network.
func (t Topology) Empty() bool {
	return t.VPC == (VPC{}) && len(t.Subnets)+len(t.Instances)+len(t.Groups)+len(t.Gateways) == 0
}

// SubnetName is a subnet's name or, if it has none, its id.
func (t Topology) SubnetName(id string) string {
	for _, s := range t.Subnets {
		if s.ID == id && s.Name != "" {
			return s.Name
		}
	}
	return id
}

// GroupNames are an instance's security groups as people call them.
func (t Topology) GroupNames(i Instance) string {
	var names []string
	for _, name := range i.Groups {
		for _, g := range t.Groups {
			if g.ID == name && name != "" {
				name = g.Title()
			}
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// Source is whom a rule lets in.
func (t Topology) Source(r Rule) string {
	var names []string
	for _, p := range sources(t.Groups, r) {
		if !p.group {
			names = append(names, strings.TrimSpace(p.name+" "+p.detail))
			continue
		}
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

// Now is an instance's state in words.
func (i Instance) Now() string {
	words := []string{"old", cmp.Or(i.State, "state not known")}
	if i.New {
		words[0] = "new"
	}
	if i.Serving {
		words = append(words, "serving")
	}
	return strings.Join(words, " · ")
}

// Title is a group's name or, if it has none, its id.
func (g Group) Title() string { return cmp.Or(g.Name, g.ID, "without a name") }

// word is a step's result.
func word(s Step) string {
	return cmp.Or(s.Result, "running")
}

// Title is a release's name; nothing is the word for no images at all.
func (r Release) Title(nothing string) string {
	if slices.ContainsFunc(r.Images, func(i Image) bool { return i.ID != "" }) {
		nothing = "images of no release"
	}
	return cmp.Or(r.Name, nothing)
}

// seconds is how long a step took, as far as that is known.
func seconds(s Step) string {
	if s.Result == "" && s.Took <= 0 {
		return "not known"
	}
	return fmt.Sprintf("%.1f", max(0, s.Took).Seconds())
}

// clock is a moment as people read it.
func clock(t time.Time) string {
	if t.IsZero() {
		return "not known"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// offset is how long after the start something was.
func offset(start, t time.Time) string {
	if start.IsZero() || t.IsZero() {
		return "not known"
	}
	d, sign := t.Sub(start), ""
	if d < 0 {
		d, sign = -d, "−"
	}
	if d < time.Second {
		return fmt.Sprintf("%s%.1f s", sign, d.Seconds())
	}
	return sign + length(d)
}

// length is how long something took, as exactly as people want it.
func length(d time.Duration) string {
	switch {
	case d < 0:
		return "not known"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// judge says in words what the samples show, and which of them failed.
func judge(r Report) (answered string, failures []failure) {
	if len(r.Health) == 0 {
		return "No sample was taken.", nil
	}
	var took []time.Duration
	for i := 0; i < len(r.Health); i++ {
		if r.Health[i].OK {
			took = append(took, r.Health[i].Took)
			continue
		}
		last := i
		for last+1 < len(r.Health) && !r.Health[last+1].OK && r.Health[last+1].Detail == r.Health[i].Detail {
			last++
		}
		failures = append(
			failures,
			failure{
				offset(r.Started, r.Health[i].At),
				offset(r.Started, r.Health[last].At),
				last - i + 1,
				r.Health[i].Detail,
			},
		)
		i = last
	}
	answered = fmt.Sprintf("%d of %d samples were answered", len(took), len(r.Health))
	if len(took) > 0 {
		slices.Sort(took)
		answered += fmt.Sprintf(
			": half of them within %s, the slowest after %s",
			length(max(0, took[len(took)/2])),
			length(max(0, took[len(took)-1])),
		)
	}
	return answered + ".", failures
}

// image is that of a tier.
func (r Release) image(tier string) string {
	for _, i := range r.Images {
		if i.Tier == tier {
			return cmp.Or(i.ID, "none")
		}
	}
	return "none"
}

// tiers are the tiers of steps, in the order of their first one.
func tiers(steps []Step) []string {
	var names []string
	for _, s := range steps {
		if !slices.Contains(names, s.Tier) {
			names = append(names, s.Tier)
		}
	}
	return names
}

// plural counts something.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// sentence joins parts, and ends.
func sentence(parts ...string) string { return strings.Join(parts, "; ") + "." }
