package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// health draws the samples: how long an answer took as a dot, none as a cross above them, and moves as lines.
func health(r Report, width float64) drawing {
	d := newDrawing("health", width, "Health over time")
	answered, failures := judge(r)
	d.Text = clean(
		fmt.Sprintf("%s %s of failures; %s.", answered, plural(len(failures), "run"), plural(len(r.Moves), "move")),
	)
	if len(r.Health) == 0 {
		return *d
	}
	const left, tall = 62.0, 170.0
	times := []time.Time{r.Ended}
	most := time.Millisecond
	for _, s := range r.Health {
		times = append(times, s.At)
		if s.OK {
			most = min(max(most, s.Took), 24*time.Hour)
		}
	}
	for _, m := range r.Moves {
		times = append(times, m.At)
	}
	for _, i := range r.Interruptions {
		times = append(times, i.Start, i.End)
	}
	a := newAxis(left, width-14, r.Started, times...)
	marks := placeMarks(a, r.Moves)
	rows := 0
	for _, m := range marks {
		rows = max(rows, m.row+1)
	}
	strip := float64(rows)*markSize + 8
	top := strip + 32
	bottom := top + tall

	d.rect("lane", left, strip, a.right-left, 22)
	for _, i := range r.Interruptions {
		d.rect("pause", a.at(i.Start), strip, max(2, a.at(i.End)-a.at(i.Start)), bottom-strip)
	}
	d.grid(a, top, bottom)
	d.text("end soft", left-6, strip+15, left, "failed")
	full := niceLimit(most)
	for _, part := range []time.Duration{0, full / 2, full} {
		y := bottom - tall*float64(part)/float64(full)
		d.path("grid", "M%s %sH%s", left, y, a.right)
		d.text("end soft", left-6, y+4, left, levelLabel(part))
	}
	for i, m := range marks {
		d.path("move", "M%s %sL%s %sV%s", m.x, float64(m.row+1)*markSize, a.at(r.Moves[i].At), strip, bottom)
	}
	for i, m := range marks {
		d.rect("mark", m.x-markSize/2+1, float64(m.row)*markSize+1, markSize-2, markSize-2)
		d.text("middle strong", m.x, float64(m.row)*markSize+markSize/2+4.5, markSize, strconv.Itoa(i+1))
	}
	d.samples(
		r.Health,
		a,
		strip+11,
		func(took time.Duration) float64 { return bottom - tall*float64(max(0, min(took, full)))/float64(full) },
	)
	d.Height = number(bottom + axisHeight)
	return *d
}

// samples are two paths of whole numbers: thousands of samples fit into a small page, and those on one spot are one.
func (d *drawing) samples(all []Sample, a axis, failed float64, level func(time.Duration) float64) {
	var dots, crosses strings.Builder
	seen := map[string]bool{}
	for _, s := range all {
		out, line := &crosses, fmt.Sprintf("M%.0f %.0fl8 8m0-8l-8 8", a.at(s.At)-4, failed-4)
		if s.OK {
			out, line = &dots, fmt.Sprintf("M%.0f %.0fh0", a.at(s.At), level(s.Took))
		}
		if !seen[line] {
			seen[line] = true
			out.WriteString(line)
		}
	}
	d.path("dots", dots.String())
	d.path("crosses", crosses.String())
}

// niceLimit is a round duration that is not below the longest.
func niceLimit(most time.Duration) time.Duration {
	unit := time.Duration(math.Pow(10, math.Floor(math.Log10(float64(most)))))
	for _, factor := range []time.Duration{1, 2, 4, 6, 8} {
		if most <= factor*unit {
			return factor * unit
		}
	}
	return 10 * unit
}

func levelLabel(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%v s", d.Seconds())
	}
	return fmt.Sprintf("%v ms", float64(d)/float64(time.Millisecond))
}

// markSize is the side of a move's number.
const markSize = 22.0

// mark is the place of a move's number.
type mark struct {
	x   float64
	row int
}

// placeMarks puts the numbers above their moments, moved aside so that none covers another.
func placeMarks(a axis, moves []Move) []mark {
	rows := 1 + int(float64(len(moves))*markSize/(a.right-a.left))
	marks := make([]mark, len(moves))
	next := make([]float64, rows)
	for i, m := range moves {
		marks[i] = mark{max(a.at(m.At), next[i%rows]), i % rows}
		next[i%rows] = marks[i].x + markSize
	}
	limit := make([]float64, rows)
	for i := range limit {
		limit[i] = a.right
	}
	for i := len(marks) - 1; i >= 0; i-- {
		of := marks[i].row
		marks[i].x = min(marks[i].x, limit[of])
		limit[of] = marks[i].x - markSize
	}
	return marks
}
