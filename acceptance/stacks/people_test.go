//go:build acceptance

package stacks

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

func sshTo(where string, command ...string) (string, error) {
	return rig.Output(rig.Goldsmith(), append([]string{"ssh", "--stack", rig.StackName, where, "--"}, command...)...)
}

// TestAccess enters both tiers by the stack's own commands.
func TestAccess(t *testing.T) {
	for _, where := range []string{"web", "db"} {
		t.Run(where, func(t *testing.T) {
			id := *rig.Tier(t, where).InstanceId
			for _, name := range []string{where, id} {
				out, err := sshTo(name, "cloud-init", "query", "instance_id")
				if err != nil || !strings.Contains(out, id) {
					t.Errorf("ssh %s: %v: %q, want %s", name, err, out, id)
				}
			}
			if out, err := sshTo(where, "cloud-init status --long && sudo cloud-init schema --system"); err != nil {
				t.Errorf("ssh %s: cloud-init has complaints: %v\n%s", where, err, rig.End(t, out))
			}
			var exit *exec.ExitError
			if _, err := sshTo(where, "exit", "42"); !errors.As(err, &exit) || exit.ExitCode() != 42 {
				t.Errorf("ssh %s -- exit 42: %v", where, err)
			}
			assertCopied(t, where)
		})
	}
}

// assertCopied copies a file of an odd name there and back.
func assertCopied(t *testing.T, where string) {
	t.Helper()
	dir := t.TempDir()
	there := filepath.Join(dir, "-odd:name")
	if err := os.WriteFile(there, []byte("over "+where), 0o600); err != nil {
		t.Fatal(err)
	}
	back := filepath.Join(dir, "back")
	rig.Must(t, rig.Goldsmith(), "scp", "--stack", rig.StackName, there, where+":/tmp/goldsmith-copy")
	rig.Must(t, rig.Goldsmith(), "scp", "--stack", rig.StackName, where+":/tmp/goldsmith-copy", back)
	if got, err := os.ReadFile(back); err != nil || string(got) != "over "+where {
		t.Errorf("%s: got %q back, %v", where, got, err)
	}
	if out, err := sshTo(where, "rm", "/tmp/goldsmith-copy"); err != nil {
		t.Errorf("remove the copy on %s: %v: %s", where, err, out)
	}
}

// TestAccessAsTheHelpSays runs the examples of the help.
func TestAccessAsTheHelpSays(t *testing.T) {
	out, err := sshTo("db", "sudo", "mysql", "--execute", "SHOW PROCESSLIST")
	if err != nil || !strings.Contains(out, "SHOW PROCESSLIST") {
		t.Errorf("a command of several words: %v: %s", err, out)
	}
	log := filepath.Join(t.TempDir(), "error.log")
	rig.Must(t, rig.Goldsmith(), "scp", "--stack", rig.StackName, "web:/var/log/nginx/error.log", log)
	if _, err := os.Stat(log); err != nil {
		t.Error(err)
	}
}

// TestCommandIsNoOption: what comes after the instance is never an option of the ssh of this machine.
func TestCommandIsNoOption(t *testing.T) {
	made := filepath.Join(t.TempDir(), "made")
	for _, command := range [][]string{{"-oProxyCommand=touch " + made}, {"-oProxyCommand=touch " + made, "true"}} {
		if out, err := sshTo("web", command...); err == nil {
			t.Errorf("%q was run: %s", command, out)
		}
		out, err := rig.Output(rig.Goldsmith(), append([]string{"cloud", "ssh", "web", "--"}, command...)...)
		if err == nil {
			t.Errorf("cloud ssh: %q was run: %s", command, out)
		}
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("a command for an instance was run on this machine")
	}
}

func TestAccessToWhatIsNotThere(t *testing.T) {
	var exit *exec.ExitError
	_, err := rig.Output(rig.Goldsmith(), "ssh", "--stack", rig.StackName, "app")
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("ssh app: %v, want exit code 2", err)
	}
	out, err := sshTo("i-0123456789abcdef0")
	if err == nil || !strings.Contains(out, "no instance is of that tier or id") {
		t.Errorf("ssh to an unknown instance: %v: %s", err, out)
	}
}

// TestAccessAfterAStop has the web instance stopped and started by EC2's own calls: its console begins anew, without
// what cloud-init said at the first boot.
func TestAccessAfterAStop(t *testing.T) {
	ctx, id := context.Background(), *rig.Tier(t, "web").InstanceId
	if _, err := rig.API.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}}); err != nil {
		t.Fatal(err)
	}
	instance := &ec2.DescribeInstancesInput{InstanceIds: []string{id}}
	stopped := ec2.NewInstanceStoppedWaiter(
		rig.API,
		func(o *ec2.InstanceStoppedWaiterOptions) { o.MinDelay = time.Second },
	)
	if err := stopped.Wait(ctx, instance, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := rig.API.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}}); err != nil {
		t.Fatal(err)
	}
	running := ec2.NewInstanceRunningWaiter(
		rig.API,
		func(o *ec2.InstanceRunningWaiterOptions) { o.MinDelay = time.Second },
	)
	if err := running.Wait(ctx, instance, time.Minute); err != nil {
		t.Fatal(err)
	}
	if out, err := rig.Output(rig.Goldsmith(), "ssh", "--stack", rig.StackName, "web", "true"); err != nil {
		t.Errorf("ssh web: %v: %s", err, out)
	}
	rig.Must(t, rig.Goldsmith(), "deploy", "--stack", rig.StackName) // which waits until it is ready
	rig.AssertServes(t)
}

