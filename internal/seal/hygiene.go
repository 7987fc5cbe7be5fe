//go:build linux

package seal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// item is one thing that must not be in an image. What is removed, and what the check wants to be gone, are the same
// patterns, so that nothing can be removed and not checked, or the other way round.
type item struct {
	// name is its name in the output and in a Fault.
	name string
	// gone are patterns, as filepath.Match has them, of what must not exist. ~ is each user's home directory.
	gone []string
	// empty are patterns of files that must exist with nothing in them, if they exist at all.
	empty []string
	// tree are directories that stay, with their owner and mode, and all directories in them, but no file.
	tree []string
	// mend and check are for what is no matter of whole files. root is the file system, "/" on an instance.
	mend  func(root string) error
	check func(root string) error
}

// hygiene is everything that must not survive into an image, and why.
var hygiene = []item{
	// All instances would share them, and whoever has one could pose as any other. Made anew at first boot.
	{name: "ssh host keys", gone: []string{"/etc/ssh/ssh_host_*", "/etc/dropbear/dropbear_*_host_key"}},
	// Empty, and never "uninitialized": systemd would take that for a first boot and enable units that were disabled.
	{
		name:  "machine-id",
		empty: []string{"/etc/machine-id"},
		mend:  removeFile("/var/lib/dbus/machine-id"),
		check: machineID,
	},
	{name: "authorized keys", gone: []string{"~/.ssh", "/etc/ssh/authorized_keys*"}},
	{
		name: "cloud-init state",
		gone: []string{
			"/var/lib/cloud/*",
			"/run/cloud-init/*",
			"/etc/netplan/50-cloud-init.yaml",
			"/etc/network/interfaces.d/50-cloud-init*",
			"/etc/ssh/sshd_config.d/50-cloud-init.conf",
			"/etc/sudoers.d/90-cloud-init-users",
			"/etc/systemd/network/10-cloud-init-*",
		},
	},
	{
		name: "random seed",
		gone: []string{
			"/var/lib/systemd/random-seed",
			"/var/lib/urandom/random-seed",
			"/boot/efi/loader/random-seed",
			"/boot/loader/random-seed",
		},
	},
	// It encrypts systemd's credentials; shared, it protects nothing.
	{name: "systemd credential secret", gone: []string{"/var/lib/systemd/credential.secret"}},
	{name: "logs and journals", tree: []string{"/var/log"}},
	{
		name: "core dumps",
		gone: []string{
			"/var/lib/systemd/coredump/*",
			"/var/crash/*",
			"/core",
			"/core.[0-9]*",
			"/var/lib/apport/coredump/*",
		},
	},
	{
		name: "DHCP leases",
		gone: []string{
			"/var/lib/dhcp/*",
			"/var/lib/dhclient/*",
			"/var/lib/dhcpcd/*",
			"/var/lib/NetworkManager/*",
			"/etc/udev/rules.d/70-persistent-net.rules",
		},
	},
	{
		name: "histories",
		gone: []string{"~/.*_history", "~/.lesshst", "~/.viminfo", "~/.wget-hsts", "~/.sudo_as_admin_successful"},
	},
	{
		name: "credentials of people and tools",
		gone: []string{
			"~/.my.cnf",
			"~/.mylogin.cnf",
			"~/.pgpass",
			"~/.netrc",
			"~/.aws",
			"~/.azure",
			"~/.kube",
			"~/.docker",
			"~/.gnupg",
			"~/.git-credentials",
			"~/.config/gcloud",
			"~/.config/gh",
			"~/.npmrc",
			"~/.pypirc",
		},
	},
	{name: "caches", gone: []string{"~/.cache", "~/.ansible", "~/.local/share/Trash"}},
	{
		name: "apt lists and caches",
		gone: []string{
			"/var/lib/apt/lists/*",
			"/var/cache/apt/*.bin",
			"/var/cache/apt/archives/*",
			"/var/cache/debconf/*-old",
			"/var/lib/dpkg/*-old",
		},
	},
	{name: "debconf passwords", gone: []string{"/var/cache/debconf/passwords.dat"}},
	{
		name: "backups of accounts",
		gone: []string{
			"/etc/passwd-",
			"/etc/shadow-",
			"/etc/group-",
			"/etc/gshadow-",
			"/etc/subuid-",
			"/etc/subgid-",
			"/var/backups/*",
		},
	},
	{name: "password hashes", check: noPasswordHash},
	// The server's UUID, the keys that it makes itself, and what it wrote while the image was made.
	{
		name: "MySQL's identity and keys",
		gone: []string{"/var/lib/mysql/auto.cnf", "/var/lib/mysql/mysqld-auto.cnf", "/var/lib/mysql/*.pem"},
	},
	{
		name: "MySQL's logs of the build",
		gone: []string{
			"/var/lib/mysql/binlog.*",
			"/var/lib/mysql/*-bin.*",
			"/var/lib/mysql/*relay*",
			"/var/lib/mysql/*.err",
			"/var/lib/mysql/ib_buffer_pool",
			"/var/lib/mysql/ibtmp*",
		},
	},
	{name: "debian.cnf password", mend: dropDebianPassword, check: noDebianPassword},
	{
		name: "snakeoil keys",
		gone: []string{
			"/etc/ssl/private/ssl-cert-snakeoil.key",
			"/etc/ssl/certs/ssl-cert-snakeoil.pem",
			"/etc/ssl/private/*",
		},
	},
	{
		name: "agents' registrations",
		gone: []string{
			"/var/lib/amazon/ssm/*",
			"/var/lib/ec2-instance-connect/*",
			"/var/lib/ubuntu-advantage/private/*",
		},
	},
	// The key by which the store knows a machine, and what it has said of it.
	{
		name:  "snapd's identity",
		gone:  []string{"/var/lib/snapd/device/*", "/var/lib/snapd/assertions/asserts-v0/serial/*"},
		mend:  forgetSnapdIdentity,
		check: noSnapdIdentity,
	},
	{name: "temporary files", gone: []string{"/tmp/*", "/tmp/.*", "/var/tmp/*", "/var/tmp/.*"}},
	{
		name: "the build's leftovers",
		gone: []string{"~/.goldsmith-agent-*", "/var/lib/goldsmith/*", "/root/packer-*", "~/script_*.sh"},
	},
}

