package firstboot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// A line is written to the console again after pauses that double, as the kernel may have torn it. From then on a timer
// has it written now and then: EC2 keeps the last 64 KB of a console (GetConsoleOutput in the EC2 API Reference).
const (
	firstPause = 5 * time.Second
	longPause  = time.Minute
	// repeatFor is how old a report is when it is written for the last time but by the timer.
	repeatFor = 2 * time.Minute
)

// reportFile has the line of the last report in ReadyUnit's own directory, which is in memory.
const reportFile = "report"

// tell writes a line to the console, from where the API shows it, and to the journal.
func tell(line string) error {
	fmt.Println(line)
	return toConsole(line)
}

// toConsole writes lines to the console in one go, so that others write before or after them. It begins on a line of
// its own.
func toConsole(text string) error {
	console, err := os.OpenFile("/dev/console", os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write to the console: %w", err)
	}
	_, err = console.WriteString("\n" + text + "\n")
	return errors.Join(err, console.Close())
}

// keepReport has Repeat say a report again.
func keepReport(dir, line string) {
	if err := WriteFile(filepath.Join(dir, reportFile), []byte(line), 0o644, 0, 0); err != nil {
		slog.Warn("the report will not be repeated on the console", "reason", err) // it was told once
	}
}

// Repeat writes the SSH host keys and the last report to the console again: for some time after the report, and once
// where that is over.
func Repeat(ctx context.Context) error {
	return repeat(ctx, instance.ReadyDir, tellHostKeys, toConsole)
}

func repeat(ctx context.Context, dir string, keys func(), say func(line string) error) error {
	for pause := firstPause; ; pause *= 2 {
		keys()
		age, err := repeatReport(dir, say)
		if err != nil {
			slog.Warn("the report was not repeated on the console", "reason", err)
		}
		if err != nil || age >= repeatFor {
			return nil // a unit that failed would make the instance a sick one
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// repeatReport says the last report again and returns its age.
func repeatReport(dir string, say func(line string) error) (time.Duration, error) {
	path := filepath.Join(dir, reportFile)
	line, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return repeatFor, nil // no instance of a stack has one
	}
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return time.Since(info.ModTime()), say(string(line))
}

// reminder says a line again while something else is waited for.
type reminder struct {
	next  time.Time
	pause time.Duration
}

func newReminder() *reminder { return &reminder{next: time.Now().Add(firstPause), pause: firstPause} }

// due tells whether the line is to be said again now.
func (r *reminder) due() bool {
	if time.Now().Before(r.next) {
		return false
	}
	r.pause = min(2*r.pause, longPause)
	r.next = time.Now().Add(r.pause)
	return true
}
