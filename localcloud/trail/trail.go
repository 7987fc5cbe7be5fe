// Package trail keeps which calls a cloud was asked for from outside, in the manner of CloudTrail: each is a line of
// JSON with who called, with which client, what, and how it ended. A call that was refused is there too, whoever
// refused it. It is for whoever wants to know what a program asks an account for: which policy it needs, how many calls
// it makes.
//
// The values of parameters are kept where they are ids and names; see Hidden.
//
// Limits: it is no journal. A line is written after its call and not synced, a line that cannot be written is lost, and
// of much the oldest goes. Calls of the cloud's own are not in it.
package trail

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

// The trail's files are of this size and number, the one that is written to included: some 50,000 calls.
const (
	fileSize = 16 << 20
	files    = 4
)

// Trail is written by a cloud that is up.
type Trail struct {
	path string
	log  *slog.Logger
	size int64 // of a file, at most

	mu      sync.Mutex
	file    *os.File
	written int64
	failed  bool // it was said that lines are lost
}

// Open goes on with the trail in a cloud's directory.
func Open(dir string, log *slog.Logger) (*Trail, error) {
	t := &Trail{path: filepath.Join(dir, "trail.jsonl"), log: log, size: fileSize}
	if err := t.open(); err != nil {
		return nil, fmt.Errorf("open the trail of calls: %w", err)
	}
	return t, nil
}

func (t *Trail) open() error {
	file, err := os.OpenFile(t.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	t.file, t.written = file, info.Size()
	return nil
}

// Record writes a line. What goes wrong with it is in the cloud's log, and nothing to the caller. Nil keeps nothing.
func (t *Trail) Record(e *Event) {
	if t == nil {
		return
	}
	line, err := json.Marshal(e)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		err = t.write(append(line, '\n'))
	}
	if err != nil && !t.failed {
		t.log.Warn("calls are missing in the trail", "error", err)
	}
	t.failed = err != nil
}

// write appends a line. The caller holds t.mu.
func (t *Trail) write(line []byte) error {
	if t.file == nil || t.written+int64(len(line)) > t.size {
		if err := t.rotate(); err != nil {
			return err
		}
	}
	n, err := t.file.Write(line)
	t.written += int64(n)
	return err
}

// rotate begins a new file and forgets the oldest one.
func (t *Trail) rotate() error {
	if t.file != nil {
		err := t.file.Close()
		if t.file = nil; err != nil {
			return err
		}
	}
	for n := files - 1; n > 0; n-- {
		if err := os.Rename(numbered(t.path, n-1), numbered(t.path, n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return t.open()
}

// numbered is the n-th file before the one that is written to.
func numbered(path string, n int) string {
	if n == 0 {
		return path
	}
	return fmt.Sprintf("%s.%d", path, n)
}

// Close ends it.
func (t *Trail) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return nil
	}
	err := t.file.Close()
	t.file = nil
	return err
}
