package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access/sshtest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
)

// testInstance is an SSH server whose files are those of a directory, and the way to it.
func testInstance(t *testing.T) (hops []access.Hop, root string) {
	t.Helper()
	t.Setenv("SSH_AUTH_SOCK", "")
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	block, err := ssh.MarshalPrivateKey(private, "test")
	if err != nil {
		t.Fatal(err)
	}
	identity := filepath.Join(t.TempDir(), "golden.pem")
	if err = os.WriteFile(identity, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	root = t.TempDir()
	server := sshtest.Start(t, "admin", public, root, (*sshtest.Session).Shell)
	return []access.Hop{{
		ID:       "i-1",
		Address:  server.Host,
		Port:     server.Port,
		User:     "admin",
		HostKeys: []string{server.HostKey},
		Identity: identity,
	}}, root
}

// between is a command between streams of a test.
func between(t *testing.T, in string) (cmd *cobra.Command, out, complaints *bytes.Buffer) {
	t.Helper()
	cmd, out, complaints = &cobra.Command{}, &bytes.Buffer{}, &bytes.Buffer{}
	cmd.SetContext(t.Context())
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&plaintext.Writer{W: out})
	cmd.SetErr(&plaintext.Writer{W: complaints})
	return cmd, out, complaints
}

func TestEnter(t *testing.T) {
	hops, _ := testInstance(t)
	cmd, out, complaints := between(t, "typed")
	err := enter(cmd, hops, access.Command("sh", "-c", `cat; printf '\033[2J'; echo oh >&2; exit 7`), false)
	if code(err) != 7 {
		t.Errorf("got %v, exit code %d", err, code(err))
	}
	if out.String() != "typed\x1b[2J" || complaints.String() != "oh\n" {
		t.Errorf("a command of the user's has the terminal for itself; got %q and %q", out, complaints)
	}
	hops[0].Port = 1
	if err := enter(cmd, hops, "true", false); code(err) != exitNoWayIn {
		t.Errorf("got %v, exit code %d", err, code(err))
	}
}

// TestShowLog shows the logs that the image of an instance names, and those of the instance's kind of tier only.
func TestShowLog(t *testing.T) {
	hops, _ := testInstance(t)
	programs := t.TempDir()
	sudo := `#!/bin/sh
case "$*" in
*/etc/goldsmith/image.d/*)
	echo '{"version":1,"kind":"service","units":[{"name":"a.service"}],"logs":[{"name":"a","unit":"a.service"}]}'
	echo '{"version":1,"kind":"service","units":[{"name":"b.service"}],
		"logs":[{"name":"b","unit":"b.service","path":"/var/log/b/*.log"}]}'
	echo '{"version":1,"kind":"data","units":[{"name":"c.service"}],"logs":[{"name":"c","unit":"c.service"}]}' ;;
*--unit=a.service*) echo a ;;
*journalctl*) printf 'GET \033[2J\n' ;;
*) exit 4 ;;
esac
`
	if err := os.WriteFile(filepath.Join(programs, "sudo"), []byte(sudo), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	show := func(cmd *cobra.Command, source string) error {
		return showLog(cmd, hops, stack.ServiceTier, logRequest{source: source, lines: 5})
	}
	cmd, out, _ := between(t, "")
	if err := show(cmd, "journal"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "\x1b") || !strings.HasPrefix(out.String(), "GET ") {
		t.Errorf("got %q, which steers a terminal", out)
	}
	// A file gets the bytes.
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd.SetOut(&plaintext.Writer{W: file})
	if err := show(cmd, "journal"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file.Name()); string(text) != "GET \x1b[2J\n" {
		t.Errorf("got %q, %v", text, err)
	}
	cmd, out, _ = between(t, "")
	if err := show(cmd, "a"); err != nil || out.String() != "a\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if err := show(cmd, "b"); code(err) != 4 {
		t.Errorf("got %v, exit code %d", err, code(err))
	}
	for _, none := range []string{"c", "", "jour"} {
		err := show(cmd, none)
		if code(err) != exitBadInput || !strings.Contains(err.Error(), "the instance has journal, a, b") {
			t.Errorf("source %q: got %v, exit code %d", none, err, code(err))
		}
	}
	hops[0].Port = 1
	if err := show(cmd, "journal"); code(err) != exitNoWayIn {
		t.Errorf("got %v, exit code %d", err, code(err))
	}
}

