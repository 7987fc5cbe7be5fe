package firstboot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// countLimit is how long the rows of one table may take to be counted, countBudget those of all: nobody can write while
// they are. What is larger is not counted, and not compared.
const (
	countLimit  = 500 * time.Millisecond
	countBudget = 2 * time.Second
)

// rows are the numbers of rows of the application's tables.
type rows map[string]int64

// HandOver ends the database's work on this instance: no more writes, the rows counted for the next instance to compare,
// the server stopped as a whole and the volume unmounted. Then the volume can be detached.
func HandOver(ctx context.Context) error {
	s, image, err := databaseSituation()
	if err != nil {
		return err
	}
	if image == nil || s.Settings.DataVolume == "" {
		return errors.New("hand the data over: this instance has no data volume")
	}
	// The server waits for transactions that are under way; one that takes longer is ended by the stop.
	if _, err := sql(ctx, "SET SESSION lock_wait_timeout = 2; SET GLOBAL read_only = ON"); err != nil {
		slog.Info("writes go on until the server stops", "error", err)
	} else if err := noteRows(ctx, *image); err != nil {
		slog.Info("the rows are not counted", "error", err)
	}
	return run(ctx, "systemctl", "stop", instance.DataUnit)
}

// roomNeeded is what a database server may write before it has stopped or started: its log, its temporary table space.
const roomNeeded = 64 << 20

// ErrNoRoom is in the chain of what Room returns of a full data volume.
var ErrNoRoom = errors.New(instance.NoRoom)

// Room fails if the data volume is so full that the server might not stop: one that cannot write what is in its memory
// waits for somebody to make room, and takes no other end than being killed.
func Room(context.Context) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(serverDir, &fs); err != nil {
		return fmt.Errorf("look for room in %s: %w", serverDir, err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < roomNeeded {
		return fmt.Errorf("%w: %d MiB of %d are free in %s; the database may need %d to stop and to start", ErrNoRoom, free>>20, int64(fs.Blocks)*fs.Bsize>>20, serverDir, roomNeeded>>20)
	}
	return nil
}

func noteRows(ctx context.Context, image instance.MySQLImage) error {
	counted, err := countRows(ctx, image)
	if err != nil {
		return err
	}
	text, err := json.Marshal(counted)
	if err != nil {
		return err
	}
	return place(rowsNote, text, 0o600, 0, 0)
}

func countRows(ctx context.Context, image instance.MySQLImage) (rows, error) {
	names, err := sql(ctx, fmt.Sprintf("SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE' ORDER BY table_rows", quote(image.Database)))
	if err != nil {
		return nil, err
	}
	counted := rows{}
	for started := time.Now(); names != ""; {
		var name string
		if name, names, _ = strings.Cut(names, "\n"); time.Since(started) > countBudget {
			break
		}
		n, err := countTable(ctx, image, name)
		if err != nil {
			slog.Info("a table is not counted", "table", name, "error", err)
			continue
		}
		counted[name] = n
	}
	return counted, nil
}

func countTable(ctx context.Context, image instance.MySQLImage, name string) (int64, error) {
	limited, cancel := context.WithTimeout(ctx, countLimit)
	defer cancel()
	out, err := sql(limited, fmt.Sprintf("SELECT COUNT(*) FROM `%s`.`%s`", image.Database, strings.ReplaceAll(name, "`", "``")))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(out, 10, 64)
}

// compareRows holds the rows to what the instance before this one counted, once, and has the server check those tables.
func compareRows(ctx context.Context, image instance.MySQLImage) error {
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
	var wrong []string
	for name, want := range before {
		got, err := countTable(ctx, image, name)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("table %s: %v", name, err))
		} else if got < want { // more is no loss: at a restart in the middle of it all, somebody may write already
			wrong = append(wrong, fmt.Sprintf("table %s has %d rows, and had %d", name, got, want))
		}
		if fault := checkTable(ctx, image, name); fault != "" {
			wrong = append(wrong, fmt.Sprintf("table %s: %s", name, fault))
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return fmt.Errorf("compare the data with what the instance before had: %s", strings.Join(wrong, "; "))
	}
	return os.Remove(rowsNote)
}

// checkTable is what the server finds wrong with a table, or empty.
func checkTable(ctx context.Context, image instance.MySQLImage, name string) string {
	out, err := sql(ctx, fmt.Sprintf("CHECK TABLE `%s`.`%s` QUICK", image.Database, strings.ReplaceAll(name, "`", "``")))
	if err != nil {
		return err.Error()
	}
	var faults []string
	for line := range strings.Lines(out) {
		if fields := strings.Split(strings.TrimSpace(line), "\t"); len(fields) == 4 && (fields[2] == "error" || fields[2] == "status" && fields[3] != "OK") {
			faults = append(faults, fields[3])
		}
	}
	return strings.Join(faults, ", ")
}

// Resume has the database serve again on an instance that had handed it over: it takes the volume, which may still be
// on its way, and verifies itself. Where the database never stopped nothing happens.
func Resume(ctx context.Context) error {
	_, image, err := databaseSituation()
	if err != nil {
		return err
	}
	if image == nil {
		return errors.New("resume the database: this is no database of a stack")
	}
	if _, err := unitActive(ctx, image.Unit); err == nil {
		_, err := sql(ctx, "SET GLOBAL read_only = OFF") // the hand-over may have come no further
		return err
	}
	if err := run(ctx, "systemctl", "start", instance.DataUnit); err != nil {
		return err
	}
	// The application writes from the moment on that the server is back: there is nothing to compare with.
	if err := os.Remove(rowsNote); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := run(ctx, "systemctl", "start", image.Unit); err != nil {
		return err
	}
	return run(ctx, "systemctl", "restart", instance.DatabaseUnit, instance.ReadyUnit)
}
