package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hostile is text that would be markup, style or an attribute, and what XML cannot hold.
const hostile = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>--></style>\x00\x01\xff\u202e{{.}}%s"

// cases are reports of all kinds, by name.
func cases() map[string]Report {
	all := map[string]Report{
		"nothing": {},
		"done":    sample(2, 200),
		"failed":  failed(),
		"big":     sample(20, 2000),
		"hostile": poisoned(),
	}
	running := sample(2, 0)
	running.Result, running.Ended, running.Interruptions, running.Moves = "running", time.Time{}, nil, nil
	running.Steps = append(running.Steps[:3], Step{Name: "watch", Started: after(12)}, Step{Name: "without a time"})
	all["running"] = running
	backwards := sample(2, 50)
	backwards.Ended = backwards.Started.Add(-time.Hour)
	backwards.Interruptions = []Interval{{after(9), after(3)}}
	for n := range backwards.Steps {
		backwards.Steps[n].Took, backwards.Steps[n].Started = -time.Second, after(float64(-n))
	}
	for n := range backwards.Health {
		backwards.Health[n].Took = -time.Second
	}
	all["backwards"] = backwards
	ages := sample(1, 3)
	ages.Started, ages.Ended, ages.Steps[0].Took = time.Unix(
		0,
		0,
	), time.Date(
		9999,
		1,
		1,
		0,
		0,
		0,
		0,
		time.UTC,
	), math.MaxInt64
	ages.Health[1].Took = math.MaxInt64
	all["ages"] = ages
	odd := Report{
		Topology: Topology{
			Instances: []Instance{{}, {ID: "i-1", Subnet: "subnet-x", Groups: []string{"sg-x", "sg-y"}}},
			Gateways:  []Gateway{{}},
			Groups: []Group{
				{},
				{
					ID: "sg-y",
					Rules: []Rule{
						{},
						{Protocol: "tcp", Port: -1, Group: "sg-y"},
						{Protocol: "-1", Port: -1, Group: "sg-gone"},
						{Protocol: "udp", Port: 53, CIDR: "no range"},
						{Protocol: "tcp", Port: 9, CIDR: "::/0"},
					},
				},
			},
		},
		Steps:         []Step{{}},
		Health:        []Sample{{}, {OK: true}},
		Moves:         []Move{{}},
		Interruptions: []Interval{{}},
	}
	all["odd"] = odd
	crowd := sample(3, 40)
	for n := range 60 {
		crowd.Topology.Groups[0].Rules = append(
			crowd.Topology.Groups[0].Rules,
			Rule{Protocol: "tcp", Port: 8000 + n, CIDR: fmt.Sprintf("192.0.2.%d/32", n%30)},
		)
		crowd.Moves = append(crowd.Moves, Move{after(26), "once more"})
	}
	all["crowd"] = crowd
	return all
}

// poisoned has the hostile text in each place that takes text.
func poisoned() Report {
	r := sample(3, 30)
	release := Release{hostile, []Image{{hostile, hostile}}}
	r.Stack, r.ID, r.Kind, r.Who = hostile, hostile, hostile, hostile
	r.Result, r.Reason, r.From, r.To = hostile, hostile, release, release
	r.Steps = []Step{{hostile, hostile, after(1), time.Second, hostile, hostile}}
	r.Moves = []Move{{after(2), hostile}}
	r.Health[3] = Sample{At: after(3), Detail: hostile}
	t := &r.Topology
	t.VPC, t.Incomplete = VPC{hostile, hostile}, hostile
	t.Subnets = append(t.Subnets, Subnet{hostile, hostile, hostile, true})
	t.Instances = append(
		t.Instances,
		Instance{hostile, hostile, hostile, hostile, hostile, hostile, hostile, hostile, []string{hostile}, true, true},
	)
	t.Groups = append(
		t.Groups,
		Group{
			hostile,
			hostile,
			[]Rule{{hostile, 1, 0, hostile, hostile, hostile}, {"tcp", 2, 0, "", hostile, hostile}},
		},
	)
	t.Gateways = append(t.Gateways, Gateway{hostile, hostile, hostile, hostile})
	return r
}