// TestPlace: any tier of the stack is one, and any id.
func TestPlace(t *testing.T) {
	s := twoTiers()
	for name, want := range map[string]bool{
		"store":               true,
		"front":               true,
		"i-0123456789abcdef0": true,
		"web":                 false,
		"i-x":                 false,
		"":                    false,
	} {
		if isPlace(s, name) != want {
			t.Errorf("%q: got %v", name, !want)
		}
	}
	cmd, _, _ := between(t, "")
	_, _, err := route(cmd, s, "web")
	if code(err) != exitBadInput || !strings.Contains(err.Error(), "store, front or an instance's id is needed") {
		t.Errorf("got %v, exit code %d", err, code(err))
	}
}

func TestTransfer(t *testing.T) {
	hops, root := testInstance(t)
	here := t.TempDir()
	if err := os.WriteFile(filepath.Join(here, "-odd:name"), []byte("there and back"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{filepath.Join(here, "-odd:name"), "front:copy"},
		{"front:copy", filepath.Join(here, "back")},
	} {
		what, err := transferOf(twoTiers(), args)
		if err != nil {
			t.Fatal(err)
		}
		if err := what.run(t.Context(), hops, false); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, path := range []string{filepath.Join(root, "copy"), filepath.Join(here, "back")} {
		if text, err := os.ReadFile(path); string(text) != "there and back" {
			t.Errorf("%s: got %q, %v", path, text, err)
		}
	}
	hops[0].HostKeys = nil
	if err := (transfer{}).run(t.Context(), hops, false); code(err) != exitNoWayIn {
		t.Errorf("got %v, exit code %d", err, code(err))
	}
}

func TestEntryCode(t *testing.T) {
	for want, err := range map[int]error{
		0:           errors.New("no"),
		42:          fmt.Errorf("x: %w", &access.ExitError{ID: "i-1", Status: 42}),
		143:         &access.ExitError{ID: "i-1", Status: 143, Signal: "TERM"},
		exitNoWayIn: &access.NoWayInError{Err: io.EOF},
	} {
		if got := entryCode(err); got != want {
			t.Errorf("%v: got %d, want %d", err, got, want)
		}
	}
}

func TestCopyProgress(t *testing.T) { synctest.Test(t, testCopyProgress) }

func testCopyProgress(t *testing.T) {
	var out bytes.Buffer
	p := newCopyProgress(&plaintext.Writer{W: &out})
	p.report(access.Progress{Name: "x", Done: 1, Total: 2, End: true})
	p.end()
	if out.Len() > 0 {
		t.Errorf("without a terminal: %q", out.String())
	}
	p.width = 60
	p.report(access.Progress{Name: "/var/log/\x1b[2Jx", Done: 2_000_000, Total: 8_000_000})
	time.Sleep(redrawEvery / 2)
	p.report(access.Progress{Name: "/var/log/\x1b[2Jx", Done: 3_000_000, Total: 8_000_000}) // too soon to be drawn
	time.Sleep(2*time.Second - redrawEvery/2)
	p.report(access.Progress{Name: "/var/log/\x1b[2Jx", Done: 6_000_000, Total: 8_000_000})
	time.Sleep(2 * time.Second)
	p.report(access.Progress{Name: "/var/log/\x1b[2Jx", Done: 8_000_000, Total: 8_000_000, End: true})
	p.report(access.Progress{Name: strings.Repeat("y", 100), Done: 10, Total: 100})
	p.end()
	want := []string{
		"\ufffd[2Jx  2.0 MB of 8.0 MB, 25 %",
		"\ufffd[2Jx  6.0 MB of 8.0 MB, 75 %, 2.0 MB/s",
		"\ufffd[2Jx  8.0 MB, 1.5 MB/s\n",
		strings.Repeat("y", 59) + "\n",
	}
	if got := strings.Split(out.String(), "\r\x1b[K")[1:]; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestByteText(t *testing.T) {
	for n, want := range map[int64]string{
		0:                         "0 B",
		999:                       "999 B",
		1000:                      "1.0 kB",
		27_100_000:                "27.1 MB",
		3_000_000_000:             "3.0 GB",
		5_000_000_000_000:         "5.0 TB",
		7_000_000_000_000_000_000: "7000000.0 TB",
	} {
		if got := byteText(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestOpener(t *testing.T) {
	for system, want := range map[string]string{
		"linux":   "xdg-open",
		"darwin":  "open",
		"windows": "rundll32 url.dll,FileProtocolHandler",
	} {
		if got := strings.Join(opener(system), " "); got != want {
			t.Errorf("%s: got %s, want %s", system, got, want)
		}
	}
}
