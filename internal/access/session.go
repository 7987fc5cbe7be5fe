package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"
)

// Streams are the standard streams of a command on an instance.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	// Terminal gives a command a terminal, as a shell has without it. In must be one then.
	Terminal bool
}

// ExitError is a command on an instance that did not end well.
type ExitError struct {
	ID string
	// Status is its exit status, or 128 and the number of the signal that ended it.
	Status int
	// Signal is the name of that signal, without SIG.
	Signal string
}

func (e *ExitError) Error() string {
	if e.Signal != "" {
		return fmt.Sprintf("the command on %s was ended by signal %s", e.ID, e.Signal)
	}
	return fmt.Sprintf("the command on %s ended with exit status %d", e.ID, e.Status)
}

// NoWayInError is an instance that could not be logged in to, or a connection that broke.
type NoWayInError struct{ Err error }

func (e *NoWayInError) Error() string { return e.Err.Error() }

// Unwrap is the cause.
func (e *NoWayInError) Unwrap() error { return e.Err }

// LogIn runs a command on the last of some hops, or a shell if the command is empty.
func LogIn(ctx context.Context, hops []Hop, ask Ask, command string, s Streams) error {
	client, err := Dial(ctx, hops, ask)
	if err != nil {
		return &NoWayInError{err}
	}
	defer client.Close()
	return client.Attach(ctx, command, s)
}

// interruptGrace is how long a command has to end by itself once an interrupt was sent to it.
const interruptGrace = 500 * time.Millisecond

// Attach runs a command, or a shell if it is empty, and connects it to some streams. A shell has a terminal if In is
// one. Signals that this process gets meanwhile are passed on. The connection is closed when the context ends.
func (c *Client) Attach(ctx context.Context, command string, s Streams) error {
	file, ok := s.In.(*os.File)
	isTerminal := ok && term.IsTerminal(int(file.Fd()))
	if s.Terminal && !isTerminal {
		return fmt.Errorf("run a command on %s: standard input is no terminal, which it was to have", c.id)
	}
	if !isTerminal || command != "" && !s.Terminal {
		return c.attach(ctx, command, s, nil)
	}
	return c.attach(ctx, command, s, &ownTerminal{
		in:  file,
		out: s.Out,
	})
}

// attach is Attach at a terminal, which is nil where there is none.
func (c *Client) attach(ctx context.Context, command string, s Streams, t terminal) error {
	session, err := c.target.NewSession()
	if err != nil {
		return &NoWayInError{fmt.Errorf("run a command on %s: %w", c.id, err)}
	}
	defer session.Close()
	session.Stdout, session.Stderr = s.Out, s.Err
	in, err := session.StdinPipe()
	if err != nil {
		return fmt.Errorf("run a command on %s: %w", c.id, err)
	}
	defer passSignals(session)()
	if t != nil {
		leave, err := enterTerminal(session, t)
		if err != nil {
			return fmt.Errorf("use the terminal on %s: %w", c.id, err)
		}
		defer leave()
	}
	start := session.Shell
	if command != "" {
		start = func() error { return session.Start(command) }
	}
	if err := start(); err != nil {
		return &NoWayInError{fmt.Errorf("run a command on %s: %w", c.id, err)}
	}
	// The session's own copying would have its end wait for the end of the input, which is a key that nobody presses.
	go func() {
		if s.In != nil {
			_, _ = io.Copy(in, s.In) // a command may end before its input does
		}
		in.Close()
	}()
	return c.wait(ctx, session)
}

// wait waits for the end of the command, or ends it with the context.
func (c *Client) wait(ctx context.Context, session *ssh.Session) error {
	var err error
	ended := make(chan struct{})
	go func() {
		err = session.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return c.ending(err)
	case <-ctx.Done():
	}
	select {
	case <-ended:
		return c.ending(err)
	case <-time.After(interruptGrace):
	}
	c.Close()
	<-ended
	return fmt.Errorf("run a command on %s: %w", c.id, ctx.Err())
}

// ending is the error of a session that ended.
func (c *Client) ending(err error) error {
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		return &ExitError{
			ID:     c.id,
			Status: exit.ExitStatus(),
			Signal: exit.Signal(),
		}
	}
	return &NoWayInError{fmt.Errorf("the connection to %s broke: %w", c.id, err)}
}

// passSignals passes signals that this process gets on to a session, until what it returns is called. An instance's
// sshd delivers them to the command, unless that is another user's, as with sudo.
func passSignals(session *ssh.Session) (stop func()) {
	arrived := make(chan os.Signal, len(passedSignals))
	for _, s := range passedSignals {
		if !signal.Ignored(s.here) { // as a closed terminal is under nohup(1)
			signal.Notify(arrived, s.here)
		}
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case got := <-arrived:
				for _, s := range passedSignals {
					if s.here == got {
						_ = session.Signal(s.there) // the command may have ended
					}
				}
			}
		}
	}()
	return func() {
		signal.Stop(arrived)
		close(done)
	}
}

type passedSignal struct {
	here  os.Signal
	there ssh.Signal
}

// terminal is the user's own terminal.
type terminal interface {
	size() (width, height int, err error)
	// raw has every key reach the session, ctrl-C too.
	raw() (restore func(), err error)
	// resized tells, until stop is closed, that the size may be another one.
	resized(stop <-chan struct{}) <-chan struct{}
}

// enterTerminal gives a session a terminal like the user's, of the same size from then on. What it returns gives the
// user's own terminal back.
func enterTerminal(session *ssh.Session, t terminal) (leave func(), err error) {
	width, height, err := t.size()
	if err != nil {
		return nil, err
	}
	modes := ssh.TerminalModes{
		ssh.ECHO:          1,
		ssh.TTY_OP_ISPEED: 38400,
		ssh.TTY_OP_OSPEED: 38400,
	}
	if err = session.RequestPty(cmp.Or(os.Getenv("TERM"), "xterm-256color"), height, width, modes); err != nil {
		return nil, err
	}
	restore, err := t.raw()
	if err != nil {
		return nil, err
	}
	stop := make(chan struct{})
	resized := t.resized(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-resized:
			}
			newWidth, newHeight, err := t.size()
			if err == nil && (newWidth != width || newHeight != height) {
				width, height = newWidth, newHeight
				_ = session.WindowChange(height, width) // the session may have ended
			}
		}
	}()
	return func() {
		close(stop)
		restore()
	}, nil
}

// ownTerminal is the terminal of this process.
type ownTerminal struct {
	in  *os.File
	out io.Writer
}

// size is that of the output, which on Windows the input does not know.
func (o *ownTerminal) size() (width, height int, err error) {
	if file, ok := o.out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return term.GetSize(int(file.Fd()))
	}
	return term.GetSize(int(o.in.Fd()))
}

func (o *ownTerminal) raw() (restore func(), err error) {
	state, err := term.MakeRaw(int(o.in.Fd()))
	if err != nil {
		return nil, err
	}
	undo := interpretSequences(o.out)
	return func() {
		undo()
		_ = term.Restore(int(o.in.Fd()), state)
	}, nil
}