func written(t *testing.T, r Report) string {
	t.Helper()
	var page bytes.Buffer
	if err := Write(&page, r); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

var svgs = regexp.MustCompile(`(?s)<svg.*?</svg>`)

// TestPictures has each be XML with a title and a description, and no coordinate that is none.
func TestPictures(t *testing.T) {
	for name, r := range cases() {
		page := written(t, r)
		if strings.Contains(page, "%!") {
			t.Errorf("%s: a verb of a format has no text, or a text no verb", name)
		}
		found := svgs.FindAllString(page, -1)
		want := 0
		for _, there := range []bool{len(r.Steps) > 0, !r.Topology.Empty(), len(r.Health) > 0} {
			if there {
				want += len(widths)
			}
		}
		if len(found) != want {
			t.Errorf("%s: %d pictures, want %d", name, len(found), want)
		}
		for _, svg := range found {
			decoder := xml.NewDecoder(strings.NewReader(svg))
			for {
				if _, err := decoder.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%s: %v:\n%s", name, err, svg)
				}
			}
			var head struct {
				Title string `xml:"title"`
				Text  string `xml:"desc"`
			}
			if err := xml.Unmarshal([]byte(svg), &head); err != nil || head.Title == "" || head.Text == "" {
				t.Errorf("%s: a picture says %+v of itself: %v", name, head, err)
			}
			for _, attribute := range regexp.MustCompile(` (?:x|y|width|height|viewBox|d)="([^"]*)"`).
				FindAllStringSubmatch(svg, -1) {
				if !regexp.MustCompile(`^[-0-9. MLHVhvlmz]*[0-9z]$`).MatchString(attribute[1]) {
					t.Errorf("%s: a coordinate is %s", name, attribute[0])
				}
			}
		}
	}
}

// TestInside has every shape within its picture, whatever there is to draw.
func TestInside(t *testing.T) {
	for name, r := range cases() {
		v := newView(r)
		for _, d := range slices.Concat(v.Timelines, v.Networks, v.Healths) {
			for _, s := range d.Shapes {
				if s.Kind != "path" && !within(s, shape{Width: d.Width, Height: d.Height}) {
					t.Errorf("%s: %s, %v x %v: %+v is outside", name, d.ID, d.Width, d.Height, s)
				}
			}
			for _, s := range d.Shapes {
				for _, point := range regexp.MustCompile(`M(\S+) ([0-9.-]+)`).FindAllStringSubmatch(s.Path, -1) {
					x, errX := strconv.ParseFloat(point[1], 64)
					y, errY := strconv.ParseFloat(point[2], 64)
					if errX != nil || errY != nil || x < 0 || y < 0 || x > float64(d.Width) || y > float64(d.Height) {
						t.Errorf("%s: %s: a %s begins at %s", name, d.ID, s.Class, point[0])
					}
				}
			}
		}
	}
}

// TestUntrustedText is nowhere markup, though it is in every field.
func TestUntrustedText(t *testing.T) {
	page := written(t, poisoned())
	if found := regexp.MustCompile(`(?i)<script|<img|\son[a-z]+="|</style>.*</style>|-->|\sstyle=`).
		FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
	if strings.Count(page, "</title>") != 1+strings.Count(page, "<title id=") || strings.Count(page, "<style>") != 1 {
		t.Error("text has ended an element")
	}
	if n := strings.Count(page, "&lt;script&gt;alert(1)&lt;/script&gt;"); n < 30 {
		t.Errorf("the text is shown %d times", n)
	}
}

// TestNothingElseIsNeeded has no address in the page, no script, and a policy that stops both.
func TestNothingElseIsNeeded(t *testing.T) {
	for name, r := range cases() {
		if name == "hostile" {
			continue
		}
		page := written(t, r)
		foreign := regexp.MustCompile(`(?i)<script|<link|<img|<iframe|@import|url\(|https?://|` +
			`\s(?:src|href|style|on[a-z]+)=`)
		if found := foreign.FindString(page); found != "" && name != "failed" {
			t.Errorf("%s: the page has %q", name, found)
		}
		if !strings.Contains(page, `content="default-src &#39;none&#39;; `) || strings.Contains(page, "unsafe") {
			t.Errorf("%s: the page's policy is not strict", name)
		}
	}
}

func TestSize(t *testing.T) {
	r := sample(20, 2000)
	if size := len(written(t, r)); size > 200_000 {
		t.Errorf("%d bytes", size)
	}
	for n := range r.Health {
		r.Health[n].OK = n%2 == 0
		r.Health[n].Took = time.Duration(n) * time.Millisecond
	}
	if size := len(written(t, r)); size > 200_000 {
		t.Errorf("%d bytes where every other sample failed", size)
	}
}

