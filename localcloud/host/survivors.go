package host

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A machine outlives the systemd-nspawn that made it when that is killed, as it is with the daemon: its first process
// lives in a namespace of its own and keeps the disk mounted. So a machine is ended by that process, which is known by
// what its root directory is mounted from.

// survivorsEnd is how long killed machines may take to be gone.
const survivorsEnd = 10 * time.Second

// endSurvivors kills all machines whose disks are mounted at or below a directory, and waits until they are gone.
func endSurvivors(dir string) error {
	for deadline := time.Now().Add(survivorsEnd); ; time.Sleep(10 * time.Millisecond) {
		pids, err := firstProcesses(dir)
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
	if !isFirstProcess(pid, dir) {
		return nil
	}
	if err := unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	// It is readable once the process has ended, and its mounts with it.
	ended := []unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}
	if _, err := unix.Poll(ended, int(survivorsEnd.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for process %d: %w", pid, err)
	}
	return nil
}

// firstProcesses are the first processes of machines whose disks are mounted at or below a directory.
func firstProcesses(dir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && isFirstProcess(pid, dir) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func isFirstProcess(pid int, dir string) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil || !firstInItsNamespace(string(status)) {
		return false
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	return err == nil && rootIsOn(string(mounts), dir)
}

// firstInItsNamespace reads /proc/PID/status: whether the process is number 1 in a process namespace below ours.
func firstInItsNamespace(status string) bool {
	for line := range strings.Lines(status) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(ids)
			return len(fields) > 1 && fields[len(fields)-1] == "1"
		}
	}
	return false
}

// rootIsOn reads /proc/PID/mountinfo: whether the root is an overlay whose upper directory is at or below a directory.
func rootIsOn(mountinfo, dir string) bool {
	for line := range strings.Lines(mountinfo) {
		mount, source, ok := strings.Cut(line, " - ")
		fields, after := strings.Fields(mount), strings.Fields(source)
		if !ok || len(fields) < 5 || fields[4] != "/" || len(after) < 3 || after[0] != "overlay" {
			continue
		}
		return slices.ContainsFunc(strings.Split(after[2], ","), func(option string) bool {
			upper, ok := strings.CutPrefix(option, "upperdir=")
			return ok && strings.HasPrefix(upper, strings.TrimSuffix(dir, "/")+"/")
		})
	}
	return false
}
