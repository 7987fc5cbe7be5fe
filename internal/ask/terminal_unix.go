//go:build !windows

package ask

const terminal = "/dev/tty"