// clean removes what must not be there. keep are patterns of what stays all the same.
func clean(root string, keep []string) error {
	homes, err := homeDirectories(root)
	if err != nil {
		return err
	}
	var errs []error
	for _, i := range hygiene {
		for _, path := range existing(root, homes, i.gone) {
			if !kept(root, path, keep) {
				errs = append(errs, erase(path))
			}
		}
		for _, path := range existing(root, homes, i.empty) {
			errs = append(errs, overwrite(path), os.Truncate(path, 0))
		}
		for _, dir := range i.tree {
			errs = append(
				errs,
				filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
					if errors.Is(err, fs.ErrNotExist) {
						return nil
					}
					if err != nil || d.IsDir() || kept(root, path, keep) {
						return err
					}
					return erase(path)
				}),
			)
		}
		if i.mend != nil {
			errs = append(errs, i.mend(root))
		}
	}
	return errors.Join(errs...)
}

// check looks whether all of it is gone.
func check(root string, keep []string) ([]Fault, error) {
	homes, err := homeDirectories(root)
	if err != nil {
		return nil, err
	}
	var faults []Fault
	for _, i := range hygiene {
		fault := func(path, text string) {
			faults = append(faults, Fault{Item: i.name, Path: inside(root, path), Text: text})
		}
		for _, path := range existing(root, homes, i.gone) {
			if !kept(root, path, keep) {
				fault(path, "it must not be in an image")
			}
		}
		for _, path := range existing(root, homes, i.empty) {
			if info, err := os.Stat(path); err != nil || info.Size() > 0 {
				fault(path, "it must be empty in an image")
			}
		}
		for _, dir := range i.tree {
			left, err := filesBelow(root, dir, keep)
			if err != nil {
				return nil, err
			}
			for _, path := range left {
				fault(path, "it must not be in an image")
			}
		}
		if i.check != nil {
			if err := i.check(root); err != nil {
				faults = append(faults, Fault{Item: i.name, Text: err.Error()})
			}
		}
	}
	return faults, nil
}

// filesBelow are the files of a tree, if it is there, but for those that are kept.
func filesBelow(root, dir string, keep []string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() && !kept(root, path, keep) {
			found = append(found, path)
		}
		return err
	})
	return found, err
}

