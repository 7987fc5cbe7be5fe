//go:build acceptance

package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain runs the tests again in a process with a mount namespace of its own, as the cloud's daemon has.
func TestMain(m *testing.M) {
	if os.Getenv("GOLDSMITH_OWN_MOUNTS") != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), "GOLDSMITH_OWN_MOUNTS=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestHost(t *testing.T) {
	ctx := context.Background()
	config := Config{Name: "hosttest", StateDir: t.TempDir(), RunDir: "/run/goldsmith/hosttest", CacheDir: "/var/cache/goldsmith",
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	h, err := Open(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
		if out, _ := exec.Command("nft", "list", "tables").Output(); strings.Contains(string(out), h.hostTable()+"\n") {
			t.Error("the table of the host is left")
		}
		mounts, _ := os.ReadFile("/proc/self/mounts")
		for line := range strings.Lines(string(mounts)) {
			if strings.Contains(line, config.RunDir) {
				t.Errorf("left mounted: %s", line)
			}
		}
	}()
	if err := h.EnsureBase(ctx, "trixie", func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	if err := h.ImportBase("ami-base", "trixie"); err != nil {
		t.Fatal(err)
	}
	topology := testTopology()
	if err := h.Apply(ctx, topology); err != nil {
		t.Fatal(err)
	}
	web, db := testMachine(topology, 0), testMachine(topology, 1)
	for _, m := range []Machine{web, db} {
		h.SetMetadata(m.ID, Metadata{InstanceID: m.ID, UserData: []byte("hello"), TokensRequired: true})
		started := time.Now()
		if err := h.RunMachine(ctx, m); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s started in %s", m.ID, time.Since(started))
	}
	public := h.addresses.API.Addr().Next()
	started := time.Now()
	waitForBanner(t, h, public.String()+":22")
	t.Logf("SSH answers after another %s", time.Since(started))

	in := func(id, script string) (string, error) {
		m := h.machines[id]
		pid, err := m.init()
		if err != nil {
			return "", err
		}
		out, err := exec.Command("nsenter", "-t", fmt.Sprint(pid), "-m", "-n", "-p", "-u", "/bin/bash", "-c", script).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	must := func(id, script string) string {
		t.Helper()
		out, err := in(id, script)
		if err != nil {
			console, _, _ := h.Console(id)
			t.Fatalf("%s: %s: %v: %s\nconsole:\n%s", id, script, err, out, tail(string(console), 3000))
		}
		return out
	}
	if state := must(web.ID, "timeout 30 systemctl is-system-running --wait"); state != "running" {
		t.Errorf("system is %s: %s", state, must(web.ID, "systemctl --failed"))
	}
	t.Run("security groups", func(t *testing.T) {
		must(web.ID, "timeout 3 bash -c '</dev/tcp/10.0.2.10/22'")
		if out, err := in(db.ID, "timeout 2 bash -c '</dev/tcp/10.0.1.10/22'"); err == nil {
			t.Errorf("db reaches web, whose group does not allow it: %s", out)
		}
		stranger := &net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(inetStranger)}}
		if conn, err := dialIn(ctx, h.inetNamespace(), stranger, "10.0.1.10:22"); err == nil {
			conn.Close()
			t.Error("a stranger reaches SSH")
		}
	})
	t.Run("internet", func(t *testing.T) {
		must(web.ID, "timeout 3 bash -c '</dev/tcp/198.51.100.10/3142'")
		if _, err := in(db.ID, "timeout 2 bash -c '</dev/tcp/198.51.100.10/3142'"); err == nil {
			t.Error("db gets out without a route")
		}
		topology.VPCs[0].Subnets[1].Internet = ViaNAT
		if err := h.Apply(ctx, topology); err != nil {
			t.Fatal(err)
		}
		must(db.ID, "timeout 3 bash -c '</dev/tcp/198.51.100.10/3142'")
	})
	t.Run("metadata", func(t *testing.T) {
		if code := must(web.ID, "curl -s -o /dev/null -w '%{http_code}' http://169.254.169.254/latest/meta-data/instance-id"); code != "401" {
			t.Errorf("without a token: %s, want 401", code)
		}
		got := must(web.ID, `T=$(curl -s -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" http://169.254.169.254/latest/api/token); curl -s -H "X-aws-ec2-metadata-token: $T" http://169.254.169.254/latest/user-data`)
		if got != "hello" {
			t.Errorf("user-data is %q", got)
		}
	})
	t.Run("disk full", func(t *testing.T) {
		if out, err := in(web.ID, "dd if=/dev/zero of=/filler bs=1M count=4000; s=$?; rm -f /filler; exit $s"); err == nil || !strings.Contains(out, "No space left") {
			t.Errorf("2 GB of disk took more: %v: %s", err, out)
		}
	})
	t.Run("volume", func(t *testing.T) {
		if err := h.CreateVolume(ctx, "vol-data", 1, ""); err != nil {
			t.Fatal(err)
		}
		if err := h.AttachVolume(ctx, "vol-data", web.ID, "/dev/sdf"); err != nil {
			t.Fatal(err)
		}
		must(web.ID, "mkfs.ext4 -q /dev/sdf && mount /dev/sdf /mnt && echo kept >/mnt/note")
		if err := h.DetachVolume(ctx, web.ID, "/dev/sdf", false); !errors.Is(err, syscall.EBUSY) {
			t.Errorf("detach while mounted: %v, want EBUSY", err)
		}
		must(web.ID, "umount /mnt")
		if err := h.DetachVolume(ctx, web.ID, "/dev/sdf", false); err != nil {
			t.Error(err)
		}
		if err := h.DeleteVolume(ctx, "vol-data"); err != nil {
			t.Error(err)
		}
	})
	t.Run("image", func(t *testing.T) {
		must(web.ID, "echo baked >/etc/baked; rm /etc/motd; rm -rf /usr/share/doc/bash; sync")
		started := time.Now()
		if err := h.StopMachine(ctx, web.ID, false); err != nil {
			t.Fatal(err)
		}
		t.Logf("stopped in %s", time.Since(started))
		if err := h.CreateImage(ctx, web.ID, "ami-one", "snap-one"); err != nil {
			t.Fatal(err)
		}
		if err := h.StartMachine(ctx, web.ID); err != nil {
			t.Fatal(err)
		}
		if got := must(web.ID, "cat /etc/baked; ls /etc/motd /usr/share/doc/bash 2>/dev/null || true"); got != "baked" {
			t.Errorf("the machine goes on with %q", got)
		}
		must(web.ID, "echo twice >>/etc/baked; sync")
		if err := h.CreateImage(ctx, web.ID, "ami-two", "snap-two"); err != nil {
			t.Fatal(err)
		}
		if err := h.TerminateMachine(ctx, web.ID, false); err != nil {
			t.Fatal(err)
		}
		if err := h.DeleteImage(ctx, "ami-one"); err != nil {
			t.Fatal(err)
		}
		again := web
		again.ID, again.RootVolume, again.Image = "i-again", "vol-again", "ami-two"
		h.SetMetadata(again.ID, Metadata{})
		if err := h.RunMachine(ctx, again); err != nil {
			t.Fatal(err)
		}
		if got := must(again.ID, "cat /etc/baked"); got != "baked\ntwice" {
			t.Errorf("a machine of the second image has %q", got)
		}
		if err := h.TerminateMachine(ctx, again.ID, false); err != nil {
			t.Fatal(err)
		}
		if err := h.DeleteImage(ctx, "ami-two"); err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(filepath.Join(config.StateDir, "images", "*")); len(left) > 0 {
			t.Errorf("layers left: %v", left)
		}
	})
	t.Run("powers itself off", func(t *testing.T) {
		if _, err := in(db.ID, "systemctl poweroff --force"); err != nil {
			t.Log(err)
		}
		select {
		case exit := <-h.Exits():
			if exit.ID != db.ID || exit.Err != nil {
				t.Errorf("got %+v", exit)
			}
		case <-time.After(20 * time.Second):
			t.Error("nothing was said")
		}
	})
}

