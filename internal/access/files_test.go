package access

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access/sshtest"
)

// files connects to a server whose files are those below a directory, which is empty at first.
func files(t *testing.T) (f *Files, root string, server *sshtest.Server) {
	t.Helper()
	root = t.TempDir()
	client, server := connect(t, root, (*sshtest.Session).Shell)
	f, err := client.Files(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, root, server
}

// put writes a file, and the directories that it lies in.
func put(t *testing.T, path string, content []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// same checks a file, and that nothing else lies beside it.
func same(t *testing.T, path string, want []byte, mode fs.FileMode, beside ...string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes that are not the %d wanted, %v", path, len(got), len(want), err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm() != mode {
		t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), mode)
	}
	if got, want := listed(t, filepath.Dir(path)), append(beside, filepath.Base(path)); len(got) != len(want) {
		t.Errorf("beside %s lie %q, want %q", path, got, want)
	}
}

func listed(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, entry := range entries {
		list = append(list, entry.Name())
	}
	return list
}

// noise is content of which no part is like another.
func noise(n int) []byte {
	random := rand.NewChaCha8([32]byte{byte(n)})
	b := make([]byte, n)
	_, _ = random.Read(b) // it cannot fail
	return b
}

func TestCopyOneFile(t *testing.T) {
	f, there, _ := files(t)
	here := t.TempDir()
	for name, size := range map[string]int{"empty": 0, "small": 100, "one chunk": chunk, "large": 2*chunk + 17} {
		content := noise(size)
		put(t, filepath.Join(here, "in", name), content, 0o640)
		put(t, filepath.Join(there, "in", name), content, 0o600)
		var last Progress
		what := Copy{
			Sources: []string{filepath.Join(here, "in", name)},
			Target:  name + " up",
			Report:  func(p Progress) { last = p },
		}
		if err := f.Upload(t.Context(), what); err != nil {
			t.Errorf("%s: upload: %v", name, err)
		}
		if want := (Progress{Name: what.Sources[0], Done: int64(size), Total: int64(size), End: true}); last != want {
			t.Errorf("%s: progress ended at %+v", name, last)
		}
		same(t, filepath.Join(there, name+" up"), content, 0o640, "in")
		os.Remove(filepath.Join(there, name+" up"))
		dest := filepath.Join(here, "out", "x")
		if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
			t.Fatal(err)
		}
		os.Remove(dest)
		if err := f.Download(t.Context(), Copy{Sources: []string{"~/in/" + name}, Target: dest}); err != nil {
			t.Errorf("%s: download: %v", name, err)
		}
		same(t, dest, content, 0o600)
	}
}

// TestCopyKeepsTheModeOfWhatItReplaces replaces files, one of them by way of a link.
func TestCopyKeepsTheModeOfWhatItReplaces(t *testing.T) {
	f, there, _ := files(t)
	here := t.TempDir()
	content := noise(10)
	put(t, filepath.Join(here, "x"), content, 0o600)
	put(t, filepath.Join(there, "dir", "y"), nil, 0o755)
	if err := os.Symlink("dir/y", filepath.Join(there, "link")); err != nil {
		t.Fatal(err)
	}
	if err := f.Upload(t.Context(), Copy{Sources: []string{filepath.Join(here, "x")}, Target: "link"}); err != nil {
		t.Fatal(err)
	}
	same(t, filepath.Join(there, "dir", "y"), content, 0o755)
	if info, err := os.Lstat(filepath.Join(there, "link")); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	put(t, filepath.Join(here, "x"), nil, 0o604)
	if err := f.Download(t.Context(), Copy{Sources: []string{"link"}, Target: filepath.Join(here, "x")}); err != nil {
		t.Fatal(err)
	}
	same(t, filepath.Join(here, "x"), content, 0o604)
}

// tree makes a directory with a few things in it.
func tree(t *testing.T, dir string) {
	t.Helper()
	put(t, filepath.Join(dir, "a"), []byte("a"), 0o644)
	put(t, filepath.Join(dir, "below", "b"), []byte("b"), 0o600)
	put(t, filepath.Join(dir, "below", "deep", "c"), []byte("c"), 0o755)
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../a", filepath.Join(dir, "below", "to a")); err != nil {
		t.Fatal(err)
	}
}

// checkTree checks a copy of it, in which links are the files that they pointed to.
func checkTree(t *testing.T, dir string) {
	t.Helper()
	same(t, filepath.Join(dir, "a"), []byte("a"), 0o644, "below", "empty")
	same(t, filepath.Join(dir, "below", "b"), []byte("b"), 0o600, "deep", "to a")
	same(t, filepath.Join(dir, "below", "to a"), []byte("a"), 0o644, "deep", "b")
	same(t, filepath.Join(dir, "below", "deep", "c"), []byte("c"), 0o755)
	if info, err := os.Stat(filepath.Join(dir, "empty")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("empty: %v, %v", info, err)
	}
}

