package process

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// A machine outlives the systemd-nspawn that made it when that is killed, as it is with the daemon: its first process
// lives in a namespace of its own and keeps the disk mounted. So a machine is ended by that process, which is known by
// what its root directory is mounted from.

// endDeadline is how long killed machines may take to be gone.
const endDeadline = 10 * time.Second

// EndMachines kills all machines whose disks are mounted at or below a directory, and waits until they are gone.
func EndMachines(dir string) error {
	for deadline := time.Now().Add(endDeadline); ; time.Sleep(10 * time.Millisecond) {
		pids, err := Inits(dir)
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("end the machines of %s: processes %v do not end", dir, pids)
		}
		for _, pid := range pids {
			if err := kill(pid, dir); err != nil {
				return err
			}
		}
	}
}

// kill kills a machine's first process. It holds on to the process before it looks again whether it is the one that is
// meant: a process id may have gone to another meanwhile.
func kill(pid int, dir string) error {
	handle, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hold process %d: %w", pid, err)
	}
	defer unix.Close(handle)
	if !IsInit(pid, dir) {
		return nil
	}
	if err := unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	// It is readable once the process has ended, and its mounts with it.
	ended := []unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}
	if _, err := unix.Poll(ended, int(endDeadline.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for process %d: %w", pid, err)
	}
	return nil
}

// Inits returns the first processes of the machines whose disks are mounted at or below a directory.
func Inits(dir string) ([]int, error) {
	all, err := procfs.AllProcs()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, p := range all {
		if IsInit(p.PID, dir) {
			pids = append(pids, p.PID)
		}
	}
	return pids, nil
}

// Mounts returns the mounts of a process's mount namespace.
func Mounts(pid int) ([]*mountinfo.Info, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountinfo.GetMountsFromReader(f, nil)
}

// IsInit tells whether a process is the first one of a machine whose disk is mounted at or below a directory.
func IsInit(pid int, dir string) bool {
	if !leadsNamespace(procfs.DefaultMountPoint, pid) {
		return false
	}
	mounts, err := Mounts(pid)
	return err == nil && rootIsOn(mounts, dir)
}

// leadsNamespace tells whether a process is number 1 in a process namespace below ours.
func leadsNamespace(proc string, pid int) bool {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return false
	}
	p, err := fs.Proc(pid)
	if err != nil {
		return false
	}
	status, err := p.NewStatus()
	ids := status.NSpids
	return err == nil && len(ids) > 1 && ids[len(ids)-1] == 1
}

// rootIsOn tells whether the root is an overlay whose upper directory is at or below a directory.
func rootIsOn(mounts []*mountinfo.Info, dir string) bool {
	below := strings.TrimSuffix(dir, "/") + "/"
	return slices.ContainsFunc(mounts, func(mount *mountinfo.Info) bool {
		if mount.Mountpoint != "/" || mount.FSType != "overlay" {
			return false
		}
		return slices.ContainsFunc(strings.Split(mount.VFSOptions, ","), func(option string) bool {
			upper, ok := strings.CutPrefix(option, "upperdir=")
			return ok && strings.HasPrefix(upper, below)
		})
	})
}

// InitBelow returns the first process of the machine that a systemd-nspawn runs, or 0 while there is none. It is the
// child of nspawn's only child or of nspawn itself, depending on the version.
func InitBelow(nspawn int) int {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", nspawn, nspawn))
	if err != nil {
		return 0
	}
	for _, field := range strings.Fields(string(children)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			continue
		}
		if leadsNamespace(procfs.DefaultMountPoint, child) {
			return child
		}
		if found := InitBelow(child); found != 0 {
			return found
		}
	}
	return 0
}
