package main

import (
	"testing"
	"time"
)

// slowTerminal takes a write only when it is told to.
type slowTerminal struct{ begun, proceed chan struct{} }

func (s *slowTerminal) Write(p []byte) (int, error) {
	s.begun <- struct{}{}
	<-s.proceed
	return len(p), nil
}

// A redraw that is due while the end is being drawn must not keep the end from coming.
func TestProgressEndsOnASlowTerminal(t *testing.T) {
	w := &slowTerminal{make(chan struct{}), make(chan struct{})}
	stop, ticks := make(chan struct{}), make(chan time.Time)
	p := &progress{w: w, width: 80, started: time.Now(), stop: stop}
	p.drawn.Go(func() { p.redraw(stop, ticks) })
	ended := make(chan error, 1)
	go func() { ended <- p.end() }()
	<-w.begun               // the end clears the line, with the lock held
	ticks <- time.Now()     // and the next redraw begins
	w.proceed <- struct{}{} // the end goes on
	for {
		select {
		case <-w.begun:
			w.proceed <- struct{}{}
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
			return
		case <-time.After(10 * time.Second):
			t.Fatal("it waits for a redraw that nobody ends")
		}
	}
}