// boxes are the rects of a class.
func boxes(d drawing, class string) []shape {
	var found []shape
	for _, s := range d.Shapes {
		if s.Kind == "rect" && slices.Contains(strings.Fields(s.Class), class) {
			found = append(found, s)
		}
	}
	return found
}

func overlap(a, b shape) bool {
	return a.X < b.X+b.Width && b.X < a.X+a.Width && a.Y < b.Y+b.Height && b.Y < a.Y+a.Height
}

func within(a, b shape) bool {
	return a.X >= b.X && a.Y >= b.Y && a.X+a.Width <= b.X+b.Width && a.Y+a.Height <= b.Y+b.Height
}

// TestBoxesOfTheNetwork has a box for each instance, none over another, each in one subnet; ranges are outside of the
// VPC.
func TestBoxesOfTheNetwork(t *testing.T) {
	for count := 1; count <= 20; count++ {
		for _, width := range widths {
			r := sample(count, 0)
			d := network(r.Topology, width)
			small := slices.Concat(boxes(d, "instance"), boxes(d, "group"), boxes(d, "gateway"), boxes(d, "peer"))
			if len(small) != count+2+2+2+2 {
				t.Fatalf("%d instances, %.0f wide: %d boxes", count, width, len(small))
			}
			for i, a := range small {
				for _, b := range small[:i] {
					if overlap(a, b) {
						t.Errorf("%d instances, %.0f wide: %+v is over %+v", count, width, a, b)
					}
				}
				inside := 0
				for _, subnet := range boxes(d, "subnet") {
					if within(a, subnet) {
						inside++
					}
				}
				// The internet gateway is in the VPC's border.
				if vpc := boxes(d, "vpc")[0]; overlap(a, vpc) == (a.Class == "peer") ||
					a.Class != "gateway" && a.Class != "peer" && inside != 1 {
					t.Errorf("%d instances, %.0f wide: %+v is in %d subnets", count, width, a, inside)
				}
			}
			if vpc := boxes(d, "vpc")[0]; vpc.Y+vpc.Height > d.Height || vpc.X+vpc.Width > d.Width {
				t.Errorf("%d instances: the VPC %+v is cut off at %v", count, vpc, d.Height)
			}
		}
	}
}

// TestTalks draws an arrow for each pair of a source and a group, from what the rules say and nothing else.
func TestTalks(t *testing.T) {
	r := sample(2, 0)
	all, outside := talks(r.Topology.Groups)
	var told []string
	for _, talk := range all {
		told = append(told, talk.from+" > "+talk.to+": "+traffic(talk.rules))
	}
	want := []string{
		"range 198.51.100.1/32 > group sg-0a0a0a0a0a0a0a0a1 web-sg: tcp 22",
		"range 0.0.0.0/0 > group sg-0a0a0a0a0a0a0a0a1 web-sg: tcp 80, 443",
		"group sg-0a0a0a0a0a0a0a0a1 web-sg > group sg-0b0b0b0b0b0b0b0b2 db-sg: tcp 22, 3306; icmp",
	}
	if !slices.Equal(told, want) || len(outside) != 2 || outside[0].name != "operator" ||
		outside[1].name != "internet" {
		t.Errorf("got %q, outside %+v", told, outside)
	}
	for _, width := range widths {
		d := network(r.Topology, width)
		if got := strings.Count(fmt.Sprint(d.Shapes), "{path talk"); got != len(want) {
			t.Errorf("%.0f wide: %d arrows, want %d", width, got, len(want))
		}
	}
	r.Topology.Groups[1].Rules = nil
	if d := network(
		r.Topology,
		widths[0],
	); strings.Count(fmt.Sprint(d.Shapes), "{path talk") != 2 ||
		!strings.Contains(fmt.Sprint(d.Shapes), "lets nobody in") {
		t.Errorf("without its rules db-sg still lets somebody in: %v", d.Shapes)
	}
}

func TestTraffic(t *testing.T) {
	rules := []Rule{
		{Protocol: "tcp", Port: 443},
		{Protocol: "tcp", Port: 80},
		{Protocol: "tcp", Port: 443},
		{Protocol: "tcp", Port: 8000, Last: 8100},
		{Protocol: "udp", Port: -1},
		{Protocol: "icmp", Port: -1},
		{Protocol: "-1", Port: -1},
	}
	if got := traffic(rules); got != "tcp 80, 443, 8000–8100; udp, all ports; icmp; all traffic" {
		t.Errorf("got %s", got)
	}
}

