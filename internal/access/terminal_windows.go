package access

import (
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/windows"
)

var passedSignals = []passedSignal{
	{os.Interrupt, ssh.SIGINT},
	{syscall.SIGTERM, ssh.SIGTERM},
}

// resizeEvery is how often the size is looked at: Windows has no signal for it.
const resizeEvery = 250 * time.Millisecond

func (o *ownTerminal) resized(stop <-chan struct{}) <-chan struct{} {
	resized := make(chan struct{})
	go func() {
		ticker := time.NewTicker(resizeEvery)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
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

// interpretSequences has the console take what moves its cursor, which it would print otherwise.
func interpretSequences(out io.Writer) (undo func()) {
	file, ok := out.(*os.File)
	if !ok {
		return func() {}
	}
	handle := windows.Handle(file.Fd())
	var mode uint32
	if windows.GetConsoleMode(handle, &mode) != nil {
		return func() {}
	}
	windows.SetConsoleMode(handle, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING)
	return func() { windows.SetConsoleMode(handle, mode) }
}
