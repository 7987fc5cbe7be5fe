// Package debian makes base images of Debian releases with mmdebstrap, from the mirror that the host's own apt uses,
// and runs the package cache, the only way out that machines have. All clouds of a host share both.
package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/lockfile"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/process"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tool"
)

// basefiles are laid over the packages of each base image that instances are launched from.
//
//go:embed all:basefiles
var basefiles embed.FS

// recipe has the suite and packages of a base image. Its digest is part of the image's name, so that a changed recipe
// is a new image.
type recipe struct {
	suite    string
	variant  string
	packages []string
	instance bool // instances are launched from it: it gets basefiles
}

var recipes = map[string]recipe{
	"bookworm": instanceRecipe("bookworm"),
	"trixie":   instanceRecipe("trixie"),
	"sid":      instanceRecipe("sid"),
	"moto": {
		suite:    "trixie",
		variant:  "apt",
		packages: []string{"python3-moto", "python3-flask", "python3-flask-cors"},
	},
}

// instanceRecipe is close to what Debian's own cloud images hold, less what needs a kernel or real hardware.
func instanceRecipe(suite string) recipe {
	return recipe{
		suite:    suite,
		variant:  "important",
		instance: true,
		packages: []string{
			"systemd-sysv",
			"dbus",
			"openssh-server",
			"ca-certificates",
			"cloud-init",
			"sudo",
			"iproute2",
			"iputils-ping",
			"curl",
			"e2fsprogs",
		},
	}
}

// furnished is raised when furnish changes what it does, so that images that were made before are made anew.
const furnished = 3

func (r recipe) digest(apt Apt) string {
	h := sha256.New()
	fmt.Fprintln(h, furnished, r, apt)
	// What is embedded can be read.
	_ = fs.WalkDir(basefiles, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !r.instance {
			return err
		}
		content, err := basefiles.ReadFile(path)
		h.Write(content)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// Bases makes base images and knows where they are.
type Bases struct {
	dir     string
	apt     Apt
	proxy   string // of the making of images
	inside  string // the proxy of machines
	spawner *process.Spawner
}

// NewBases returns the base images of a directory. Those that are made get their packages through one proxy, and
// machines that stand on them through another.
func NewBases(dir string, apt Apt, proxy, inside netip.AddrPort, spawner *process.Spawner) *Bases {
	return &Bases{
		dir:     dir,
		apt:     apt,
		proxy:   proxy.String(),
		inside:  inside.String(),
		spawner: spawner,
	}
}

// IsBase tells whether there is a base image of this name to be made.
func IsBase(name string) bool {
	_, ok := recipes[name]
	return ok
}

// validMake matches a make of a base image: its name and the digest of its recipe.
var validMake = regexp.MustCompile(`^([a-z]+)-[0-9a-f]{12}$`)

// IsMake tells whether a text names a make of a base image that instances are launched from.
func IsMake(text string) bool {
	found := validMake.FindStringSubmatch(text)
	return found != nil && recipes[found[1]].instance
}

// Make returns the name of the make of a base image that the present recipe and the host's apt lead to.
func (b *Bases) Make(name string) string { return name + "-" + recipes[name].digest(b.apt) }

// Dir returns the root directory of a make of a base image.
func (b *Bases) Dir(madeAs string) string { return filepath.Join(b.dir, madeAs) }

// Ensure makes the base image of this name unless the cache has it: bookworm, trixie and sid are Debian releases that
// instances are launched from, moto is the root of the EC2 API's server. progress gets a line now and then. A second
// cloud that wants the same image waits for the first.
func (b *Bases) Ensure(ctx context.Context, name string, progress func(string)) error {
	r, ok := recipes[name]
	if !ok {
		return fmt.Errorf("make base image %q: there is no such one; there are bookworm, trixie and sid", name)
	}
	target := b.Dir(b.Make(name))
	if exists(target) {
		return nil
	}
	unlock, err := lockfile.Lock(ctx, target+".lock")
	if err != nil {
		return fmt.Errorf("make base image %s: %w", name, err)
	}
	defer unlock()
	if exists(target) {
		return nil
	}
	started := time.Now()
	progress(fmt.Sprintf("making base image %s (Debian %s) once", name, r.suite))
	stop := every(10*time.Second, func() {
		progress(fmt.Sprintf("base image %s: at work for %.0f s", name, time.Since(started).Seconds()))
	})
	defer stop()
	making := target + ".making"
	if err := os.RemoveAll(making); err != nil {
		return err
	}
	if err := b.make(ctx, r, making); err != nil {
		return errors.Join(fmt.Errorf("make base image %s: %w", name, err), os.RemoveAll(making))
	}
	progress(fmt.Sprintf("base image %s made in %.0f s", name, time.Since(started).Seconds()))
	return os.Rename(making, target)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// every calls f again and again until stopped.
func every(interval time.Duration, f func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				f()
			}
		}
	}()
	return func() { close(done) }
}

