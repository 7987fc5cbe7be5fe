// Package cli is the command `goldsmith cloud`: it starts and stops a local cloud, and looks into it as a client of its
// API. On other systems than Linux the command is there and refuses to work.
package cli

// BadInput is an error of the command line.
type BadInput struct{ error }

// Unwrap returns the error itself.
func (e *BadInput) Unwrap() error { return e.error }
