package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/firstboot"
)

// countLimit is how long the rows of one table may take to be counted, countBudget those of all, on the server that
// gives the data up: nobody can write while they are. A larger table is not counted, and not compared. The server that
// takes the data has nothing in its memory yet, and counts as long as that takes.
const (
	countLimit  = 500 * time.Millisecond
	countBudget = 2 * time.Second
)

// rows are the numbers of rows of the application's tables.
type rows map[string]int64

// rowsNote is the file with the row counts of the instance that gave the volume up, until the next one has compared
// them.
const rowsNote = firstboot.VolumeDir + "/rows.json"

// Pause stops writes and counts the rows for the next instance to compare. The server waits for transactions that are
// under way; one that takes longer is ended by the stop.
func (s *server) Pause(ctx context.Context) {
	if _, err := sql(ctx, "SET SESSION lock_wait_timeout = 2; SET GLOBAL read_only = ON"); err != nil {
		slog.Info("writes go on until the server stops", "error", err)
	} else if err := s.noteRows(ctx); err != nil {
		slog.Info("the rows are not counted", "error", err)
	}
}

// Resume lets a server that still runs write again, and forgets the rows: the application writes from the moment on
// that the server is back, and there is nothing to compare with.
func (s *server) Resume(ctx context.Context, running bool) error {
	if err := os.Remove(rowsNote); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !running {
		return nil
	}
	_, err := sql(ctx, "SET GLOBAL read_only = OFF")
	return err
}

func (s *server) noteRows(ctx context.Context) error {
	counted, err := s.countRows(ctx)
	if err != nil {
		return err
	}
	text, err := json.Marshal(counted)
	if err != nil {
		return err
	}
	return firstboot.WriteFile(rowsNote, text, 0o600, 0, 0)
}

func (s *server) countRows(ctx context.Context) (rows, error) {
	names, err := sql(ctx, fmt.Sprintf("SELECT table_name FROM information_schema.tables WHERE table_schema = %s"+
		" AND table_type = 'BASE TABLE' ORDER BY table_rows", quote(s.Database)))
	if err != nil {
		return nil, err
	}
	counted := rows{}
	for started := time.Now(); names != ""; {
		var name string
		if name, names, _ = strings.Cut(names, "\n"); time.Since(started) > countBudget {
			break
		}
		limited, cancel := context.WithTimeout(ctx, countLimit)
		n, err := s.countTable(limited, name)
		cancel()
		if err != nil {
			slog.Info("a table is not counted", "table", name, "error", err)
			continue
		}
		counted[name] = n
	}
	return counted, nil
}

func (s *server) countTable(ctx context.Context, name string) (int64, error) {
	out, err := sql(ctx, fmt.Sprintf("SELECT COUNT(*) FROM `%s`.`%s`", s.Database, strings.ReplaceAll(name, "`", "``")))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(out, 10, 64)
}

// compareRows compares the rows with the counts of the instance before this one, once, and has the server check those
// tables.
func (s *server) compareRows(ctx context.Context) error {
	text, err := os.ReadFile(rowsNote)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var before rows
	if err := json.Unmarshal(text, &before); err != nil {
		return fmt.Errorf("read %s: %w", rowsNote, err)
	}
	if err := s.compare(ctx, before); err != nil {
		return err
	}
	return os.Remove(rowsNote)
}

func (s *server) compare(ctx context.Context, before rows) error {
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		want := before[name]
		got, err := s.countTable(ctx, name)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("table %s: %v", name, err))
		} else if got < want { // more is no loss: at a restart in the middle of it all, somebody may write already
			wrong = append(wrong, fmt.Sprintf("table %s has %d rows, and had %d", name, got, want))
		}
		if fault := s.checkTable(ctx, name); fault != "" {
			wrong = append(wrong, fmt.Sprintf("table %s: %s", name, fault))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("compare the data with what the instance before had: %s", strings.Join(wrong, "; "))
	}
	return nil
}

// checkTable returns the faults that CHECK TABLE finds in a table; empty if there are none.
func (s *server) checkTable(ctx context.Context, name string) string {
	out, err := sql(ctx, fmt.Sprintf("CHECK TABLE `%s`.`%s` QUICK", s.Database, strings.ReplaceAll(name, "`", "``")))
	if err != nil {
		return err.Error()
	}
	var faults []string
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) == 4 && (fields[2] == "error" || fields[2] == "status" && fields[3] != "OK") {
			faults = append(faults, fields[3])
		}
	}
	return strings.Join(faults, ", ")
}