// TestBars has one for each step with a time, on the axis.
func TestBars(t *testing.T) {
	for name, r := range cases() {
		for _, width := range widths {
			v := newView(r)
			d := timeline(v.Report, width)
			want := 0
			for _, s := range r.Steps {
				if !s.Started.IsZero() {
					want++
				}
			}
			bars := boxes(d, "bar")
			if len(bars) != want {
				t.Errorf("%s, %.0f wide: %d bars, want %d", name, width, len(bars), want)
			}
			lanes := boxes(d, "lane")
			right := number(width - 10)
			if width > 600 {
				right = number(width - 118)
			}
			for _, bar := range bars {
				if bar.X+bar.Width > right+0.1 {
					t.Errorf("%s, %.0f wide: the bar %+v goes over the axis's end, %v", name, width, bar, right)
				}
				if !slices.ContainsFunc(lanes, func(lane shape) bool { return within(bar, lane) }) || bar.Width < 3 {
					t.Errorf("%s, %.0f wide: the bar %+v is in no lane", name, width, bar)
				}
			}
		}
	}
}

// TestBarsInTheOrderOfTime has them, and the interruption, where their times are.
func TestBarsInTheOrderOfTime(t *testing.T) {
	d := timeline(sample(2, 0), 1060)
	bars := boxes(d, "bar")
	pause := boxes(d, "pause")[0]
	// In the order of the lanes: three of the stack, four of the web tier, six of the database.
	if web, db := bars[3], bars[7]; web.X != db.X || web.Y >= db.Y {
		t.Errorf("both tiers begin side by side, but web is %+v and db %+v", web, db)
	}
	if pause.X != bars[10].X || pause.X+pause.Width < bars[12].X+1.9 ||
		pause.X+pause.Width > bars[12].X+bars[12].Width {
		t.Errorf("the interruption %+v is not from %+v to %+v", pause, bars[10], bars[12])
	}
	if watch := bars[1]; math.Abs(float64(pause.Width/watch.Width)-0.57/12) > 0.001 {
		t.Errorf("the interruption %+v is not 0.57 s where 12 s are %+v", pause, watch)
	}
}

// TestInterruptions says each of them, also one that lasts; one without a beginning, or that ends before it, is none.
func TestInterruptions(t *testing.T) {
	r := Report{Started: began, Ended: after(10), Steps: []Step{{Name: "watch", Started: began}},
		Interruptions: []Interval{{after(1), after(1.5)}, {End: after(2)}, {after(4), after(3)}, {Start: after(8)}}}
	page := written(t, r)
	for _, want := range []string{
		"Writes were interrupted for 500 ms, 1.0 s after the start.",
		"Writes were interrupted 8.0 s after the start, and still were at the end.",
	} {
		if strings.Count(page, want) != 1 {
			t.Errorf("the page does not say once %q", want)
		}
	}
	if n := strings.Count(page, "Writes were"); n != 2 {
		t.Errorf("%d interruptions, want 2", n)
	}
	if bands := boxes(timeline(newView(r).Report, 1060), "pause"); len(bands) != 2 || bands[0].X >= bands[1].X {
		t.Errorf("the bands are %+v", bands)
	}
}

