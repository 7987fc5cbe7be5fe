// Package process starts the long-lived programs of a cloud, and finds and ends machines by their first processes.
package process

import (
	"os/exec"
	"runtime"
	"syscall"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/cgroup"
)

// Spawner starts children from one thread that lives until Close. The kernel sends a child its parent-death signal when
// the thread that started it ends, so with this, and only with this, children die with the daemon even when it is
// killed.
type Spawner struct {
	work chan func()
}

// NewSpawner starts the thread.
func NewSpawner() *Spawner {
	s := &Spawner{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range s.work {
			f()
		}
		// The thread is not given back: it ends here, after all children have.
	}()
	return s
}

// StartIn starts a child in a control group of its own.
func (s *Spawner) StartIn(group string, cmd *exec.Cmd) error {
	dir, err := cgroup.Make(group)
	if err != nil {
		return err
	}
	defer dir.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	return s.Start(cmd)
}

// Start starts a child. It is killed when this process ends, unless it asks for another parent-death signal.
func (s *Spawner) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if cmd.SysProcAttr.Pdeathsig == 0 {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	cmd.SysProcAttr.Setpgid = true
	started := make(chan error)
	s.work <- func() { started <- cmd.Start() }
	return <-started
}

// Close ends the thread. Nothing can be started any more.
func (s *Spawner) Close() { close(s.work) }
