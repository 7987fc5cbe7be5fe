//go:build acceptance

package rig

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Shell is a bash at a terminal, to which lines are typed as a person types them.
type Shell struct {
	t      testing.TB
	person *os.File

	mu    sync.Mutex
	shown strings.Builder // on the screen, and not read yet
	more  chan struct{}   // there is more of it
}

// prompt is the shell's; it says how the last command ended.
const prompt = ":$?:ready:\n"

// atPrompt matches it also behind a line that did not end, as after ctrl-C.
var atPrompt = regexp.MustCompile(`:(\d+):ready:\r?\n`)

// NewShell starts a shell in the repository that knows only these variables. It ends with the test.
func NewShell(t testing.TB, environment ...string) *Shell {
	t.Helper()
	person, terminal, err := pseudoterminal()
	if err != nil {
		t.Fatalf("open a terminal: %v", err)
	}
	defer terminal.Close()
	bash := exec.Command("bash", "--noprofile", "--norc", "--noediting", "-i")
	bash.Dir = Repository
	bash.Env = append([]string{"PS1=" + prompt, "PS2=", "HISTFILE=/dev/null", "TERM=dumb"}, environment...)
	bash.Stdin, bash.Stdout, bash.Stderr = terminal, terminal, terminal
	bash.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := bash.Start(); err != nil {
		t.Fatal(err)
	}
	s := &Shell{t: t, person: person, more: make(chan struct{}, 1)}
	ended := make(chan struct{})
	go s.read(ended)
	t.Cleanup(func() {
		person.Close() // a closed terminal ends the shell, and what it runs
		_ = bash.Wait()
		<-ended
	})
	s.End(time.Minute)
	return s
}

// pseudoterminal is a terminal, and the end at which a person sits.
func pseudoterminal() (person, terminal *os.File, err error) {
	if person, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NONBLOCK, 0); err != nil {
		return nil, nil, err
	}
	connection, err := person.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	number := 0
	var failed error
	err = connection.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed == nil {
			number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
		if failed == nil {
			failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 200})
		}
	})
	if err == nil {
		err = failed
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	return person, terminal, err
}

func (s *Shell) read(ended chan<- struct{}) {
	defer close(ended)
	part := make([]byte, 4096)
	for {
		n, err := s.person.Read(part)
		s.mu.Lock()
		s.shown.Write(part[:n])
		s.mu.Unlock()
		select {
		case s.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// Type types a text. A line ends with "\n"; "\x03" is ctrl-C.
func (s *Shell) Type(text string) {
	s.t.Helper()
	if _, err := s.person.WriteString(text); err != nil {
		s.t.Fatalf("type %q: %v", text, err)
	}
}

// Await waits until what is shown matches, and returns all up to there.
func (s *Shell) Await(what *regexp.Regexp, limit time.Duration) string {
	s.t.Helper()
	for timer := time.NewTimer(limit); ; {
		s.mu.Lock()
		text := s.shown.String()
		if at := what.FindStringIndex(text); at != nil {
			s.shown.Reset()
			s.shown.WriteString(text[at[1]:])
			s.mu.Unlock()
			return strings.ReplaceAll(text[:at[1]], "\r", "")
		}
		s.mu.Unlock()
		select {
		case <-s.more:
		case <-timer.C:
			s.t.Fatalf("%s was not shown within %s:\n%s", what, limit, End(s.t, strings.ReplaceAll(text, "\r", "")))
		}
	}
}

// End waits for the end of what runs, and returns what was shown up to there and its exit status.
func (s *Shell) End(limit time.Duration) (string, int) {
	s.t.Helper()
	out := s.Await(atPrompt, limit)
	status, err := strconv.Atoi(atPrompt.FindStringSubmatch(out)[1])
	if err != nil {
		s.t.Fatal(err)
	}
	return atPrompt.ReplaceAllString(out, ""), status
}

// Run types a line and wants it to succeed.
func (s *Shell) Run(line string, limit time.Duration) string {
	s.t.Helper()
	s.Type(line + "\n")
	return s.Succeeds(line, limit)
}

// Succeeds wants what was typed before to succeed.
func (s *Shell) Succeeds(line string, limit time.Duration) string {
	s.t.Helper()
	out, status := s.End(limit)
	if status != 0 {
		s.t.Fatalf("%s: exit status %d\n%s", line, status, End(s.t, out))
	}
	return out
}