// TestServiceAddressIsKept has the database's address taken away, as a restart of what configures the network does, and
// that restarted.
func TestServiceAddressIsKept(t *testing.T) {
	const take = `set -e
show() { ip -o -4 address show to 10.0.2.10; }
sudo systemctl restart systemd-networkd
sudo ip address delete 10.0.2.10/32 dev "$(show | cut -d' ' -f2)"
for try in $(seq 100); do [ -z "$(show)" ] || exit 0; sleep 0.1; done
echo "it did not come back"; exit 1`
	if out, err := rig.Output(rig.Goldsmith(), "ssh", "--stack", rig.StackName, "db", "--", take); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rig.AssertServes(t)
}

func TestLogs(t *testing.T) {
	for _, c := range []struct{ tier, source, want string }{
		{"db", "", " ip-10-0-2-"},
		{"web", "journal", " ip-10-0-1-"},
		{"db", "mysql", "ready for connections"},
		{"web", "nginx", "GET "},
		{"web", "app", "goldsmith-webapp"},
	} {
		args := []string{"logs", c.tier, "--stack", rig.StackName, "--lines", "400"}
		if c.source != "" {
			args = append(args, "--source", c.source)
		}
		if out, err := rig.Output(rig.Goldsmith(), args...); err != nil || !strings.Contains(out, c.want) {
			t.Errorf("logs %s %s: %v: it does not show %q:\n%.2000s", c.tier, c.source, err, c.want, out)
		}
	}
	if out := rig.Must(t, rig.Goldsmith(), "open", "--stack",
		rig.StackName); !strings.HasPrefix(out, "https://127.") ||
		!strings.Contains(out, "sha256 ") {
		t.Errorf("open: %q", out)
	}
}

type status struct {
	URL       string
	Release   string
	DB        string `json:"db_address"`
	Instances []struct{ ID, Tier, Role, Release, Health, Reason string }
}

func statusNow(t *testing.T) status {
	t.Helper()
	var s status
	rig.Decode(t, strings.NewReader(rig.Must(t, rig.Goldsmith(), "status", "--stack", rig.StackName, "--json")), &s)
	if len(s.Instances) != 2 {
		t.Fatalf("the status has %d instances: %+v", len(s.Instances), s)
	}
	return s
}

// TestStatusTellsHealth breaks the app and mends it.
func TestStatusTellsHealth(t *testing.T) {
	good := statusNow(t)
	for _, i := range good.Instances {
		if i.Health != "good" || i.Role != "serving" || i.Release != good.Release || good.Release == "" {
			t.Errorf("%+v; good and serving, with release %q, is wanted", i, good.Release)
		}
	}
	if good.DB != rig.DatabaseAddress || !strings.HasPrefix(good.URL, "https://127.") {
		t.Errorf("addresses: %+v", good)
	}
	t.Cleanup(func() { rig.MustOnInstance(t, "web", "sudo systemctl start goldsmith-webapp"); rig.AssertServes(t) })
	rig.MustOnInstance(t, "web", "sudo systemctl stop goldsmith-webapp")
	for _, i := range statusNow(t).Instances {
		switch {
		case i.Tier == "web" && (i.Health != "bad" || !strings.Contains(i.Reason, "502")):
			t.Errorf("without the app: %+v", i)
		case i.Tier == "db" && i.Health != "unknown":
			t.Errorf("nobody asks the database, and yet: %+v", i)
		}
	}
}

// TestStatusWatches interrupts a status that is shown again and again.
func TestStatusWatches(t *testing.T) {
	shown := 0
	again := &rig.LineWatcher{}
	watch := exec.Command(rig.Goldsmith(), "status", "--stack", rig.StackName, "--watch", "--interval", "100ms")
	again.On = func(line string) {
		if strings.Contains(line, "stack "+rig.StackName+" in ") {
			if shown++; shown == 2 {
				if err := watch.Process.Signal(syscall.SIGINT); err != nil {
					t.Error(err)
				}
			}
		}
	}
	watch.Stdout, watch.Stderr, watch.Dir = again, again, rig.Repository
	if err := watch.Run(); err != nil || strings.Contains(again.All.String(), "\x1b") {
		t.Errorf("--watch, interrupted: %v\n%s", err, rig.End(t, again.All.String()))
	}
}

// TestNetworkDownRefuses has nobody at a terminal, and then instances in the network.
func TestNetworkDownRefuses(t *testing.T) {
	for _, command := range [][]string{{"network", "down"}, {"destroy"}} {
		var exit *exec.ExitError
		if out, err := rig.Output(
			rig.Goldsmith(),
			append(command, "--stack", rig.StackName)...); !errors.As(err, &exit) || exit.ExitCode() != 2 ||
			!strings.Contains(out, "say --yes") {
			t.Errorf("%v without anybody to ask: %v: %s", command, err, out)
		}
	}
	if out, err := rig.Output(rig.Goldsmith(), "network", "down", "--yes", "--stack", rig.StackName); err == nil ||
		!strings.Contains(out, "is in it") {
		t.Errorf("network down while instances run: %v: %s", err, out)
	}
	rig.AssertServes(t)
}