func TestCopyDirectories(t *testing.T) {
	f, there, _ := files(t)
	here := t.TempDir()
	tree(t, filepath.Join(here, "t"))
	up := Copy{Sources: []string{filepath.Join(here, "t")}, Target: "new"}
	if err := f.Upload(t.Context(), up); err == nil || !strings.Contains(err.Error(), "hint: --recursive") {
		t.Errorf("without being told to: %v", err)
	}
	up.Recursive = true
	for _, dir := range []string{"new", "new/t"} { // it is made, and then it is there
		if err := f.Upload(t.Context(), up); err != nil {
			t.Fatal(err)
		}
		if dir == "new" {
			checkTree(t, filepath.Join(there, dir))
		} else if _, err := os.Stat(filepath.Join(there, dir, "a")); err != nil {
			t.Error(err)
		}
	}
	down := Copy{Sources: []string{"new/t/."}, Target: here, Recursive: true}
	os.RemoveAll(filepath.Join(here, "t"))
	if err := f.Download(t.Context(), down); err != nil {
		t.Fatal(err)
	}
	checkTree(t, filepath.Join(here, "t"))
}

func TestCopyPatterns(t *testing.T) {
	f, there, _ := files(t)
	for _, name := range []string{"a.log", "b.log", "c", "[x].log"} {
		put(t, filepath.Join(there, "log", name), []byte(name), 0o644)
	}
	here := t.TempDir()
	if err := f.Download(t.Context(), Copy{Sources: []string{"log/?.log"}, Target: here}); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, here); !slices.Equal(got, []string{"a.log", "b.log"}) {
		t.Errorf("got %q", got)
	}
	if err := f.Download(t.Context(), Copy{Sources: []string{"log/[x].log"}, Target: here}); err != nil {
		t.Errorf("a name that is like a pattern: %v", err)
	}
	err := f.Download(t.Context(), Copy{Sources: []string{"log/*.none"}, Target: here})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a pattern of nothing: %v", err)
	}
}

