package host

import (
	"os/exec"
	"runtime"
	"syscall"
)

// spawner starts the cloud's long-lived children from one thread that lives as long as the process. The kernel sends a
// child its parent-death signal when the thread that started it ends, so with this, and only with this, children die
// with the daemon even when it is killed.
type spawner struct {
	work chan func()
}

func newSpawner() *spawner {
	s := &spawner{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range s.work {
			f()
		}
		// The thread is not given back: it ends here, after all children have.
	}()
	return s
}

// startIn starts a child in a control group of its own.
func (s *spawner) startIn(cgroup string, cmd *exec.Cmd) error {
	group, err := makeCgroup(cgroup)
	if err != nil {
		return err
	}
	defer group.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	return s.start(cmd)
}

func (s *spawner) start(cmd *exec.Cmd) error {
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

func (s *spawner) close() { close(s.work) }