// existing expands patterns to what is there.
func existing(root string, homes, patterns []string) []string {
	var found []string
	for _, pattern := range patterns {
		bases := []string{root}
		if rest, ok := strings.CutPrefix(pattern, "~"); ok {
			bases, pattern = homes, rest
		}
		for _, base := range bases {
			matches, _ := filepath.Glob(filepath.Join(base, pattern)) // the patterns are constants and well formed
			for _, path := range matches {
				if name := filepath.Base(path); name != "." && name != ".." && present(path) {
					found = append(found, path)
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func kept(root, path string, keep []string) bool {
	path = "/" + strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
	return slices.ContainsFunc(keep, func(pattern string) bool {
		match, _ := filepath.Match(pattern, path)
		return match
	})
}

// homePath tells homes from the system directories that some system accounts have for one.
var homePath = regexp.MustCompile(`^/(root$|home/|srv/|opt/|var/)`)

// homeDirectories are those of all accounts, and whatever else is in /home.
func homeDirectories(root string) ([]string, error) {
	homes := map[string]bool{}
	text, err := os.ReadFile(filepath.Join(root, "/etc/passwd"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Split(strings.TrimSpace(line), ":"); len(fields) >= 6 && homePath.MatchString(fields[5]) {
			homes[filepath.Join(root, fields[5])] = true
		}
	}
	more, _ := filepath.Glob(filepath.Join(root, "/home/*"))
	for _, home := range append(more, filepath.Join(root, "/root")) {
		homes[home] = true
	}
	var all []string
	for home := range homes {
		all = append(all, home)
	}
	slices.Sort(all)
	return all, nil
}

// erase removes a file or a tree. The content is overwritten first, because a snapshot also has the blocks that a file
// system has freed. What is mounted read-only from elsewhere is not the image's, and stays.
func erase(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || mountedReadOnly(path, info) {
		return err
	}
	if !info.IsDir() {
		if err = overwrite(path); err != nil {
			return fmt.Errorf("overwrite %s: %w", path, err)
		}
		return os.Remove(path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		errs = append(errs, erase(filepath.Join(path, entry.Name())))
	}
	err = os.Remove(path)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EBUSY) {
		err = nil // it leads to a mount, or somebody has written to it since: the check tells
	}
	return errors.Join(append(errs, err)...)
}

// present says whether a file or a tree is there, and part of the image.
func present(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || mountedReadOnly(path, info) {
		return false
	}
	entries, err := os.ReadDir(path)
	if !info.IsDir() || err != nil || len(entries) == 0 {
		return true
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return present(filepath.Join(path, e.Name())) })
}

// mountedReadOnly says whether a path is on another file system than its parent, one that cannot be written to.
func mountedReadOnly(path string, info fs.FileInfo) bool {
	parent, err := os.Lstat(filepath.Dir(path))
	if err != nil || parent.Sys().(*syscall.Stat_t).Dev == info.Sys().(*syscall.Stat_t).Dev {
		return false
	}
	var system unix.Statfs_t
	return unix.Statfs(path, &system) == nil && system.Flags&unix.ST_RDONLY != 0
}

// mountedInMemory says whether a path is on another file system than its parent, one that is gone when the machine
// stops.
func mountedInMemory(path string, info fs.FileInfo) bool {
	parent, err := os.Lstat(filepath.Dir(path))
	if err != nil || parent.Sys().(*syscall.Stat_t).Dev == info.Sys().(*syscall.Stat_t).Dev {
		return false
	}
	var system unix.Statfs_t
	return unix.Statfs(path, &system) == nil && (system.Type == unix.TMPFS_MAGIC || system.Type == unix.RAMFS_MAGIC)
}

// overwriteAtMost is the size up to which a file is overwritten before it is removed: keys and histories are small, and
// a journal of gigabytes is not worth the time; the scan of the free blocks sees what stays of it.
const overwriteAtMost = 64 << 20

// overwrite fills a file with zeros, in place. A file of several names is another's too and is left alone.
func overwrite(path string) error {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 || info.Size() > overwriteAtMost || links(info) > 1 {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, syscall.ETXTBSY) {
		return nil // a program that runs, the agent for one: it is no secret
	}
	if err != nil {
		return err
	}
	_, err = io.CopyN(file, zeros{}, info.Size())
	return errors.Join(err, file.Sync(), file.Close())
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func removeFile(path string) func(string) error {
	return func(root string) error {
		err := os.Remove(filepath.Join(root, path))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
}

// machineID wants no copy of the id, and the file itself there: a missing one is a first boot to systemd too.
func machineID(root string) error {
	if _, err := os.Stat(filepath.Join(root, "/etc/machine-id")); err != nil {
		return fmt.Errorf("an empty /etc/machine-id is needed: %w", err)
	}
	info, err := os.Lstat(filepath.Join(root, "/var/lib/dbus/machine-id"))
	if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		return errors.New("/var/lib/dbus/machine-id: it must not be in an image")
	}
	return nil
}

// noPasswordHash wants every account locked or without a password to log in by.
func noPasswordHash(root string) error {
	file, err := os.Open(filepath.Join(root, "/etc/shadow"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	var errs []error
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		user, rest, _ := strings.Cut(scanner.Text(), ":")
		hash, _, _ := strings.Cut(rest, ":")
		switch {
		case hash == "":
			errs = append(errs, fmt.Errorf("/etc/shadow: %s has an empty password", user))
		case !strings.HasPrefix(hash, "!") && !strings.HasPrefix(hash, "*"):
			errs = append(errs, fmt.Errorf("/etc/shadow: %s has a password", user))
		}
	}
	return errors.Join(errs...)
}

const debianCnf = "/etc/mysql/debian.cnf"

func noDebianPassword(root string) error {
	text, err := os.ReadFile(filepath.Join(root, debianCnf))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, "=")
		if strings.TrimSpace(key) == "password" && strings.TrimSpace(value) != "" {
			return fmt.Errorf("%s holds a password, which every instance would share", debianCnf)
		}
	}
	return nil
}

// dropDebianPassword makes the maintenance scripts come as root over the socket, as Debian's MariaDB has it.
func dropDebianPassword(root string) error {
	if noDebianPassword(root) == nil {
		return nil
	}
	path := filepath.Join(root, debianCnf)
	const content = "# Maintenance comes as root over the socket; no password is kept.\n" +
		"[client]\nhost   = localhost\nuser   = root\n" +
		"[mysql_upgrade]\nhost   = localhost\nuser   = root\n"
	if err := overwrite(path); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}