// TestCopyFailures checks each, and that whatever else there is is copied.
func TestCopyFailures(t *testing.T) {
	f, there, _ := files(t)
	here := t.TempDir()
	put(t, filepath.Join(here, "good"), []byte("good"), 0o644)
	put(t, filepath.Join(there, "file"), nil, 0o644)
	if err := os.MkdirAll(filepath.Join(there, "loop", "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"loop/in/up": "..", "socket": "/dev/null"} {
		if err := os.Symlink(to, filepath.Join(there, from)); err != nil {
			t.Fatal(err)
		}
	}
	good := filepath.Join(here, "good")
	up := Copy{Sources: []string{filepath.Join(here, "none"), good}, Target: "."}
	if err := f.Upload(t.Context(), up); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a source that is not there: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(there, "good")); string(text) != "good" {
		t.Errorf("the other source: %q, %v", text, err)
	}
	for _, c := range []struct {
		name string
		up   bool
		from []string
		to   string
		want string
	}{
		{"two to one file", true, []string{good, good}, "file", "copy to i-1:file: it is no directory"},
		{"to no directory", true, []string{good}, "none/", "copy to i-1:none/: it is no directory"},
		{"to a directory that is not there", true, []string{good}, "none/x", "i-1:none/.x."},
		{"a directory to a file", false, []string{"loop"}, good, "it is no directory"},
		{"a loop", false, []string{"loop"}, here, "i-1:loop/in/up: it is a link to"},
		{"a device", false, []string{"socket"}, here, "i-1:socket: it is no regular file"},
		{"nothing", false, []string{"none"}, here, "read i-1:none: file does not exist"},
	} {
		what := Copy{
			Sources:   c.from,
			Target:    c.to,
			Recursive: true,
		}
		copying := f.Download
		if c.up {
			copying = f.Upload
		}
		if err := copying(t.Context(), what); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if got := listed(t, there); len(got) != 4 {
		t.Errorf("on the instance lie %q", got)
	}
}

func TestCopyToADevice(t *testing.T) {
	f, there, _ := files(t)
	put(t, filepath.Join(there, "x"), []byte("x"), 0o644)
	if err := f.Download(t.Context(), Copy{Sources: []string{"x"}, Target: os.DevNull}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Errorf("it is %v, %v", info, err)
	}
}

// TestCopyGoesOn has the copying of a large file break off, in both directions, and then go on; a part of another state
// of the file is not continued.
func TestCopyGoesOn(t *testing.T) {
	content := noise(3*chunk + 100)
	for _, c := range []struct {
		name string
		copy func(context.Context, *Files, string, func(Progress)) error
	}{
		{"upload", func(ctx context.Context, f *Files, here string, report func(Progress)) error {
			put(t, filepath.Join(here, "there", "unused"), nil, 0o644)
			return f.Upload(ctx, Copy{Sources: []string{filepath.Join(here, "x")}, Target: "copies/x", Report: report})
		}},
		{"download", func(ctx context.Context, f *Files, here string, report func(Progress)) error {
			dest := filepath.Join(here, "copies", "x")
			return f.Download(ctx, Copy{Sources: []string{"x"}, Target: dest, Report: report})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, there, _ := files(t)
			here := t.TempDir()
			put(t, filepath.Join(there, "x"), content, 0o644)
			put(t, filepath.Join(here, "x"), content, 0o644)
			copies := filepath.Join(there, "copies")
			if c.name == "download" {
				copies = filepath.Join(here, "copies")
			}
			put(t, filepath.Join(copies, "x"), []byte("old"), 0o644)
			put(t, filepath.Join(copies, ".x.00000000.part"), []byte("of another state"), 0o600)

			ctx, cancel := context.WithCancel(t.Context())
			err := c.copy(ctx, f, here, func(p Progress) {
				if p.Done >= 2*chunk {
					cancel()
				}
			})
			if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "hint: what was copied is kept") {
				t.Fatalf("broken off: %v", err)
			}
			text, err := os.ReadFile(filepath.Join(copies, "x"))
			if string(text) != "old" {
				t.Errorf("meanwhile it is %.20q, %v", text, err)
			}
			got := listed(t, copies)
			if len(got) != 2 || !strings.HasPrefix(got[0], ".x.") || got[0] == ".x.00000000.part" {
				t.Errorf("there lie %q", got)
			}

			f = again(t, there)
			var first int64
			err = c.copy(t.Context(), f, here, func(p Progress) {
				if first == 0 {
					first = p.Done
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if first <= chunk {
				t.Errorf("it began anew: the first progress was at %d", first)
			}
			same(t, filepath.Join(copies, "x"), content, 0o644)
		})
	}
}

// again connects anew to the files below a directory.
func again(t *testing.T, root string) *Files {
	t.Helper()
	client, _ := connect(t, root, (*sshtest.Session).Shell)
	f, err := client.Files(false)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestCopyInterruptedSmall leaves nothing of a small file.
func TestCopyInterruptedSmall(t *testing.T) {
	f, there, server := files(t)
	put(t, filepath.Join(there, "x"), noise(chunk), 0o644)
	here := t.TempDir()
	err := f.Download(t.Context(), Copy{
		Sources: []string{"x"},
		Target:  filepath.Join(here, "x"),
		Report:  func(Progress) { server.Break() },
	})
	if err == nil {
		t.Error("no error")
	}
	if got := listed(t, here); len(got) > 0 {
		t.Errorf("there lie %q", got)
	}
}

// TestRootFiles has a sudo that only says what it was to run.
func TestRootFiles(t *testing.T) {
	root := t.TempDir()
	put(t, filepath.Join(root, "secret"), []byte("s"), 0o600)
	client, _ := connect(t, "", func(s *sshtest.Session) {
		if !strings.HasPrefix(s.Command, "sudo -n sh -c '") || !strings.Contains(s.Command, "sftp-server") {
			t.Errorf("it ran %q", s.Command)
		}
		s.Files(root)
	})
	f, err := client.Files(true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	here := t.TempDir()
	if err := f.Download(t.Context(), Copy{Sources: []string{"secret"}, Target: here}); err != nil {
		t.Fatal(err)
	}
	same(t, filepath.Join(here, "secret"), []byte("s"), 0o600)
}

func TestRootFilesRefused(t *testing.T) {
	client, _ := connect(t, "", func(s *sshtest.Session) {
		s.Command = "echo sudo: a password is required >&2; exit 1"
		s.Shell()
	})
	if _, err := client.Files(true); err == nil || !strings.HasSuffix(err.Error(), ": sudo: a password is required") {
		t.Errorf("got %v", err)
	}
}

// TestNamesOfAnInstance are those by which it would have something written outside the target.
func TestNamesOfAnInstance(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "/etc/passwd", "../x"} {
		if checkName(name) == nil {
			t.Errorf("%q is taken", name)
		}
	}
	for _, name := range []string{"a", ".ssh", "..x", "-r", "a b", "é"} {
		if err := checkName(name); err != nil {
			t.Error(err)
		}
	}
}
