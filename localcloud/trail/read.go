package trail

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Read reads the trail in a cloud's directory, from a time on, the oldest call first. A cloud that is up goes on to
// write; a line that is half written, or that a crash left so, is skipped.
func Read(dir string, since time.Time) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		opened, err := openAll(dir)
		defer func() {
			for _, file := range opened {
				file.Close()
			}
		}()
		if err != nil {
			yield(Event{}, fmt.Errorf("read the trail of calls: %w", err))
			return
		}
		for _, file := range opened {
			if !readFile(file, since, yield) {
				return
			}
		}
	}
}

// openAll opens the files, the oldest first. They are opened the newest first, so that one which becomes the one before
// meanwhile is not missed.
func openAll(dir string) ([]*os.File, error) {
	var opened []*os.File
	var last os.FileInfo
	for n := range files {
		file, err := os.Open(numbered(filepath.Join(dir, "trail.jsonl"), n))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return opened, err
		}
		opened = slices.Insert(opened, 0, file)
		info, err := file.Stat()
		if err != nil {
			return opened, err
		}
		if last != nil && os.SameFile(last, info) {
			opened = opened[1:]
			file.Close()
		}
		last = info
	}
	return opened, nil
}

func readFile(file *os.File, since time.Time, yield func(Event, error) bool) bool {
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			return yield(Event{}, fmt.Errorf("read %s: %w", file.Name(), err))
		}
		var e Event
		if json.Unmarshal(line, &e) != nil || e.Time.Before(since) {
			continue
		}
		if !yield(e, nil) {
			return false
		}
	}
}