// TestHealth has a cross for each sample that failed, a dot for each other that is not on one already, and moves where
// they happened.
func TestHealth(t *testing.T) {
	const ms = time.Millisecond
	r := Report{Started: began, Ended: after(10), Moves: []Move{{after(5), "to the new one"}}, Health: []Sample{
		{
			after(0),
			true,
			10 * ms,
			"",
		},
		{after(1), true, 10 * ms, ""},
		{after(1), true, 10 * ms, ""},
		{after(2), true, 10 * ms, ""},
		{
			after(5),
			false,
			0,
			"refused",
		},
		{after(6), false, 0, "refused"},
		{after(7), false, 0, "timed out"},
		{after(10), true, 20 * ms, ""},
	}}
	d := health(r, 1060)
	paths := map[string]string{}
	for _, s := range d.Shapes {
		paths[s.Class] = s.Path
	}
	if strings.Count(paths["dots"], "M") != 4 || strings.Count(paths["crosses"], "M") != 3 {
		t.Errorf("dots %s, crosses %s", paths["dots"], paths["crosses"])
	}
	if at := strings.Split(strings.TrimPrefix(paths["move"], "M"), " ")[0]; at != "554" { // halfway between 62 and 1046
		t.Errorf("the move is at %s", at)
	}
	page := written(t, r)
	for _, want := range []string{
		"5 of 8 samples were answered: half of them within 10 ms, the slowest after 20 ms.",
		`<td class="n">5.0 s</td><td class="n">6.0 s</td><td class="n">2</td><td class="long">refused</td>`,
		`<td class="n">7.0 s</td><td class="n">7.0 s</td><td class="n">1</td><td class="long">timed out</td>`,
		"to the new one",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// TestMarks has the numbers of moves cover neither each other nor the picture's edge.
func TestMarks(t *testing.T) {
	for _, count := range []int{1, 2, 12, 60} {
		for _, width := range widths {
			r := sample(1, 10)
			r.Moves = nil
			for range count {
				r.Moves = append(r.Moves, Move{after(41), "x"})
			}
			d := health(r, width)
			marks := boxes(d, "mark")
			for i, a := range marks {
				if a.X < 0 || a.X+a.Width > d.Width {
					t.Errorf("%d moves, %.0f wide: a number is cut off: %+v", count, width, a)
				}
				for _, b := range marks[:i] {
					if overlap(a, b) {
						t.Errorf("%d moves, %.0f wide: %+v is over %+v", count, width, a, b)
					}
				}
			}
			if len(marks) != count {
				t.Errorf("%d moves have %d numbers", count, len(marks))
			}
		}
	}
}

func TestTicks(t *testing.T) {
	for _, span := range []time.Duration{
		0, time.Microsecond, 3 * time.Second, 41 * time.Second, 17 * time.Minute, 30 * time.Hour, math.MaxInt64,
	} {
		a := newAxis(0, 300, began, began.Add(span))
		ticks := a.ticks(4)
		if len(ticks) < 1 || len(ticks) > 6 {
			t.Errorf("%s: %d ticks", span, len(ticks))
		}
		for i, tick := range ticks {
			if tick.x < 0 || tick.x > 300 || i > 0 && tick.label == ticks[i-1].label {
				t.Errorf("%s: %+v", span, ticks)
			}
		}
	}
	a := newAxis(0, 300, began, began.Add(-10*time.Second), began.Add(10*time.Second))
	if got := fmt.Sprint(a.ticks(4)); got != "[{0 −10 s} {75 −5 s} {150 0 s} {225 5 s} {300 10 s}]" {
		t.Errorf("around the start there are %s", got)
	}
}

// TestHeadline says what happened, in words.
func TestHeadline(t *testing.T) {
	for name, wants := range map[string][]string{
		"done": {
			"<h1>golden</h1>",
			"20261120-091500",
			"20261123-204112",
			"</span> done</h2>",
			"ada@workshop",
			"2026-11-23 21:04:05 UTC",
			"<dd>41.3 s</dd>",
			"Writes were interrupted for 570 ms, 25.4 s after the start.",
		},
		"failed": {
			"</span> rolled back</h2>",
			"not ready within 2 min",
			"hint: goldsmith diagnose",
			`<td class="bad">failed</td>`,
			"&lt;script&gt;",
		},
		"running": {
			"</span> running</h2>",
			"<dd>it is still running</dd>",
			`<td class="n">12.0 s</td><td class="n">not known</td>`,
			"No sample was taken.",
		},
		"backwards": {"<dt>Took</dt><dd>not known</dd>", "−1.0 s"},
		"nothing": {
			"result not known",
			"No step was recorded.",
			"Nothing is known of the network.",
			"No sample was taken.",
		},
	} {
		page := written(t, cases()[name])
		for _, want := range wants {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the page does not say %q", name, want)
			}
		}
		if interrupted := name == "done" ||
			name == "failed"; strings.Contains(
			page,
			"Writes were interrupted",
		) != interrupted {
			t.Errorf("%s: the page should speak of an interruption: %v", name, interrupted)
		}
	}
}

func TestLength(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1:                       "not known",
		0:                        "0 ms",
		412 * time.Millisecond:   "412 ms",
		12345 * time.Millisecond: "12.3 s",
		125 * time.Second:        "2 min 05 s",
		62 * time.Minute:         "1 h 02 min",
	} {
		if got := length(d); got != want {
			t.Errorf("%d is %s, want %s", d, got, want)
		}
	}
	if n, err := strconv.ParseFloat(number(math.NaN()).String(), 64); err != nil || n != 0 {
		t.Errorf("no number is %v, %v", n, err)
	}
}
