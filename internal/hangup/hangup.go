// Package hangup keeps work from ending without its way back when a terminal is closed, or when whoever
// reads the output or called for the work is gone. It knows signals and nothing of the work.
package hangup

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Context ends with an interrupt, a request to end or a closed terminal. Under nohup(1) a closed terminal is no reason.
func Context(parent context.Context) (context.Context, context.CancelFunc) {
	survivePipes()
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signal.NotifyContext(parent, signals...)
}

// survivePipes makes a write to standard output or error whose reader is gone an error, which it is for every other
// file.
// As a signal it would kill the process in the middle of its way back. Programs that are started have it as it was.
func survivePipes() {
	survive.Do(func() {
		broken := make(chan os.Signal, 1)
		signal.Notify(broken, syscall.SIGPIPE)
		go func() {
			for range broken { // the write that failed tells
			}
		}()
	})
}

var survive sync.Once

// Work is the set of running calls of a plugin, which end when its caller dies.
type Work struct {
	mu    sync.Mutex
	ends  map[*int]context.CancelFunc
	group sync.WaitGroup
}

// Begin is a piece of work, which ends with a closed terminal too. done is to be called once it has ended.
func (w *Work) Begin(parent context.Context) (ctx context.Context, done func()) {
	survivePipes()
	ctx, cancel := context.WithCancel(parent)
	stop := func() {}
	if !signal.Ignored(syscall.SIGHUP) {
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
	}
	key := new(int)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ends == nil {
		w.ends = map[*int]context.CancelFunc{}
	}
	w.ends[key] = cancel
	w.group.Add(1)
	return ctx, func() {
		stop()
		cancel()
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.ends, key)
		w.group.Done()
	}
}

// End has all work go back, and waits until it has.
func (w *Work) End() {
	w.mu.Lock()
	for _, cancel := range w.ends {
		cancel()
	}
	w.mu.Unlock()
	w.group.Wait()
}

// Plugin is the work of this process, if it is a plugin.
var Plugin Work
