package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// systemd listens where the program tells its state.
type systemd struct{ conn *net.UnixConn }

func listenAsSystemd(t *testing.T, name string) systemd {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return systemd{conn}
}

// heard is the next message.
func (s systemd) heard(t *testing.T) string {
	t.Helper()
	if err := s.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, 64)
	n, err := s.conn.Read(message)
	if err != nil {
		t.Fatalf("systemd hears nothing: %v", err)
	}
	return string(message[:n])
}

func TestNotify(t *testing.T) {
	for _, c := range []struct{ name, socket string }{
		{"a path", filepath.Join(t.TempDir(), "notify")},
		{"an abstract socket", fmt.Sprintf("@goldsmith-test-%d-%d", os.Getpid(), time.Now().UnixNano())},
	} {
		t.Run(c.name, func(t *testing.T) {
			told := listenAsSystemd(t, c.socket)
			if err := notify("READY=1"); err != nil {
				t.Fatal(err)
			}
			if got := told.heard(t); got != "READY=1" {
				t.Errorf("systemd was told %q", got)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
		if err := notify("READY=1"); err == nil || !strings.Contains(err.Error(), "READY=1") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no systemd", func(t *testing.T) {
		t.Setenv("NOTIFY_SOCKET", "")
		if err := notify("READY=1"); err != nil {
			t.Error(err)
		}
	})
}

func TestWatchdog(t *testing.T) {
	told := listenAsSystemd(t, filepath.Join(t.TempDir(), "notify"))
	t.Setenv("WATCHDOG_USEC", "4000")
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { watchdog(ctx); close(ended) }()
	for range 3 {
		if got := told.heard(t); got != "WATCHDOG=1" {
			t.Errorf("systemd was told %q", got)
		}
	}
	end()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the watchdog does not end with the program")
	}
}

// TestNoWatchdog returns at once where systemd wants none, and does not panic for a time that is no time.
func TestNoWatchdog(t *testing.T) {
	for _, text := range []string{"", "0", "-1", "soon"} {
		t.Setenv("WATCHDOG_USEC", text)
		ended := make(chan struct{})
		go func() { watchdog(t.Context()); close(ended) }()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Errorf("WATCHDOG_USEC=%q: it goes on", text)
		}
	}
}

// TestRunUntilTold starts the whole program without a database, has it told to end as systemd does, and wants it gone
// without an error.
func TestRunUntilTold(t *testing.T) {
	told := listenAsSystemd(t, filepath.Join(t.TempDir(), "notify"))
	t.Setenv("LISTEN", "127.0.0.1:0")
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	t.Setenv("DB_TLS", "off")
	t.Setenv("WATCHDOG_USEC", "")
	ended := make(chan error, 1)
	go func() { ended <- run(slog.New(slog.DiscardHandler)) }()
	if got := told.heard(t); got != "READY=1" {
		t.Fatalf("systemd was told %q", got)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := told.heard(t); got != "STOPPING=1" {
		t.Errorf("systemd was told %q", got)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it goes on")
	}
}

func TestRunSaysWhyItCannot(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody")) // ready would be an error of its own
	for listen, want := range map[string]string{
		taken.Addr().String(): "address already in use",
		"0.0.0.0:5000":        "LISTEN=0.0.0.0:5000",
	} {
		t.Setenv("LISTEN", listen)
		if err := run(slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", listen, err, want)
		}
	}
}
