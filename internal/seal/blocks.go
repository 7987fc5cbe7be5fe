//go:build linux

package seal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// extent is a run of blocks of a file system; both ends belong to it.
type extent struct{ first, last int64 }

// scanFreeBlocks looks for secrets in the blocks of an ext4 file system that no file has: a snapshot has them too.
// device is the block device or an image of it.
func scanFreeBlocks(ctx context.Context, device string, needles []needle) ([]Fault, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "dumpe2fs", device)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("list the free blocks of %s: %w: %s", device, err, bytes.TrimSpace(stderr.Bytes()))
	}
	size, free, err := freeExtents(&stdout)
	if err != nil {
		return nil, fmt.Errorf("list the free blocks of %s: %w", device, err)
	}
	file, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var faults []Fault
	seen := map[string]bool{}
	for _, e := range free {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r := io.NewSectionReader(file, e.first*size, (e.last-e.first+1)*size)
		err := search(r, needles, func(n needle) {
			if !seen[n.String()] {
				seen[n.String()] = true
				faults = append(faults, Fault{Item: "free blocks", Path: device, Text: n.String()})
			}
		})
		if err != nil {
			return nil, fmt.Errorf("read the free blocks of %s: %w", device, err)
		}
	}
	return faults, nil
}

var freeBlocks = regexp.MustCompile(`^  Free blocks: (.*)$`)

// freeExtents reads what dumpe2fs(8) prints: the block size, and of each group the ranges of its free blocks.
func freeExtents(r io.Reader) (size int64, free []extent, err error) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		line := scanner.Text()
		if text, ok := strings.CutPrefix(line, "Block size:"); ok {
			if size, err = strconv.ParseInt(strings.TrimSpace(text), 10, 64); err != nil {
				return 0, nil, err
			}
		}
		match := freeBlocks.FindStringSubmatch(line)
		if match == nil || match[1] == "" {
			continue
		}
		for part := range strings.SplitSeq(match[1], ", ") {
			first, last, isRange := strings.Cut(part, "-")
			if !isRange {
				last = first
			}
			a, err1 := strconv.ParseInt(first, 10, 64)
			b, err2 := strconv.ParseInt(last, 10, 64)
			if err := errors.Join(err1, err2); err != nil {
				return 0, nil, err
			}
			free = append(free, extent{a, b})
		}
	}
	if err := scanner.Err(); err != nil {
		return 0, nil, err
	}
	if size == 0 {
		return 0, nil, errors.New("dumpe2fs names no block size")
	}
	return size, free, nil
}