func testTopology() Topology {
	any4 := netip.MustParsePrefix("0.0.0.0/0")
	out := []Rule{{Protocol: "-1", From: -1, To: -1, CIDR: any4}}
	return Topology{
		Public: map[netip.Addr]Target{AddressesOf("hosttest").API.Addr().Next(): {VPC: "vpc-test", Private: netip.MustParseAddr("10.0.1.10")}},
		VPCs: []VPC{{
			ID: "vpc-test", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
			Subnets: []Subnet{
				{ID: "subnet-public", CIDR: netip.MustParsePrefix("10.0.1.0/24"), Gateway: netip.MustParseAddr("10.0.1.1"), Internet: ViaGateway},
				{ID: "subnet-private", CIDR: netip.MustParsePrefix("10.0.2.0/24"), Gateway: netip.MustParseAddr("10.0.2.1")},
			},
			Interfaces: []NetworkInterface{
				{ID: "eni-0web", Subnet: "subnet-public", PrivateIPs: []netip.Addr{netip.MustParseAddr("10.0.1.10")}, Public: true, Groups: []string{"sg-web"}},
				{ID: "eni-0db", Subnet: "subnet-private", PrivateIPs: []netip.Addr{netip.MustParseAddr("10.0.2.10")}, Groups: []string{"sg-db"}},
			},
			Groups: []SecurityGroup{
				{ID: "sg-web", Ingress: []Rule{{Protocol: "tcp", From: 22, To: 22, CIDR: netip.MustParsePrefix("198.51.100.1/32")}}, Egress: out},
				{ID: "sg-db", Ingress: []Rule{{Protocol: "tcp", From: 22, To: 22, Group: "sg-web"}}, Egress: out},
			},
		}},
	}
}

func testMachine(topology Topology, index int) Machine {
	i := topology.VPCs[0].Interfaces[index]
	name := strings.TrimPrefix(i.ID, "eni-0")
	return Machine{ID: "i-" + name, Image: "ami-base", RootVolume: "vol-" + name, RootSizeGB: 2, Hostname: name,
		Interface: Interface{ID: i.ID, VPC: "vpc-test", Subnet: i.Subnet, MAC: fmt.Sprintf("02:00:00:00:00:%02x", index+1), PrivateIPs: i.PrivateIPs}}
}

func waitForBanner(t *testing.T, h *Host, address string) {
	t.Helper()
	for range 100 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.SetReadDeadline(time.Now().Add(2 * time.Second))
			banner := make([]byte, 4)
			_, err = io.ReadFull(conn, banner)
			conn.Close()
			if err == nil && string(banner) == "SSH-" {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	console, _, _ := h.Console("i-web")
	t.Fatalf("no SSH banner on %s; console:\n%s", address, console)
}
