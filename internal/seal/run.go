//go:build linux

package seal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/manifest"
)

// Run seals the machine that it runs on. judge is asked once.
func Run(ctx context.Context, r Request, judge Judge) (Result, error) {
	m := &manifest.Manifest{Name: r.Name, Source: r.Source, Created: time.Now().UTC().Truncate(time.Second)}
	// An image whose fragments contradict each other would fail at its first boot.
	described, err := imagespec.Check(instance.DescriptionDir)
	if err != nil {
		return Result{}, err
	}
	// What runs is noted before it is stopped.
	if err = observe(ctx, m, runtime.GOARCH); err != nil {
		return Result{}, err
	}
	if err = quiesce(ctx); err != nil {
		return Result{}, err
	}
	left, err := removeTraces(r.Keep)
	if err != nil {
		return Result{}, err
	}
	needles := needlesOf(texts(r.Secrets))
	found, err := readFiles(ctx, m, needles, judge)
	if err != nil {
		return Result{}, err
	}
	syscall.Sync()
	freed, notes, err := readFreeBlocks(ctx, needles, r.ZeroFreeSpace)
	if err != nil {
		return Result{}, err
	}
	result := Result{
		Faults: slices.Concat(left, found, freed),
		Notes:  notes,
		Mark:   Mark{Description: described},
	}
	return result, result.finish(m)
}

// removeTraces removes what must not be in an image and returns what of it is there all the same.
func removeTraces(keep []string) ([]Fault, error) {
	if err := clean("/", keep); err != nil {
		return nil, fmt.Errorf("remove what must not be in an image: %w", err)
	}
	faults, err := check("/", keep)
	if err != nil {
		return nil, fmt.Errorf("check what must not be in an image: %w", err)
	}
	return faults, nil
}

// readFiles notes files and programs in the manifest and returns the secrets that lie in files.
func readFiles(ctx context.Context, m *manifest.Manifest, needles []needle, judge Judge) ([]Fault, error) {
	owned, err := packageFiles("/")
	if err != nil {
		return nil, fmt.Errorf("list the packages' files: %w", err)
	}
	in, err := inspect(ctx, "/", needles, owned)
	if err != nil {
		return nil, err
	}
	judged, err := judge(in.texts)
	if err != nil {
		return nil, fmt.Errorf("apply the secret scanner's rules: %w", err)
	}
	m.Files = in.files
	for _, file := range in.files {
		if !file.Package && file.Mode[1] >= '1' && file.Mode[3] >= '1' {
			if program, ok := manifest.ReadProgram(file.Path, file.Path); ok {
				m.Programs = append(m.Programs, program)
			}
		}
	}
	return slices.Concat(in.faults, judged), nil
}

// readFreeBlocks returns the secrets that lie in blocks which no file has; zero overwrites those first. Where nobody
// can look, and nothing was overwritten, that is a fault: a snapshot has those blocks too.
func readFreeBlocks(ctx context.Context, needles []needle, zero bool) (faults []Fault, notes []string, err error) {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, nil, fmt.Errorf("list the mounted file systems: %w", err)
	}
	found, notes := disks(mounts, blockDevice)
	for _, d := range found {
		if zero {
			if err := zeroFreeSpace(ctx, d.mount); err != nil {
				return nil, nil, err
			}
		}
		switch {
		case d.unread == "":
			secrets, err := scanFreeBlocks(ctx, d.device, needles)
			if err != nil {
				return nil, nil, err
			}
			faults = append(faults, secrets...)
		case zero:
			notes = append(notes, fmt.Sprintf("the free blocks of %s were overwritten and not looked through: %s",
				d.mount, d.unread))
		default:
			faults = append(faults, Fault{Item: "free blocks", Path: d.mount,
				Text: "they cannot be looked through: " + d.unread + "; zero_free_space = true overwrites them"})
		}
	}
	return faults, notes, nil
}

func texts(all [][]byte) []string {
	converted := make([]string, len(all))
	for i, text := range all {
		converted[i] = string(text)
	}
	return converted
}

// finish writes the manifest and the bills of materials into the image and marks the machine as sealed.
func (r *Result) finish(m *manifest.Manifest) error {
	documents, digest, err := m.Documents()
	if err != nil {
		return err
	}
	if err = os.MkdirAll(manifest.Directory, 0o755); err != nil {
		return err
	}
	for name, content := range documents {
		if err = os.WriteFile(filepath.Join(manifest.Directory, name), content, 0o644); err != nil {
			return fmt.Errorf("write the image's manifest: %w", err)
		}
	}
	r.Manifest = m
	r.Digest, r.Packages, r.Files = digest, len(m.Packages), len(m.Files)
	if len(r.Faults) > 0 {
		return nil // not sealed
	}
	mark, err := json.Marshal(r.Mark)
	if err != nil {
		return err
	}
	syscall.Sync()
	return os.WriteFile(Marker, append(mark, '\n'), 0o644)
}

// zeroFreeSpace fills a file system with a file of zeros, and removes it.
func zeroFreeSpace(ctx context.Context, mount string) error {
	path := filepath.Join(mount, ".goldsmith-zeros")
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("zero the free space of %s: %w", mount, err)
	}
	defer os.Remove(path)
	defer file.Close()
	for chunk := make([]byte, 4<<20); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := file.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			return file.Sync()
		} else if err != nil {
			return fmt.Errorf("zero the free space of %s: %w", mount, err)
		}
	}
}
