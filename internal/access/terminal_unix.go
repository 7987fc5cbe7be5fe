//go:build !windows

package access

import (
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/crypto/ssh"
)

var passedSignals = []passedSignal{
	{os.Interrupt, ssh.SIGINT},
	{syscall.SIGTERM, ssh.SIGTERM},
	{syscall.SIGHUP, ssh.SIGHUP},
	{syscall.SIGQUIT, ssh.SIGQUIT},
	{syscall.SIGUSR1, ssh.SIGUSR1},
	{syscall.SIGUSR2, ssh.SIGUSR2},
}

func (o *ownTerminal) resized(stop <-chan struct{}) <-chan struct{} {
	arrived, resized := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(arrived, syscall.SIGWINCH)
	go func() {
		defer signal.Stop(arrived)
		for {
			select {
			case <-stop:
				return
			case <-arrived:
			}
			select {
			case <-stop:
				return
			case resized <- struct{}{}:
			}
		}
	}()
	return resized
}

// interpretSequences is for Windows: every other terminal does it anyway.
func interpretSequences(io.Writer) (undo func()) { return func() {} }
