package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/firstboot"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{errors.New("no space left on the data volume"), 1},
		{fmt.Errorf("%w: 3 MiB of 1024 are free", firstboot.ErrNoRoom), instance.ExitNoRoom},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
	}
}
