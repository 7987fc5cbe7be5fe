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

// A redraw that is due while the end is being drawn must not keep the end from coming. Which of the two is first is
// chance, hence the rounds.
func TestProgressEndsOnASlowTerminal(t *testing.T) {
	for range 50 {
		w := &slowTerminal{make(chan struct{}), make(chan struct{})}
		stop, ticks, stopped := make(chan struct{}), make(chan time.Time), make(chan struct{})
		p := &progress{w: w, width: 80, started: time.Now(), stop: stop}
		p.drawn.Go(func() {
			defer close(stopped)
			p.redraw(stop, ticks)
		})
		ended := make(chan error, 1)
		go func() { ended <- p.end() }()
		<-w.begun // the end clears the line, with the lock held
		select {
		case ticks <- time.Now(): // and the next redraw begins
		case <-stopped:
		}
		w.proceed <- struct{}{}
		for over := false; !over; {
			select {
			case <-w.begun:
				w.proceed <- struct{}{}
			case err := <-ended:
				if over = true; err != nil {
					t.Error(err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("it waits for a redraw that nobody ends")
			}
		}
	}
}