func (b *Bases) make(ctx context.Context, r recipe, dir string) error {
	args := []string{
		"--mode=root",
		"--variant=" + r.variant,
		"--include=" + strings.Join(r.packages, ","),
		`--aptopt=Acquire::http::Proxy "http://` + b.proxy + `"`,
		"--dpkgopt=force-unsafe-io",
	}
	for _, option := range b.apt.Options {
		args = append(args, "--aptopt="+strings.TrimSuffix(option, ";"))
	}
	args = append(args, r.suite, dir)
	args = append(args, b.sourceLines(r.suite)...)
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, "mmdebstrap", args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.WaitDelay = 10 * time.Second
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	// It takes down what it has mounted when it is told to end, by the death of this process too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGTERM}
	err := b.spawner.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return &tool.Error{Doing: "run mmdebstrap for " + r.suite, Err: err, Output: tool.Tail(log.String(), 2000)}
	}
	if !r.instance {
		return nil
	}
	return b.furnish(dir, r.suite)
}

// sourceLines returns the sources of a suite, as apt's one-line format has them.
func (b *Bases) sourceLines(suite string) []string {
	line := func(uri, suite string) string { return fmt.Sprintf("deb %s %s main", plain(uri), suite) }
	lines := []string{line(b.apt.Mirror, suite)}
	if suite != "sid" && b.apt.Security != "" {
		lines = append(lines, line(b.apt.Security, suite+"-security"))
	}
	return lines
}

// furnish makes of a bare Debian what Debian's cloud image is to cloud-init and SSH, on this cloud. No link in it leads
// out of it.
func (b *Bases) furnish(dir, suite string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	err = fs.WalkDir(basefiles, "basefiles", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := basefiles.ReadFile(path)
		if err != nil {
			return err
		}
		return replaceIn(root, strings.TrimPrefix(path, "basefiles/"), content)
	})
	if err != nil {
		return err
	}
	apt := fmt.Sprintf("Acquire::http::Proxy \"http://%s\";\n%s\n", b.inside, strings.Join(b.apt.Options, "\n"))
	type file struct{ path, content string }
	files := []file{
		{"etc/apt/apt.conf.d/90-local-cloud", apt},
		{"etc/machine-id", ""},
		{"etc/hostname", "debian\n"},
		{"etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"},
		{"etc/resolv.conf", ""},
	}
	if suite == "bookworm" { // its cloud-init would set a locale that is not there
		files = append(files, file{"etc/default/locale", "LANG=C.UTF-8\n"})
	}
	for _, file := range files {
		if err = replaceIn(root, file.path, []byte(file.content)); err != nil {
			return err
		}
	}
	unwanted, err := fs.Glob(root.FS(), "etc/ssh/ssh_host_*")
	if err != nil {
		return err
	}
	unwanted = append(unwanted, "etc/apt/apt.conf.d/99mmdebstrap") // how the image was made is not how it is used
	for _, path := range unwanted {
		if err := root.Remove(path); err != nil {
			return err
		}
	}
	return maskUnits(root)
}

// replaceIn writes a file that everybody may read, in place of whatever has its name.
func replaceIn(root *os.Root, path string, content []byte) error {
	if err := errors.Join(root.RemoveAll(path), root.MkdirAll(filepath.Dir(path), 0o755)); err != nil {
		return err
	}
	return errors.Join(root.WriteFile(path, content, 0o644), root.Chmod(path, 0o644))
}

// maskUnits turns off what has no meaning in a container or would reach for a network that is not there.
func maskUnits(root *os.Root) error {
	for _, unit := range []string{
		"systemd-timesyncd.service",
		"systemd-resolved.service",
		"networking.service",
		"apt-daily.timer",
		"apt-daily-upgrade.timer",
		"fstrim.timer",
		"e2scrub_all.timer",
		"e2scrub_reap.service",
		"getty@.service",
		"console-getty.service",
		"container-getty@.service",
		"cloud-init-hotplugd.socket",
		"systemd-networkd-wait-online.service",
		"systemd-firstboot.service",
	} {
		path := filepath.Join("etc/systemd/system", unit)
		if err := errors.Join(root.RemoveAll(path), root.Symlink("/dev/null", path)); err != nil {
			return err
		}
	}
	return nil
}
