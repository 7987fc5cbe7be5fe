package seal

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// plant writes a file below a root, with the directories that it needs.
func plant(t *testing.T, root, path, content string) string {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func sealedTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	plant(t, root, "etc/passwd", "root:x:0:0::/root:/bin/sh\nadmin:x:1000:1000::/home/admin:/bin/sh\n")
	plant(t, root, "etc/app.conf", "a=1\n")
	plant(t, root, "var/log/wtmp", "")
	plant(t, root, "home/admin/.profile", "")
	plant(t, root, "run/there", "")
	return root
}

func TestWhatIsChangedAfterTheSealIsSeen(t *testing.T) {
	year := time.Now().AddDate(-1, 0, 0)
	for _, c := range []struct {
		name   string
		change func(t *testing.T, root string)
		want   []string
	}{
		{"nothing", func(*testing.T, string) {}, nil},
		{"a key", func(t *testing.T, root string) {
			plant(t, root, "home/admin/.ssh/authorized_keys", "ssh-ed25519 AAAA x\n")
		}, []string{"/home/admin/.ssh", "/home/admin/.ssh/authorized_keys"}},
		{"a new file, backdated",
			func(t *testing.T, root string) { must(t, os.Chtimes(plant(t, root, "etc/new", "x"), year, year)) },
			[]string{"/etc/new"}},
		{"other content of the same size, backdated", func(t *testing.T, root string) {
			info, _ := os.Stat(filepath.Join(root, "etc/app.conf"))
			must(t, os.Chtimes(plant(t, root, "etc/app.conf", "a=2\n"), info.ModTime(), info.ModTime()))
		}, []string{"/etc/app.conf"}},
		{"a file in /tmp", func(t *testing.T, root string) { plant(t, root, "tmp/upload", "x") },
			[]string{"/tmp", "/tmp/upload"}},
		{"a mode", func(t *testing.T, root string) { must(t, os.Chmod(filepath.Join(root, "etc/app.conf"), 0o666)) },
			[]string{"/etc/app.conf"}},
		{"a directory's mode", func(t *testing.T, root string) { must(t, os.Chmod(filepath.Join(root, "etc"), 0o777)) },
			[]string{"/etc"}},
		{"a link", func(t *testing.T, root string) { must(t, os.Symlink("/run/x", filepath.Join(root, "etc/link"))) },
			[]string{"/etc/link"}},
		{"a log", func(t *testing.T, root string) { plant(t, root, "var/log/app.log", "password=x") },
			[]string{"/var/log/app.log"}},
		{"put there, and gone again", func(t *testing.T, root string) { os.Remove(plant(t, root, "etc/script", "x")) },
			nil},
		{"gone", func(_ *testing.T, root string) { os.Remove(filepath.Join(root, "etc/app.conf")) }, nil},
		{"a log-in", func(t *testing.T, root string) {
			plant(t, root, "var/log/wtmp", "admin")
			plant(t, root, "var/lib/wtmpdb/wtmp.db", "admin")
		}, nil},
		{"a lease", func(t *testing.T, root string) { plant(t, root, "var/lib/dhcp/dhclient.leases", "x") }, nil},
		{"what is no part of the image", func(t *testing.T, root string) { plant(t, root, "run/there", "x") }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := sealedTree(t)
			plant(t, root, "var/lib/dpkg/status", "")
			s, err := look(root)
			if err != nil {
				t.Fatal(err)
			}
			c.change(t, root)
			got, err := s.changes()
			if err != nil {
				t.Fatal(err)
			}
			if got.Count != len(c.want) || len(c.want) > 0 && !reflect.DeepEqual(got.Paths, c.want) {
				t.Errorf("got %+v, want %q", got, c.want)
			}
		})
	}
}

type closer chan struct{}

func (c closer) Close() error { close(c); return nil }

// Whoever reads the pipe gets an answer of its own, and the pipe ends after it.
func TestWatchAnswersEachReader(t *testing.T) {
	root, since, ready := sealedTree(t), filepath.Join(t.TempDir(), "since"), make(closer)
	ended := make(chan error, 1)
	go func() { ended <- watch(root, since, ready) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	for want := range 20 {
		text, err := os.ReadFile(since)
		if err != nil {
			t.Fatal(err)
		}
		var got Changes
		if err := json.Unmarshal(text, &got); err != nil || got.Count != want {
			t.Fatalf("answer %d: %q, %v", want, text, err)
		}
		plant(t, root, filepath.Join("etc", string(rune('a'+want))), "x")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
