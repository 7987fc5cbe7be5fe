package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// drawing is an SVG: shapes in the order in which they are painted.
type drawing struct {
	ID, Title, Text string
	Width, Height   number
	Shapes          []shape
}

// shape is a rect (X, Y, Width, Height), a path (Path) or a text (Text at X, Y, with Tail after it in
// plain and soft).
type shape struct {
	Kind, Class         string
	X, Y, Width, Height number
	Path, Text, Tail    string
}

// number is a coordinate. It is never NaN or infinite, and has a digit after the point at most.
type number float64

func (n number) String() string {
	f := float64(n)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		f = 0
	}
	return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64)
}

// Sizes of text, as in the style sheet.
const (
	textSize = 13
	lineStep = 18
	// axisHeight is the height of an axis's labels, below it.
	axisHeight = 28
	// bold is the width of bold text relative to plain text.
	bold = 1.12
)

func newDrawing(kind string, width float64, title string) *drawing {
	return &drawing{ID: fmt.Sprintf("%s-%.0f", kind, width), Title: clean(title), Width: number(width)}
}

func (d *drawing) rect(class string, x, y, width, height float64) {
	d.Shapes = append(
		d.Shapes,
		shape{
			Kind:   "rect",
			Class:  class,
			X:      number(x),
			Y:      number(y),
			Width:  number(max(0, width)),
			Height: number(max(0, height)),
		},
	)
}

func (d *drawing) path(class, format string, points ...float64) {
	args := make([]any, len(points))
	for i, p := range points {
		args[i] = number(p)
	}
	if format != "" {
		d.Shapes = append(d.Shapes, shape{Kind: "path", Class: class, Path: fmt.Sprintf(format, args...)})
	}
}

// text writes at most as much as has room; the tables have all of it. It returns the width that is taken.
func (d *drawing) text(class string, x, y, room float64, text string) float64 {
	if strings.Contains(class, "strong") {
		return bold * d.write(class, x, y, fit(text, room/bold))
	}
	return d.write(class, x, y, fit(text, room))
}

// tailed writes a text and, as far as there is room, another after it.
func (d *drawing) tailed(class string, x, y, room float64, text, tail string) {
	const space = textSize / 2
	if taken := d.text(class, x, y, room, text); taken > 0 {
		d.Shapes[len(d.Shapes)-1].Tail = fit(tail, room-taken-space)
		return
	}
	d.text("soft", x, y, room, tail)
}

func (d *drawing) write(class string, x, y float64, text string) float64 {
	if text != "" {
		d.Shapes = append(d.Shapes, shape{Kind: "text", Class: class, X: number(x), Y: number(y), Text: text})
	}
	return textWidth(text)
}

// centre writes around x, but not over the picture's edges nor over what ends at after. It returns where the text ends.
func (d *drawing) centre(class string, x, y, after float64, text string) float64 {
	half := bold * textWidth(text) / 2
	x = max(half, min(x, float64(d.Width)-half))
	if x-half < after {
		return after
	}
	d.write(class+" middle", x, y, text)
	return x + half
}

// clean is text that XML can hold, on one line.
func clean(text string) string {
	return plaintext.Line(text)
}

// textWidth is an upper bound of a text's width: the reader's font is not known.
func textWidth(text string) float64 {
	em := 0.0
	for _, r := range text {
		switch {
		case r >= 0x1100 || strings.ContainsRune("mwMW@%…", r):
			em += 1.03
		case strings.ContainsRune("<>=+~#&−", r):
			em += 0.86
		case strings.ContainsRune("iljftr.,:;|!()[] -/'·", r):
			em += 0.42
		case unicode.IsUpper(r):
			em += 0.75
		default:
			em += 0.64
		}
	}
	return em * textSize
}

// fit cuts a text to its room.
func fit(text string, room float64) string {
	text = clean(text)
	if textWidth(text) <= room {
		return text
	}
	runes := []rune(text)
	for len(runes) > 0 && textWidth(string(runes)+"…") > room {
		runes = runes[:len(runes)-1]
	}
	if len(runes) == 0 {
		return ""
	}
	return strings.TrimRight(string(runes), " ") + "…"
}

// axis is time from left to right.
type axis struct {
	origin, start time.Time
	span          time.Duration
	left, right   float64
}

// newAxis has room for all of the times; one that is not known does not count.
func newAxis(left, right float64, origin time.Time, times ...time.Time) axis {
	a := axis{origin: origin, start: origin, left: left, right: right}
	var end time.Time
	for _, t := range append(times, origin) {
		if t.IsZero() {
			continue
		}
		if a.start.IsZero() || t.Before(a.start) {
			a.start = t
		}
		if t.After(end) {
			end = t
		}
	}
	if a.origin.IsZero() {
		a.origin = a.start
	}
	if a.span = end.Sub(a.start); a.span <= 0 {
		a.span = time.Second
	}
	return a
}

// at is the x coordinate of a moment; one outside of the axis is at its edge.
func (a axis) at(t time.Time) float64 {
	part := float64(t.Sub(a.start)) / float64(a.span)
	return a.left + (a.right-a.left)*max(0, min(part, 1))
}

// tickSteps are the distances that people read at a glance.
var tickSteps = []time.Duration{
	time.Millisecond,
	10 * time.Millisecond,
	100 * time.Millisecond,
	200 * time.Millisecond,
	500 * time.Millisecond,
	time.Second,
	2 * time.Second,
	5 * time.Second,
	10 * time.Second,
	20 * time.Second,
	30 * time.Second,
	time.Minute,
	2 * time.Minute,
	5 * time.Minute,
	10 * time.Minute,
	20 * time.Minute,
	30 * time.Minute,
	time.Hour,
	2 * time.Hour,
	6 * time.Hour,
	24 * time.Hour,
}

// tick is a moment with its distance from the origin.
type tick struct {
	x     float64
	label string
}

// ticks are at most n+1 of them.
func (a axis) ticks(n int) []tick {
	step := tickSteps[len(tickSteps)-1]
	for _, s := range tickSteps {
		if a.span/time.Duration(n) <= s {
			step = s
			break
		}
	}
	for step < a.span/time.Duration(n) {
		step *= 2
	}
	before := a.start.Sub(a.origin)
	first := before / step
	if first*step < before {
		first++
	}
	var all []tick
	for i := first; i-first <= time.Duration(n) && i*step-before <= a.span; i++ {
		all = append(all, tick{a.at(a.origin.Add(i * step)), tickLabel(i*step, step)})
	}
	return all
}

func tickLabel(d, step time.Duration) string {
	text := fmt.Sprintf("%v s", math.Round(math.Abs(d.Seconds())*1000)/1000)
	switch {
	case step >= time.Hour:
		text = fmt.Sprintf("%.0f h", math.Abs(d.Hours()))
	case step >= time.Minute:
		text = fmt.Sprintf("%.0f min", math.Abs(d.Minutes()))
	}
	if d < 0 {
		return "−" + text
	}
	return text
}

// grid draws the axis: lines from top to bottom, and what they mean below.
func (d *drawing) grid(a axis, top, bottom float64) {
	n := 4
	if d.Width > 600 {
		n = 8
	}
	last := 0.0
	for _, t := range a.ticks(n) {
		d.path("grid", "M%s %sV%s", t.x, top, bottom)
		last = d.centre("soft", t.x, bottom+axisHeight-6, last, t.label)
	}
}
