package report

import (
	"fmt"
	"strings"
	"time"
)

// timeline draws each step as a bar on a common axis, a lane for each tier, and the interruptions of writes across
// them.
func timeline(r Report, width float64) drawing {
	d := newDrawing("timeline", width, "Timeline of the steps")
	if len(r.Steps) == 0 {
		return *d
	}
	l := lanes{drawing: d, narrow: width < 600}
	l.place(r, width)
	y := 0.0
	if len(r.Interruptions) > 0 {
		y = 26
	}
	bottom := y
	for _, tier := range tiers(r.Steps) {
		bottom += l.laneHeight(r.Steps, tier)
	}
	lane := y
	for _, tier := range tiers(r.Steps) {
		d.rect("lane", 0.5, lane+2, width-1, l.laneHeight(r.Steps, tier)-4)
		lane += l.laneHeight(r.Steps, tier)
	}
	labelled := 0.0
	for _, i := range r.Interruptions {
		from, to := l.at(i.Start), l.at(i.End)
		label := fmt.Sprintf("no writes for %d ms", i.End.Sub(i.Start).Milliseconds())
		d.rect("pause", from, y-6, max(2, to-from), bottom-y+6)
		labelled = d.centre("strong", (from+to)/2, y-10, labelled, label)
	}
	d.grid(l.axis, y, bottom)
	var told []string
	for _, tier := range tiers(r.Steps) {
		y = l.lane(r, tier, y)
		told = append(told, tierName(tier)+": "+strings.Join(stepNames(r.Steps, tier), ", "))
	}
	d.Height = number(bottom + axisHeight)
	d.Text = clean(sentence(told...) + " The table below has the times.")
	return *d
}

// lanes is a timeline under way. On a narrow one the names are above the bars, else left of them.
type lanes struct {
	*drawing
	axis
	narrow bool
	names  float64
}

func (l *lanes) place(r Report, width float64) {
	left, right := 10.0, width-10
	if !l.narrow {
		l.names = max(200, width*0.24)
		left, right = l.names+24, width-118
	}
	times := []time.Time{r.Ended}
	for _, s := range r.Steps {
		if !s.Started.IsZero() {
			times = append(times, s.Started, s.Started.Add(max(0, s.Took)))
		}
	}
	for _, i := range r.Interruptions {
		times = append(times, i.Start, i.End)
	}
	l.axis = newAxis(left, right, r.Started, times...)
}

func (l *lanes) rowHeight() float64 {
	if l.narrow {
		return 40
	}
	return 26
}

func (l *lanes) laneHeight(steps []Step, tier string) float64 {
	return 38 + l.rowHeight()*float64(len(stepNames(steps, tier)))
}

// lane draws a tier's steps, and returns where the next lane begins.
func (l *lanes) lane(r Report, tier string, y float64) float64 {
	l.text("strong", 10, y+22, 200, tierName(tier))
	y += 29
	for _, s := range r.Steps {
		if s.Tier == tier {
			l.step(r, s, y)
			y += l.rowHeight()
		}
	}
	return y + 9
}

func (l *lanes) step(r Report, s Step, y float64) {
	label := length(max(0, s.Took))
	if w := word(s); s.Result == "" && s.Took <= 0 {
		label = w
	} else if w != "ok" {
		label = w + ", " + label
	}
	class := "bar " + map[string]string{"ok": "ok", "failed": "failed", "undone": "undone"}[s.Result]
	from, to := l.at(s.Started), l.at(s.Started.Add(max(0, s.Took)))
	from = min(from, l.right-3)
	thick := max(3, to-from)
	if l.narrow {
		room := float64(l.Width) - 20
		l.text("end soft halo", float64(l.Width)-10, y+14, room/2, label)
		l.text("halo", 10, y+14, room-textWidth(fit(label, room/2))-8, s.Name)
		if !s.Started.IsZero() {
			l.rect(class, from, y+20, thick, 10)
		}
		return
	}
	l.text("", 10, y+17, l.names, s.Name)
	if s.Started.IsZero() {
		return
	}
	l.rect(class, from, y+5, thick, 16)
	l.text("soft halo", from+thick+7, y+17, float64(l.Width)-from-thick-8, label)
}

func stepNames(steps []Step, tier string) []string {
	var names []string
	for _, s := range steps {
		if s.Tier == tier {
			names = append(names, s.Name)
		}
	}
	return names
}

// tierName is a lane's name; steps of no tier are the stack's.
func tierName(tier string) string {
	if tier == "" {
		return "stack"
	}
	return tier
}
