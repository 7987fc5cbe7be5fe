package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// attributes are a file's mode and owner.
type attributes struct {
	mode     fs.FileMode // permission and special bits
	uid, gid int
}

// specialBits are the bits of an octal mode that fs.FileMode has elsewhere.
var specialBits = []struct {
	bit  uint64
	flag fs.FileMode
}{
	{0o4000, fs.ModeSetuid},
	{0o2000, fs.ModeSetgid},
	{0o1000, fs.ModeSticky},
}

// wantedAttributes reads what a task says; what it does not say is root's, or of the current user where that is not
// root.
func wantedAttributes(mode, owner, group, defaultMode string) (attributes, error) {
	if mode == "" {
		mode = defaultMode
	}
	bits, err := strconv.ParseUint(mode, 8, 32)
	if err != nil {
		return attributes{}, fmt.Errorf("mode %q: %w", mode, err)
	}
	a := attributes{mode: fs.FileMode(bits & 0o777), uid: os.Geteuid(), gid: os.Getegid()}
	for _, special := range specialBits {
		if bits&special.bit != 0 {
			a.mode |= special.flag
		}
	}
	if owner != "" {
		found, err := user.Lookup(owner)
		if err != nil {
			return attributes{}, fmt.Errorf("owner: %w", err)
		}
		a.uid, _ = strconv.Atoi(found.Uid)
	}
	if group != "" {
		found, err := user.LookupGroup(group)
		if err != nil {
			return attributes{}, fmt.Errorf("group: %w", err)
		}
		a.gid, _ = strconv.Atoi(found.Gid)
	}
	return a, nil
}

func attributesOf(info fs.FileInfo) attributes {
	uid, gid := ownerOf(info)
	return attributes{
		mode: info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky),
		uid:  uid,
		gid:  gid,
	}
}

// diff says what is different, a line each.
func (a attributes) diff(wanted attributes) string {
	var lines []string
	if a.mode != wanted.mode {
		lines = append(lines, fmt.Sprintf("mode: %v -> %v", a.mode, wanted.mode))
	}
	if a.uid != wanted.uid || a.gid != wanted.gid {
		lines = append(lines, fmt.Sprintf("owner: %d:%d -> %d:%d", a.uid, a.gid, wanted.uid, wanted.gid))
	}
	return strings.Join(lines, "\n")
}

// set changes mode and owner. The owner goes first: changing it clears set-id bits.
func (a attributes) set(path string) error {
	return errors.Join(os.Lchown(path, a.uid, a.gid), os.Chmod(path, a.mode))
}

// setAttributes is the difference of a file or directory that is as it should be but for mode and owner.
type setAttributes struct {
	path   string
	wanted attributes
	shown  string
}

func (d setAttributes) String() string { return d.shown }

func (d setAttributes) Apply(context.Context, Machine) error { return d.wanted.set(d.path) }
