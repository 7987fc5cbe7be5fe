// Package inputs gathers what goes into an image, so that a build can tell whether it would make anything new.
//
// Packer runs each component as a process of its own, and tells a builder nothing of its provisioners. So each
// component of Goldsmith writes what goes into it to a directory of Packer's run, when it is prepared; Packer prepares
// a builder and then its provisioners, one after the other, before it runs any. The builder reads what its provisioners
// wrote. Whether it read the right ones is checked afterwards: see Ran.
package inputs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Inputs are digests, hexadecimal SHA-256, by the name that people know the input by.
type Inputs map[string]string

// Digest is one for all of them, sha256:….
func (in Inputs) Digest() string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(in)) {
		fmt.Fprintf(sum, "%s=%s\n", name, in[name])
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// Add adds a value.
func (in Inputs) Add(name string, value []byte) {
	sum := sha256.Sum256(value)
	in[name] = hex.EncodeToString(sum[:])
}

// AddFile adds a file's content, or that of all files in a directory.
func (in Inputs) AddFile(name, path string) error {
	sum := sha256.New()
	err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		open, err := os.Open(file)
		if err != nil {
			return err
		}
		defer open.Close()
		inside, err := filepath.Rel(path, file)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "\x00%s\x00", inside)
		_, err = io.Copy(sum, open)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the input %s: %w", path, err)
	}
	in[name] = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// AddConfig adds a component's configuration: its attributes, without those that Packer adds to each, and the content
// of each file that an attribute names.
func (in Inputs) AddConfig(component string, config any) error {
	text, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("read the options of %s: %w", component, err)
	}
	var attributes map[string]any
	if err = json.Unmarshal(text, &attributes); err != nil {
		return fmt.Errorf("read the options of %s: %w", component, err)
	}
	maps.DeleteFunc(attributes, func(name string, _ any) bool { return strings.HasPrefix(name, "Packer") })
	named := map[string]string{} // by path: where a file lies does not count, its name and content do
	value := nameFiles(attributes, named)
	for path, name := range named {
		if err = in.AddFile(component+" "+name, path); err != nil {
			return err
		}
	}
	if text, err = json.Marshal(value); err != nil {
		return err
	}
	in.Add(component+" options", text)
	return nil
}

// Name is a file's name among the inputs: its path relative to the working directory, so that it is the same on another
// machine.
func Name(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return filepath.Base(path)
	}
	whole, err := filepath.Abs(path)
	if err != nil {
		return filepath.Base(path)
	}
	if name, err := filepath.Rel(here, whole); err == nil && filepath.IsLocal(name) {
		return name
	}
	return filepath.Base(path)
}

// nameFiles replaces the strings in a value that are paths of regular files on this machine by the files' names.
func nameFiles(value any, named map[string]string) any {
	switch v := value.(type) {
	case string:
		if info, err := os.Stat(v); err == nil && info.Mode().IsRegular() {
			named[v] = Name(v)
			return named[v]
		}
	case []any:
		for i, item := range v {
			v[i] = nameFiles(item, named)
		}
	case map[string]any:
		for name, item := range v {
			v[name] = nameFiles(item, named)
		}
	}
	return value
}

// Changed says what differs between two, by name: what changed, what is new, what is gone. Digests of before may be
// shortened.
func Changed(before, now Inputs) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(now)) {
		old, ok := before[name]
		switch {
		case !ok:
			all = append(all, name+" (new)")
		case !strings.HasPrefix(now[name], old):
			all = append(all, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := now[name]; !ok {
			all = append(all, name+" (gone)")
		}
	}
	return all
}

// record is the file that one component writes.
type record struct {
	// At is when its process first wrote it, in nanoseconds: the order of preparation.
	At        int64  `json:"at"`
	PID       int    `json:"pid"`
	Builder   bool   `json:"builder"`
	Component string `json:"component"`
	Inputs    Inputs `json:"inputs"`
	// Builds are the ids of builds that the component has run in.
	Builds []string `json:"builds,omitempty"`
}

// run is the directory of Packer's run; empty where there is none, as in a test.
func run() string {
	id := os.Getenv("PACKER_RUN_UUID")
	if id == "" || id != filepath.Base(id) {
		return ""
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("goldsmith-%d", os.Getuid()), id)
}

// secure makes the directory, or makes sure that it is this user's alone: what is in it decides whether a build is
// done.
func secure(dir string) error {
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := os.Lstat(d)
		if err != nil {
			return err
		}
		if !info.IsDir() || !ownOnly(info) {
			return fmt.Errorf("%s is not this user's own directory", d)
		}
	}
	return nil
}

// Begin says that a builder is prepared; what provisioners write from now on is of its build.
func Begin() error { return write(record{Builder: true}) }

// Record says what goes into a provisioner.
func Record(component string, config any) error {
	in := Inputs{}
	if err := in.AddConfig(component, config); err != nil {
		return err
	}
	return write(record{Component: component, Inputs: in})
}

func write(r record) error {
	dir := run()
	if dir == "" {
		return nil
	}
	if err := secure(dir); err != nil {
		return fmt.Errorf("note what goes into the image: %w", err)
	}
	prune(filepath.Dir(dir))
	path := filepath.Join(dir, fmt.Sprintf("%d.json", os.Getpid()))
	r.At, r.PID = time.Now().UnixNano(), os.Getpid()
	if before, err := read(path); err == nil { // prepared once more: its place in the order stays
		r.At, r.Builds = before.At, before.Builds
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

func read(path string) (r record, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return record{}, err
	}
	return r, json.Unmarshal(text, &r)
}

// prune removes what runs of days ago left.
func prune(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			os.RemoveAll(filepath.Join(dir, entry.Name()))
		}
	}
}

// Provisioners are the inputs of the provisioners of the builder that this process is; of several of a kind each has a
// number. Without Packer, or if this process has not begun, known is false.
func Provisioners() (in Inputs, known bool, err error) {
	mine, err := following()
	if err != nil || mine == nil {
		return nil, false, err
	}
	in = Inputs{}
	count := map[string]int{}
	for _, r := range mine {
		count[r.Component]++
		for name, digest := range r.Inputs {
			if n := count[r.Component]; n > 1 {
				name = strings.Replace(name, r.Component, fmt.Sprintf("%s-%d", r.Component, n), 1)
			}
			in[name] = digest
		}
	}
	return in, true, nil
}

// following are the records between this process's and the next builder's.
func following() ([]record, error) {
	dir := run()
	if dir == "" {
		return nil, nil
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []record
	for _, path := range paths {
		r, err := read(path)
		if err != nil {
			return nil, fmt.Errorf("read what goes into the image: %s: %w", path, err)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b record) int { return int(a.At - b.At) })
	at := slices.IndexFunc(all, func(r record) bool { return r.Builder && r.PID == os.Getpid() })
	if at < 0 {
		return nil, nil
	}
	mine := []record{}
	for _, r := range all[at+1:] {
		if r.Builder {
			break
		}
		mine = append(mine, r)
	}
	return mine, nil
}

// Ran says that this process's provisioner runs in a build, by what its builder told it.
func Ran(generated map[string]any) error {
	dir := run()
	build, _ := generated["BuildID"].(string)
	if dir == "" || build == "" {
		return nil
	}
	path := filepath.Join(dir, fmt.Sprintf("%d.json", os.Getpid()))
	r, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.Builds = append(r.Builds, build)
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// Confirm says whether the provisioners whose inputs this builder read are those that ran in its build.
func Confirm(build string) (bool, error) {
	mine, err := following()
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(mine, func(r record) bool { return !slices.Contains(r.Builds, build) }), nil
}
