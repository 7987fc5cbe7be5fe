package access

import (
	"cmp"
	"io"
	"os"
)

// dialAgent connects to the user's ssh-agent, which is a named pipe on Windows.
func dialAgent() (io.ReadWriteCloser, error) {
	return os.OpenFile(cmp.Or(os.Getenv("SSH_AUTH_SOCK"), `\\.\pipe\openssh-ssh-agent`), os.O_RDWR, 0)
}
