package remote

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// How much a machine may write: it is not known whether it is well.
const (
	// lineLimit bounds a line of the agent's events, and what is kept of a standard error.
	lineLimit = 1 << 20
	// answerLimit bounds the answer to a question, which is kept in memory.
	answerLimit = 16 << 20
	// eventsLimit bounds all events of a play.
	eventsLimit = 1 << 30
	// sealLimit bounds what the agent sends while it seals: the texts that are to be judged.
	sealLimit = 1 << 30
)

// output takes what a command on a machine writes. It takes no more once it is shut, as a communicator may go on
// writing after its command was given up: what was written can be read then without a race.
type output struct {
	mu    sync.Mutex
	to    io.Writer
	left  int64
	limit int64
	shut  bool
	err   error
}

func newOutput(to io.Writer, limit int64) *output { return &output{to: to, left: limit, limit: limit} }

// Write always takes all, so that no communicator takes a limit for a broken connection; end tells what is wrong.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut || o.err != nil {
		return len(p), nil
	}
	if o.left -= int64(len(p)); o.left < 0 {
		o.err = fmt.Errorf("it writes more than %d bytes", o.limit)
		return len(p), nil
	}
	_, o.err = o.to.Write(p)
	return len(p), nil
}

// end takes nothing more, and says what was wrong with what was taken.
func (o *output) end() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shut = true
	return o.err
}

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	if len(p) > lineLimit {
		t.text = t.text[:0]
	}
	t.text = append(t.text, p[max(0, len(p)-lineLimit):]...)
	if len(t.text) > 2*lineLimit {
		t.text = bytes.Clone(t.text[len(t.text)-lineLimit:])
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.text[max(0, len(t.text)-lineLimit):]) }

// lines calls a function for each whole line that is written to it.
type lines struct {
	pending bytes.Buffer
	call    func([]byte)
}

func newLines(call func([]byte)) *lines { return &lines{call: call} }

// Write refuses a line that is too long.
func (l *lines) Write(p []byte) (int, error) {
	l.pending.Write(p)
	for {
		i := bytes.IndexByte(l.pending.Bytes(), '\n')
		if i > lineLimit || i < 0 && l.pending.Len() > lineLimit {
			l.pending = bytes.Buffer{}
			return 0, fmt.Errorf("it writes a line of more than %d bytes", lineLimit)
		}
		if i < 0 {
			return len(p), nil
		}
		l.call(l.pending.Next(i + 1))
	}
}

func (l *lines) flush() {
	if l.pending.Len() > 0 {
		l.call(l.pending.Next(l.pending.Len()))
	}
}
