//go:build acceptance

package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/debian"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/imds"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/netns"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/nspawn"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/process"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tool"
)

// crashing is the environment variable, a state directory, that makes the test's process a cloud that is to be killed.
const crashing = "GOLDSMITH_TEST_CRASH"

// TestMain runs the tests again in a process with a mount namespace of its own, as the cloud's daemon has.
func TestMain(m *testing.M) {
	if os.Getenv("GOLDSMITH_OWN_MOUNTS") == "" {
		os.Exit(runInOwnMounts())
	}
	if dir := os.Getenv(crashing); dir != "" {
		if err := runUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func runInOwnMounts() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), "GOLDSMITH_OWN_MOUNTS=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// cloud is an open host with two machines: web in a public subnet, which the operator may reach by SSH, and db in a
// private one, which web may reach by SSH.
type cloud struct {
	*testing.T
	*Host
	topology network.Topology
	web, db  Machine
}

func testConfig(name, dir string) Config {
	return Config{
		Name:     name,
		StateDir: dir,
		RunDir:   filepath.Join("/run/goldsmith", name),
		CacheDir: "/var/cache/goldsmith",
		Log:      slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
}

func openCloud(ctx context.Context, config Config, say func(string)) (*cloud, error) {
	h, err := Open(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := h.EnsureBase(ctx, "trixie", say); err != nil {
		return nil, err
	}
	if err := h.ImportBase("ami-base", "trixie"); err != nil {
		return nil, err
	}
	topology := testTopology(h.addresses)
	if err := h.Apply(ctx, topology); err != nil {
		return nil, err
	}
	c := &cloud{Host: h, topology: topology, web: testMachine(topology, 0), db: testMachine(topology, 1)}
	for _, m := range []Machine{c.web, c.db} {
		h.SetMetadata(m.ID, imds.Metadata{InstanceID: m.ID, UserData: []byte("hello"), TokensRequired: true})
		if err := h.RunMachine(ctx, m); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func TestHost(t *testing.T) {
	config := testConfig("hosttest", t.TempDir())
	started := time.Now()
	c, err := openCloud(t.Context(), config, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	defer c.checkNothingLeft(t)
	c.T = t
	c.waitForBanner()
	t.Logf("SSH answers after %s", time.Since(started))
	for _, m := range []Machine{c.web, c.db} {
		if state := c.must(m, "timeout 120 systemctl is-system-running --wait"); state != "running" {
			t.Errorf("%s is %s: %s", m.ID, state, c.must(m, "systemctl --failed"))
		}
	}
	for _, test := range []struct {
		name string
		run  func(*cloud)
	}{
		{"security groups", testSecurityGroups},
		{"internet", testInternet},
		{"package cache", testPackageCache},
		{"metadata", testMetadata},
		{"machines are apart", testMachinesAreApart},
		{"VPCs with the same addresses", testSameAddresses},
		{"console", testConsole},
		{"disk full", testDiskFull},
		{"volume", testVolume},
		{"a machine's programs", testRunsNothingOfMachines},
		{"a volume that is gone", testStartWithoutVolume},
		{"image", testImage},
		{"reboots itself", testRebootsItself},
		{"powers itself off", testPowersItselfOff},
	} {
		t.Run(test.name, func(t *testing.T) {
			part := *c
			part.T = t
			test.run(&part)
		})
	}
}

func (c *cloud) checkNothingLeft(t *testing.T) {
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, c.config.RunDir) {
			t.Errorf("left mounted: %s", line)
		}
	}
	checkNothingOutside(t, c.config)
}

// checkNothingOutside looks for what a cloud has in the kernel outside of its own mount namespace.
func checkNothingOutside(t *testing.T, config Config) {
	t.Helper()
	// A cloud of another name may have the number that this one's name stands for.
	addresses, err := AddressesOf(config)
	if err != nil {
		t.Fatal(err)
	}
	number := addresses.API.Addr().As4()[2]
	for _, command := range []string{"nft list tables", "losetup --all", "find /sys/fs/cgroup -type d"} {
		out, failed := exec.Command("sh", "-c", command).CombinedOutput()
		if failed != nil {
			t.Fatalf("%s: %v: %s", command, failed, out)
		}
		for line := range strings.Lines(string(out)) {
			for _, ours := range []string{
				fmt.Sprintf("goldsmith_%d\n", number),
				config.StateDir + "/",
				"goldsmith-" + config.Name,
			} {
				if strings.Contains(line, ours) {
					t.Errorf("left: %s", line)
				}
			}
		}
	}
	machines, err := filepath.Glob(config.dir("machines") + "/*")
	if err != nil || len(machines) == 0 {
		t.Errorf("the cloud had no machines: %v", err)
	}
	for _, machine := range append(machines, config.apiMachine()) {
		if left := filepath.Join("/run/systemd/nspawn/propagate", filepath.Base(machine)); exists(left) {
			t.Errorf("left: %s", left)
		}
	}
	if pids, err := process.Inits(config.mountDir()); err != nil || len(pids) > 0 {
		t.Errorf("left: machines with first processes %v, %v", pids, err)
	}
}

// in runs a script in a running machine.
func (c *cloud) in(m Machine, script string) (string, error) {
	pid, err := c.init(m)
	if err != nil {
		return "", err
	}
	out, err := exec.Command("nsenter", "-t", fmt.Sprint(pid), "-m", "-n", "-p", "-u", "/bin/bash", "-c", script).
		CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// init is the process id of a machine's first process.
func (c *cloud) init(m Machine) (int, error) {
	c.mu.Lock()
	running := c.machines[m.ID]
	c.mu.Unlock()
	if running == nil {
		return 0, fmt.Errorf("machine %s does not run", m.ID)
	}
	return running.container.(*nspawn.Machine).Init()
}

// later runs a command in a machine when the caller is out of it. A machine that goes down stops all its processes for
// a moment; nsenter would stop with them, for good, and keep the machine from ending.
func (c *cloud) later(m Machine, command string) {
	c.Helper()
	c.must(m, "(sleep 0.2; "+command+") >/dev/null 2>&1 &")
}

func (c *cloud) must(m Machine, script string) string {
	c.Helper()
	out, err := c.in(m, script)
	if err != nil {
		console, _, _ := c.Console(m.ID)
		c.Fatalf("%s: %s: %v: %s\nconsole:\n%s", m.ID, script, err, out, tool.Tail(string(console), 3000))
	}
	return out
}

// reaches tells whether a machine gets a TCP connection.
func (c *cloud) reaches(m Machine, address, port string) bool {
	_, err := c.in(m, fmt.Sprintf("timeout 2 bash -c '</dev/tcp/%s/%s'", address, port))
	return err == nil
}

func (c *cloud) apply() {
	c.Helper()
	if err := c.Apply(c.Context(), c.topology); err != nil {
		c.Fatal(err)
	}
}

func (c *cloud) noError(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// Hosts of the cloud's internet: the host's user, and somebody else.
const (
	operator = "198.51.100.1"
	stranger = "198.51.100.2"
)

func testSecurityGroups(c *cloud) {
	if !c.reaches(c.web, "10.0.2.10", "22") {
		c.Error("web does not reach db, whose group allows it")
	}
	if c.reaches(c.db, "10.0.1.10", "22") {
		c.Error("db reaches web, whose group does not allow it")
	}
	for _, source := range []string{operator, stranger} {
		want := source == operator
		dialer := &net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
		conn, err := netns.Dial(c.Context(), c.network.Namespace("inet"), dialer, "10.0.1.10:22")
		if (err == nil) != want {
			c.Errorf("SSH from %s: %v, want success: %v", source, err, want)
		}
		if err == nil {
			conn.Close()
		}
	}
	// Rules of every kind are rules to the kernel, and what is changed counts at once.
	everybody := netip.MustParsePrefix("0.0.0.0/0")
	group := &c.topology.VPCs[0].Groups[0]
	before := group.Ingress
	group.Ingress = []network.Rule{
		{Protocol: "icmp", From: 8, To: 0, CIDR: everybody}, {Protocol: "icmp", From: -1, To: -1, CIDR: everybody},
		{Protocol: "icmpv6", From: -1, To: -1, CIDR: everybody}, {Protocol: "udp", From: 0, To: 65535, CIDR: everybody},
		{Protocol: "50", From: -1, To: -1, Group: "sg-web"}, {Protocol: "tcp", From: 0, To: 1, Group: "sg-unknown"},
		{Protocol: "tcp", From: 1, To: 1, CIDR: netip.MustParsePrefix("fd00::/8")},
	}
	c.apply()
	c.must(c.db, "ping -c 1 -W 2 10.0.1.10")
	dialer := &net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(operator)}}
	conn, err := netns.Dial(c.Context(), c.network.Namespace("inet"), dialer, "10.0.1.10:22")
	if err == nil {
		conn.Close()
		c.Error("SSH answers though its rule is gone")
	}
	group.Ingress = before
	c.apply()
	c.must(c.web, "ip address add 10.0.1.99/24 dev ens5")
	if _, err := c.in(c.web, "ping -c 1 -W 1 -I 10.0.1.99 10.0.1.1"); err == nil {
		c.Error("web gets through with an address that is not its own")
	}
	c.must(c.web, "ip address delete 10.0.1.99/24 dev ens5")
}

func testInternet(c *cloud) {
	if !c.reaches(c.web, "198.51.100.10", "3142") {
		c.Error("web does not get out by its gateway")
	}
	if c.reaches(c.db, "198.51.100.10", "3142") {
		c.Error("db gets out without a route")
	}
	c.topology.VPCs[0].Subnets[1].Internet = network.ViaNAT
	c.apply()
	if !c.reaches(c.db, "198.51.100.10", "3142") {
		c.Error("db does not get out by NAT")
	}
	c.topology.VPCs[0].Interfaces[0].Public = false
	c.apply()
	if c.reaches(c.web, "198.51.100.10", "3142") {
		c.Error("web gets out by a gateway without a public address")
	}
	c.topology.VPCs[0].Interfaces[0].Public = true
	c.apply()
}

func testPackageCache(c *cloud) {
	c.must(c.web, "apt-get update -qq")
	if code := c.must(
		c.web,
		"curl -s -o /dev/null -w '%{http_code}' -x http://"+network.PackageCache.String()+" http://example.com/",
	); code != "403" {
		c.Errorf("what is no Debian mirror is answered with %s by the package cache, want 403", code)
	}
	// A second cloud passes on to the first's apt-cacher-ng, and runs one itself once that is gone.
	apt, err := debian.ReadApt()
	c.noError(err)
	another, address := c.startAnotherCache(apt)
	c.asks(address)
	if running := c.cacheServers(); running != 1 {
		c.Errorf("over one directory %d apt-cacher-ng run", running)
	}
	c.cache.Close()
	c.asks(address)
	another.Close()
	proxy := netip.AddrPortFrom(c.addresses.API.Addr(), packagePort)
	c.cache, err = startCache(c.Context(), c.network, c.cacheConfig(apt), proxy)
	c.noError(err)
}

// startAnotherCache starts a package cache as another cloud has it.
func (c *cloud) startAnotherCache(apt debian.Apt) (another *debian.Cache, address string) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	c.noError(err)
	config := c.cacheConfig(apt)
	config.Listeners = []net.Listener{listener}
	another, err = debian.StartCache(config)
	c.noError(err)
	return another, listener.Addr().String()
}

// asks has apt-cacher-ng answer on an address.
func (c *cloud) asks(address string) {
	c.Helper()
	response, err := http.Get("http://" + address + "/")
	c.noError(err)
	c.noError(response.Body.Close())
}

// cacheServers counts the running apt-cacher-ng of this host's package directory.
func (c *cloud) cacheServers() (running int) {
	all, err := procfs.AllProcs()
	c.noError(err)
	for _, p := range all {
		command, _ := p.CmdLine() // of one that has just ended
		if len(command) > 2 && filepath.Base(command[0]) == "apt-cacher-ng" &&
			command[2] == filepath.Join(c.config.CacheDir, "packages")+".config" {
			running++
		}
	}
	return running
}

func testMetadata(c *cloud) {
	if code := c.must(
		c.web,
		"curl -s -o /dev/null -w '%{http_code}' http://169.254.169.254/latest/meta-data/instance-id",
	); code != "401" {
		c.Errorf("without a token: %s, want 401", code)
	}
	const ask = `T=$(curl -s -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" \
			http://169.254.169.254/latest/api/token)
		curl -s -H "X-aws-ec2-metadata-token: $T" http://169.254.169.254/latest/`
	if got := c.must(c.web, ask+"user-data"); got != "hello" {
		c.Errorf("user-data is %q", got)
	}
	if got := c.must(c.db, ask+"meta-data/instance-id"); got != c.db.ID {
		c.Errorf("db is told that it is %q", got)
	}
}

// testMachinesAreApart has one machine do to its units and devices what the other must not notice.
func testMachinesAreApart(c *cloud) {
	const sshd = "systemctl show --property=MainPID ssh"
	before := c.must(c.db, sshd)
	c.must(c.web, "timeout 60 systemctl restart ssh && systemctl kill --signal=KILL cron")
	if after := c.must(c.db, sshd); after != before {
		c.Errorf("restarting web's SSH server made db's %s, which was %s", after, before)
	}
	if state := c.must(c.db, "systemctl is-active cron"); state != "active" {
		c.Errorf("killing web's cron made db's %s", state)
	}
	if out, err := c.in(c.web, "systemd-run --quiet --wait --pipe mknod /dev/disk0 b 8 0"); err == nil {
		c.Errorf("web makes device nodes: %s", out)
	}
	c.must(c.web, "systemd-run --quiet --wait --pipe ip address add 192.0.2.9/32 dev lo")
	c.must(c.web, "systemd-run --quiet --wait --pipe sysctl -w net.ipv4.tcp_keepalive_time=600")
	if out, err := c.in(c.web, "systemd-run --quiet --wait --pipe sysctl -w kernel.panic=0"); err == nil {
		c.Errorf("web sets the host's kernel parameters: %s", out)
	}
}

// testSameAddresses has a machine in a second VPC that is the first one's double, and refuses where web answers.
func testSameAddresses(c *cloud) {
	both, twin := testTopology(c.addresses), testTopology(c.addresses).VPCs[0]
	public := c.addresses.API.Addr().Next().Next()
	twin.ID, twin.Interfaces = "vpc-twin", slices.Clone(twin.Interfaces[:1])
	twin.Interfaces[0].ID = "eni-0twin"
	both.VPCs = append(both.VPCs, twin)
	both.Public[public] = network.Target{VPC: twin.ID, Private: netip.MustParseAddr("10.0.1.10")}
	c.noError(c.Apply(c.Context(), both))
	m := testMachine(both, 0)
	m.ID, m.RootVolume, m.Interface.ID, m.Interface.VPC = "i-twin", "vol-twin", "eni-0twin", twin.ID
	c.noError(c.RunMachine(c.Context(), m))
	c.must(
		m,
		"timeout 120 bash -c 'until systemctl is-system-running --wait; do sleep 0.1; done'; systemctl stop "+
			"ssh.socket ssh.service",
	)
	c.waitForBanner()
	conn, err := net.Dial("tcp", public.String()+":22")
	c.noError(err)
	c.noError(conn.SetReadDeadline(time.Now().Add(5 * time.Second)))
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		c.Errorf("the twin, which refuses, answers with %d bytes, %v, want a reset", n, err)
	}
	conn.Close()
	c.noError(c.TerminateMachine(c.Context(), m.ID, false))
	c.apply()
}

func testConsole(c *cloud) {
	c.must(c.web, "systemd-run --quiet --wait --property=StandardOutput=file:/dev/console echo written by a unit")
	started := time.Now()
	var at time.Time
	if !waited(func() bool {
		console, written, err := c.Console(c.web.ID)
		c.noError(err)
		at = written
		return strings.Contains(string(console), "written by a unit") &&
			strings.Contains(string(console), "BEGIN SSH HOST KEY KEYS")
	}) {
		c.Fatal("what a unit wrote to the console, or the host keys, are not there")
	}
	if at.Before(started.Add(-time.Minute)) {
		c.Errorf("it was written to at %s", at)
	}
}

func testDiskFull(c *cloud) {
	if out, err := c.in(
		c.web,
		"dd if=/dev/zero of=/filler bs=1M count=4000; s=$?; rm -f /filler; exit $s",
	); err == nil ||
		!strings.Contains(out, "No space left") {
		c.Errorf("2 GB of disk took more: %v: %s", err, out)
	}
}

func testVolume(c *cloud) {
	ctx := c.Context()
	c.noError(c.CreateVolume(ctx, "vol-data", 1, ""))
	c.noError(c.AttachVolume(ctx, "vol-data", c.web.ID, "/dev/sdf"))
	c.must(
		c.web,
		"mkfs.ext4 -q /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_voldata && mount /dev/sdf /mnt && echo kept "+
			">/mnt/note",
	)
	if err := c.DetachVolume(ctx, c.web.ID, "/dev/sdf", false); !errors.Is(err, syscall.EBUSY) {
		c.Errorf("detach while mounted: %v, want EBUSY", err)
	}
	c.noError(c.CreateSnapshot(ctx, "snap-data", "vol-data"))
	c.noError(c.RebootMachine(ctx, c.web.ID))
	c.must(c.web, "mount /dev/sdf /mnt && grep kept /mnt/note && umount /mnt")
	c.noError(c.DetachVolume(ctx, c.web.ID, "/dev/sdf", false))
	c.noError(c.DeleteVolume(ctx, "vol-data"))
	c.noError(c.CreateVolume(ctx, "vol-copy", 2, "snap-data"))
	c.noError(c.AttachVolume(ctx, "vol-copy", c.web.ID, "/dev/sdg"))
	c.must(c.web, "mount /dev/sdg /mnt && grep kept /mnt/note && umount /mnt")
	c.noError(c.DetachVolume(ctx, c.web.ID, "/dev/sdg", false))
	c.noError(errors.Join(c.DeleteVolume(ctx, "vol-copy"), c.DeleteSnapshot(ctx, "snap-data")))
}

// testRunsNothingOfMachines attaches and detaches a volume of a machine whose programs leave a mark when they are run.
func testRunsNothingOfMachines(c *cloud) {
	ctx := c.Context()
	const programs = "sh dash rm mknod mkdir ln chown chmod umount"
	c.must(c.db, "printf '#!/bin/bash\n>>/run/executed echo $0\n' >/run/mark; chmod 755 /run/mark; "+
		"for p in "+programs+"; do mount --bind /run/mark /usr/bin/$p; done")
	c.noError(c.CreateVolume(ctx, "vol-marked", 1, ""))
	c.noError(c.AttachVolume(ctx, "vol-marked", c.db.ID, "/dev/sdf"))
	const byID = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_volmarked"
	const look = "stat -c '%F %a %U' /dev/sdf; readlink " + byID + "; dd if=" + byID + " bs=1M count=1 status=none " +
		"| wc -c"
	if got := c.must(c.db, look); got != "block special file 660 root\n/dev/sdf\n1048576" {
		c.Errorf("the device is %q", got)
	}
	c.noError(c.DetachVolume(ctx, c.db.ID, "/dev/sdf", false))
	got := c.must(c.db, "ls -d /dev/sdf "+byID+" 2>/dev/null | wc -l; cat /run/executed 2>/dev/null || true")
	if got != "0" {
		c.Errorf("devices left, and programs of the machine that were run: %q", got)
	}
	const unmount = "import ctypes,sys\nfor p in sys.argv[1:]: ctypes.CDLL(None).umount2(b\"/usr/bin/\"+p.encode(), 2)"
	c.must(c.db, "python3 -c '"+unmount+"' "+programs)
	c.noError(c.DeleteVolume(ctx, "vol-marked"))
}

// testStartWithoutVolume starts a machine whose volume cannot be attached: it does not run, and starts once it can.
func testStartWithoutVolume(c *cloud) {
	ctx := c.Context()
	c.noError(c.StopMachine(ctx, c.db.ID, true))
	c.noError(c.CreateVolume(ctx, "vol-gone", 1, ""))
	c.noError(c.AttachVolume(ctx, "vol-gone", c.db.ID, "/dev/sdf"))
	c.noError(os.Rename(c.config.volumePath("vol-gone"), c.config.volumePath("vol-gone")+".away"))
	if err := c.StartMachine(ctx, c.db.ID); err == nil || c.Machines()[c.db.ID] {
		c.Errorf("it started: %v; it runs: %v", err, c.Machines()[c.db.ID])
	}
	c.noError(os.Rename(c.config.volumePath("vol-gone")+".away", c.config.volumePath("vol-gone")))
	c.noError(c.StartMachine(ctx, c.db.ID))
	c.must(c.db, "timeout 120 bash -c 'until systemctl is-system-running --wait; do sleep 0.1; done'; test -b /dev/sdf")
	c.noError(c.DetachVolume(ctx, c.db.ID, "/dev/sdf", false))
	c.noError(c.DeleteVolume(ctx, "vol-gone"))
}

func testImage(c *cloud) {
	ctx := c.Context()
	c.must(
		c.web,
		"echo baked >/etc/baked; rm /etc/motd; rm -rf /usr/share/doc/bash; rm -rf /etc/skel; mkdir /etc/skel; sync",
	)
	c.noError(c.StopMachine(ctx, c.web.ID, false))
	c.noError(c.CreateImage(ctx, c.web.ID, "ami-one", "snap-one"))
	c.noError(c.StartMachine(ctx, c.web.ID))
	const look = "cat /etc/baked; ls -A /etc/motd /usr/share/doc/bash /etc/skel 2>/dev/null || true"
	if got := c.must(c.web, look); got != "baked\n/etc/skel:" {
		c.Errorf("the machine goes on with %q", got)
	}
	c.must(c.web, "echo twice >>/etc/baked; sync")
	c.noError(c.CreateImage(ctx, c.web.ID, "ami-two", "snap-two"))
	c.noError(c.DeleteImage(ctx, "ami-one"))
	for _, image := range []string{"ami-two", "ami-three"} {
		again := c.web
		again.ID, again.RootVolume, again.Image = "i-again", "vol-again", image
		c.noError(c.TerminateMachine(ctx, c.web.ID, false))
		c.noError(c.TerminateMachine(ctx, again.ID, false))
		c.noError(c.RunMachine(ctx, again))
		if got := c.must(again, look); got != "baked\ntwice\n/etc/skel:" {
			c.Errorf("a machine of %s has %q", image, got)
		}
		if image == "ami-two" {
			c.noError(c.StopMachine(ctx, again.ID, true))
			c.noError(c.CreateImage(ctx, again.ID, "ami-three", "snap-three"))
		}
	}
	c.noError(c.TerminateMachine(ctx, "i-again", false))
	c.noError(errors.Join(c.DeleteImage(ctx, "ami-two"), c.DeleteImage(ctx, "ami-three")))
	if left, _ := filepath.Glob(filepath.Join(c.config.StateDir, "images", "*")); len(left) > 0 {
		c.Errorf("layers left: %v", left)
	}
}

func testRebootsItself(c *cloud) {
	c.must(c.db, "touch /etc/kept")
	before, err := c.init(c.db)
	c.noError(err)
	c.later(c.db, "systemctl reboot")
	if !waited(func() bool {
		after, err := c.init(c.db)
		return err == nil && after != before
	}) {
		c.Fatal("it does not come back")
	}
	c.must(
		c.db,
		"test -e /etc/kept; timeout 120 bash -c 'until systemctl is-system-running --wait; do sleep 0.1; done'",
	)
}

func testPowersItselfOff(c *cloud) {
	c.later(c.db, "systemctl poweroff --force")
	select {
	case exit := <-c.Exits():
		if exit.ID != c.db.ID || exit.Err != nil {
			c.Errorf("got %+v", exit)
		}
	case <-time.After(patience):
		c.Error("nothing was said")
	}
}

// TestCrash kills a cloud's process, and looks at what is left after the next one of that name has cleared up.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	config := testConfig("hostcrash", dir)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), crashing+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "up\n" {
		t.Fatalf("the cloud says %q, %v", line, err)
	}
	if _, err = Open(t.Context(), config); err == nil {
		t.Error("a second cloud of the same name opens")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err = Clear(t.Context(), config); err != nil {
		t.Error(err)
	}
	checkNothingOutside(t, config)
	if exists(config.RunDir) {
		t.Errorf("%s is left", config.RunDir)
	}
	h, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Apply(t.Context(), testTopology(h.addresses)); err != nil {
		t.Error(err)
	}
	if err := h.StartMachine(t.Context(), "i-web"); err != nil {
		t.Errorf("a machine of the crashed cloud does not start: %v", err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func runUntilKilled(dir string) error {
	if _, err := openCloud(context.Background(), testConfig("hostcrash", dir), func(string) {}); err != nil {
		return err
	}
	fmt.Println("up")
	select {}
}

func testTopology(addresses Addresses) network.Topology {
	out := []network.Rule{{Protocol: "-1", From: -1, To: -1, CIDR: netip.MustParsePrefix("0.0.0.0/0")}}
	web, db := netip.MustParseAddr("10.0.1.10"), netip.MustParseAddr("10.0.2.10")
	return network.Topology{
		Public: map[netip.Addr]network.Target{addresses.API.Addr().Next(): {VPC: "vpc-test", Private: web}},
		VPCs: []network.VPC{{
			ID: "vpc-test", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
			Subnets: []network.Subnet{
				{
					ID:       "subnet-public",
					CIDR:     netip.MustParsePrefix("10.0.1.0/24"),
					Gateway:  netip.MustParseAddr("10.0.1.1"),
					Internet: network.ViaGateway,
				},
				{
					ID:      "subnet-private",
					CIDR:    netip.MustParsePrefix("10.0.2.0/24"),
					Gateway: netip.MustParseAddr("10.0.2.1"),
				},
			},
			Interfaces: []network.NetworkInterface{
				{
					ID:         "eni-0web",
					Subnet:     "subnet-public",
					PrivateIPs: []netip.Addr{web},
					Public:     true,
					Groups:     []string{"sg-web"},
				},
				{ID: "eni-0db", Subnet: "subnet-private", PrivateIPs: []netip.Addr{db}, Groups: []string{"sg-db"}},
			},
			Groups: []network.SecurityGroup{
				{
					ID: "sg-web",
					Ingress: []network.Rule{
						{Protocol: "tcp", From: 22, To: 22, CIDR: netip.MustParsePrefix("198.51.100.1/32")},
					},
					Egress: out,
				},
				{
					ID:      "sg-db",
					Ingress: []network.Rule{{Protocol: "tcp", From: 22, To: 22, Group: "sg-web"}},
					Egress:  out,
				},
			},
		}},
	}
}

func testMachine(topology network.Topology, index int) Machine {
	i := topology.VPCs[0].Interfaces[index]
	name := strings.TrimPrefix(i.ID, "eni-0")
	return Machine{
		ID:         "i-" + name,
		Image:      "ami-base",
		RootVolume: "vol-" + name,
		RootSizeGB: 2,
		Hostname:   name,
		Interface: network.Interface{
			ID:         i.ID,
			VPC:        "vpc-test",
			Subnet:     i.Subnet,
			MAC:        fmt.Sprintf("02:00:00:00:00:%02x", index+1),
			PrivateIPs: i.PrivateIPs,
		},
	}
}

// waitForBanner waits until web's SSH server answers on its public address.
func (c *cloud) waitForBanner() {
	c.Helper()
	address := c.addresses.API.Addr().Next().String() + ":22"
	if waited(func() bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		defer conn.Close()
		c.noError(conn.SetReadDeadline(time.Now().Add(10 * time.Second)))
		banner := make([]byte, 4)
		_, err = io.ReadFull(conn, banner)
		return err == nil && string(banner) == "SSH-"
	}) {
		return
	}
	console, _, _ := c.Console(c.web.ID)
	c.Fatalf("no SSH banner on %s; console:\n%s", address, console)
}

// patience is how long a machine may take for what it does in a second where nothing else runs.
const patience = 2 * time.Minute

// waited tells whether something becomes so.
func waited(so func() bool) bool {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if so() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}
