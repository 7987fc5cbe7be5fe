package access

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access/sshtest"
)

func TestAttach(t *testing.T) {
	client, _ := connect(t, "", (*sshtest.Session).Shell)
	var out, complaints bytes.Buffer
	err := client.Attach(t.Context(), Command("sh", "-c", "cat; echo oh >&2; exit 42"), Streams{
		In:  strings.NewReader("in\n"),
		Out: &out,
		Err: &complaints,
	})
	var exit *ExitError
	if !errors.As(err, &exit) || *exit != (ExitError{ID: "i-1", Status: 42}) {
		t.Errorf("got %v", err)
	}
	if out.String() != "in\n" || complaints.String() != "oh\n" {
		t.Errorf("got %q and %q", out.String(), complaints.String())
	}
	if err := client.Attach(t.Context(), "true", Streams{}); err != nil {
		t.Error(err)
	}
}

// TestAttachDoesNotWaitForInput has a command end while nobody types anything.
func TestAttachDoesNotWaitForInput(t *testing.T) {
	client, _ := connect(t, "", func(s *sshtest.Session) { s.Exit(0) })
	in, typing := io.Pipe()
	defer typing.Close()
	if err := client.Attach(t.Context(), "true", Streams{In: in}); err != nil {
		t.Error(err)
	}
}

func TestKilledCommand(t *testing.T) {
	client, _ := connect(t, "", func(s *sshtest.Session) { s.Killed("TERM") })
	err := client.Attach(t.Context(), "x", Streams{})
	var exit *ExitError
	if !errors.As(err, &exit) || *exit != (ExitError{ID: "i-1", Status: 128 + 15, Signal: "TERM"}) {
		t.Errorf("got %v", err)
	}
}

func TestBrokenConnection(t *testing.T) {
	broken := make(chan func(), 1)
	client, server := connect(t, "", func(*sshtest.Session) { (<-broken)() })
	broken <- server.Break
	err := client.Attach(t.Context(), "x", Streams{})
	var closed *NoWayInError
	if !errors.As(err, &closed) || !strings.Contains(err.Error(), "the connection to i-1 broke") {
		t.Errorf("got %v", err)
	}
}

// TestSignalsArePassedOn sends this process a signal while a command runs.
func TestSignalsArePassedOn(t *testing.T) {
	client, _ := connect(t, "", func(s *sshtest.Session) {
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			t.Error(err)
			return
		}
		s.Killed(<-s.Signals)
	})
	err := client.Attach(t.Context(), "x", Streams{})
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Signal != "USR1" {
		t.Errorf("got %v", err)
	}
}

// TestAttachEndsWithItsContext has a command that does not end by itself.
func TestAttachEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client, _ := connect(t, "", func(s *sshtest.Session) {
		cancel()
		<-s.Signals
	})
	if err := client.Attach(ctx, "x", Streams{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// screen is a terminal of a test.
type screen struct {
	changed chan struct{}
	log     []string

	mu     sync.Mutex
	width  int
	height int
}

func (s *screen) resize(width, height int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.width, s.height = width, height
}

func (s *screen) size() (width, height int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.width, s.height, nil
}

func (s *screen) resized(<-chan struct{}) <-chan struct{} { return s.changed }

func (s *screen) raw() (restore func(), err error) {
	s.log = append(s.log, "raw")
	return func() { s.log = append(s.log, "restored") }, nil
}

func TestTerminal(t *testing.T) {
	t.Setenv("TERM", "vt220")
	at := &screen{width: 80, height: 24, changed: make(chan struct{})}
	got := make(chan *sshtest.Session, 1)
	client, _ := connect(t, "", func(s *sshtest.Session) {
		got <- s
		at.changed <- struct{}{} // of the same size as before: nobody is told
		at.resize(132, 50)
		at.changed <- struct{}{}
		if size := <-s.Resized; size != [2]int{132, 50} {
			t.Errorf("resized to %v", size)
		}
		_, _ = io.WriteString(s.Out, "$ ") // what has come is compared below
		key := make([]byte, 1)
		if _, err := io.ReadFull(s.In, key); err != nil {
			t.Error(err)
		}
		s.Exit(uint32(key[0])) // ctrl-C is a key, and no interrupt of this process
	})
	var out bytes.Buffer
	err := client.attach(t.Context(), "", Streams{In: strings.NewReader("\x03"), Out: &out}, at)
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Status != 3 || out.String() != "$ " {
		t.Errorf("got %v, %q", err, out.String())
	}
	s := <-got
	if s.Command != "" || s.Terminal == nil || *s.Terminal != (sshtest.Terminal{Kind: "vt220", Width: 80, Height: 24}) {
		t.Errorf("command %q, terminal %+v", s.Command, s.Terminal)
	}
	if log := strings.Join(at.log, " "); log != "raw restored" {
		t.Errorf("the terminal was made %q", log)
	}
}

func TestNoTerminal(t *testing.T) {
	client, _ := connect(t, "", func(s *sshtest.Session) {
		if s.Terminal != nil {
			t.Error("the shell has a terminal")
		}
		s.Exit(0)
	})
	if err := client.Attach(t.Context(), "", Streams{In: strings.NewReader("ls\n")}); err != nil {
		t.Error(err)
	}
	err := client.Attach(t.Context(), "mysql", Streams{In: strings.NewReader(""), Terminal: true})
	if err == nil || !strings.Contains(err.Error(), "is no terminal") {
		t.Errorf("got %v", err)
	}
}

func TestLogIn(t *testing.T) {
	noAgent(t)
	path, public, _ := identity(t, "")
	server := sshtest.Start(t, "admin", public, "", (*sshtest.Session).Shell)
	hop := hopTo(server, "i-1", path)
	var out bytes.Buffer
	if err := LogIn(t.Context(), []Hop{hop}, nil, "echo in", Streams{Out: &out}); err != nil || out.String() != "in\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	hop.Port = 1
	var closed *NoWayInError
	if err := LogIn(t.Context(), []Hop{hop}, nil, "echo in", Streams{}); !errors.As(err, &closed) {
		t.Errorf("got %v", err)
	}
}
