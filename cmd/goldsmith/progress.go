package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// progress tells what goes on, a line at a time with the time since the start. On a terminal, the steps that are
// under way stand below, each with how long it has taken so far; vbauerster/mpb is for bars whose end is known. Its
// methods may be called from several goroutines.
type progress struct {
	w       io.Writer
	width   int // of the terminal; 0 where there is none
	started time.Time
	// timings is a file to which a line is added for each step, or empty.
	timings string

	mu     sync.Mutex
	active []*activeStep
	table  []string
	err    error
	stop   chan struct{}
	drawn  sync.WaitGroup
}

type activeStep struct {
	name  string
	began time.Time
}

func newProgress(w io.Writer) *progress {
	// It moves the cursor, and cleans what it is told itself.
	p := &progress{w: plaintext.Behind(w), started: time.Now()}
	if f, ok := p.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			p.width = width
		}
	}
	return p
}

// say tells something in a line of its own.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(fmt.Sprintf(format, args...))
}

func (p *progress) line(text string) {
	p.clear()
	fmt.Fprintf(p.w, "%6.1f s  %s\n", time.Since(p.started).Seconds(), plaintext.Lines(text))
	p.draw()
}

// step begins a step; what it returns ends it.
func (p *progress) step(name string) (done func(error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	begun := &activeStep{name: name, began: time.Now()}
	p.active = append(p.active, begun)
	if p.width > 0 && p.stop == nil {
		stop, ticker := make(chan struct{}), time.NewTicker(redrawEvery)
		p.stop = stop
		p.drawn.Go(func() {
			defer ticker.Stop()
			p.redraw(stop, ticker.C)
		})
	}
	p.draw()
	return func(err error) {
		took := time.Since(begun.began)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.active = slices.DeleteFunc(p.active, func(other *activeStep) bool { return other == begun })
		text := fmt.Sprintf("%s: %.1f s", name, took.Seconds())
		if err != nil {
			text = fmt.Sprintf("%s: failed after %.1f s", name, took.Seconds())
		} else {
			p.note(fmt.Sprintf("%s\t%.1f", name, took.Seconds()))
		}
		p.line(text)
	}
}

// note adds a line to the table and to the file of timings.
func (p *progress) note(line string) {
	p.table = append(p.table, line)
	if p.timings == "" {
		return
	}
	f, err := os.OpenFile(p.timings, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintln(f, line)
		err = errors.Join(err, f.Close())
	}
	p.err = errors.Join(p.err, err)
}

// redrawEvery is how often the times of the steps are brought up to date.
const redrawEvery = 200 * time.Millisecond

// redraw keeps the times of the steps that are under way up to date, at each tick. stop is handed over, as the field of
// that name is empty again once somebody has ended it.
func (p *progress) redraw(stop <-chan struct{}, ticks <-chan time.Time) {
	for {
		select {
		case <-stop:
			return
		case <-ticks:
		}
		p.mu.Lock()
		p.clear()
		p.draw()
		p.mu.Unlock()
	}
}

func (p *progress) clear() {
	if p.width > 0 {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// draw writes the steps that are under way, in no more than a line of the terminal.
func (p *progress) draw() {
	if p.width == 0 || len(p.active) == 0 {
		return
	}
	var texts []string
	for _, s := range p.active {
		texts = append(texts, fmt.Sprintf("%s %.1f s", s.name, time.Since(s.began).Seconds()))
	}
	running := plaintext.Line(strings.Join(texts, ", "))
	line := []rune(fmt.Sprintf("%6.1f s  ... %s", time.Since(p.started).Seconds(), running))
	fmt.Fprint(p.w, "\r\x1b[K"+string(line[:min(len(line), p.width-1)]))
}

// end stops drawing, and tells what could not be written.
func (p *progress) end() error {
	p.mu.Lock()
	if p.stop != nil {
		close(p.stop)
		p.stop = nil
		p.clear()
	}
	p.mu.Unlock()
	p.drawn.Wait()
	return p.err
}

func (p *progress) print(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\nstep\tseconds\t")
	for _, line := range p.table {
		fmt.Fprintln(table, line+"\t")
	}
	table.Flush()
}
