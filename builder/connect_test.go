package builder

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/communicator"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/seal"
)

// says is the address of a server that greets everybody with words.
func says(t *testing.T, words string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(words))
			conn.Close()
		}
	}()
	return listener.Addr().String()
}

func TestBanner(t *testing.T) {
	for words, want := range map[string]string{
		"SSH-2.0-OpenSSH_10\r\n": "",
		"HTTP/1.1 400\r\n":       "no SSH server",
		"":                       "EOF",
	} {
		err := banner(t.Context(), says(t, words))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", words, err, want)
		}
	}
}

func TestSSHThatNeverAnswers(t *testing.T) {
	a := newAccount(t)
	b, err := launchOne(t, a, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.job.config.Comm.SSHTimeout = 50 * time.Millisecond
	address := says(t, "nope")
	err = waitForBanner(t.Context(), b.job, b.machine, address)
	for _, want := range []string{theInstance, address, "ssh_timeout", theGroup, "kernel panic"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// TestInterruptIsNotATimeout looks often, as both ends of the wait are there at once.
func TestInterruptIsNotATimeout(t *testing.T) {
	b := bakeOf(t, newAccount(t), "b1", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		err := waitForBanner(ctx, b.job, b.machine, "127.0.0.1:1")
		if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "ssh_timeout") {
			t.Fatalf("got %v, want the interrupt", err)
		}
	}
}

// TestInstanceThatEndsMeanwhile has the instance be looked at while something else is waited for.
func TestInstanceThatEndsMeanwhile(t *testing.T) {
	a := newAccount(t)
	b, err := launchOne(t, a, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err = diedMeanwhile(t.Context(), b.job, theInstance); err != nil {
		t.Errorf("it runs: got %v", err)
	}
	a.In(here).End(theInstance, "Server.SpotInstanceTermination", "EC2 wants it back")
	err = diedMeanwhile(t.Context(), b.job, theInstance)
	if err == nil || !strings.Contains(err.Error(), "EC2 wants it back") {
		t.Errorf("got %v", err)
	}
}

func TestAddressOf(t *testing.T) {
	both := types.Instance{PublicIpAddress: aws.String("192.0.2.9"), PrivateIpAddress: aws.String("10.0.1.9")}
	private := types.Instance{PrivateIpAddress: aws.String("10.0.1.9")}
	for _, c := range []struct {
		way      string
		instance types.Instance
		want     string
	}{
		{"", both, "192.0.2.9"},
		{"", private, "10.0.1.9"},
		{"private_ip", both, "10.0.1.9"},
		{"public_ip", both, "192.0.2.9"},
		{"public_ip", private, ""},
	} {
		b := bakeOf(t, newAccount(t), "b1", map[string]any{"ssh_interface": c.way})
		if got := addressOf(b.job.config, c.instance); got != c.want {
			t.Errorf("%q: got %q, want %q", c.way, got, c.want)
		}
	}
}

func TestOnlyTheBuildersHostKeyIsAccepted(t *testing.T) {
	b := bakeOf(t, newAccount(t), "b1", nil)
	if err := b.makeKeyPair(t.Context()); err != nil {
		t.Fatal(err)
	}
	conf, err := b.connectStep().sdk.(*communicator.StepConnect).SSHConfig(new(multistep.BasicStateBag))
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := newPair("other")
	if err != nil {
		t.Fatal(err)
	}
	at := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 22}
	if err := conf.HostKeyCallback("192.0.2.9:22", at, b.machine.keys.hostPublic); err != nil {
		t.Errorf("the instance's own key: %v", err)
	}
	if conf.HostKeyCallback("192.0.2.9:22", at, other) == nil {
		t.Error("another host's key is accepted")
	}
}

// sealedMachine answers with its mark, and with what was written since.
type sealedMachine struct {
	packersdk.MockCommunicator
	mark, since string
}

func (m *sealedMachine) Start(ctx context.Context, cmd *packersdk.RemoteCmd) error {
	if m.StartStdout = m.mark; strings.Contains(cmd.Command, seal.Since) {
		m.StartStdout = m.since
	}
	return m.MockCommunicator.Start(ctx, cmd)
}

func TestSealOfASealedMachine(t *testing.T) {
	const sealed = `{"digest":"sha256:0123","packages":3,"files":4}`
	for _, c := range []struct {
		name, mark, since, digest, want string
		status                          int
	}{
		{"sealed by its provisioner", sealed, `{"paths":null,"count":0}`, "sha256:0123", "", 0},
		{
			"written to since",
			sealed,
			`{"paths":["/home/admin/.ssh/authorized_keys"],"count":1}`,
			"sha256:0123",
			"/home/admin/.ssh/authorized_keys",
			0,
		},
		{"nobody tells what was written since", sealed, "", "sha256:0123", "look what was written after the seal", 0},
		{"a mark that nobody can read", "{", "", "", "sealed", 0},
		{"no answer", "", "", "", "exit status 1", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bakeOf(t, newAccount(t), "b1", nil)
			mock := packersdk.MockCommunicator{StartExitStatus: c.status}
			b.state.Put("communicator", &sealedMachine{mock, c.mark, c.since})
			action := b.step("seal", b.seal, nil).Run(t.Context(), b.state)
			if c.want == "" && (action != multistep.ActionContinue || b.image.manifest != c.digest) {
				t.Errorf("action %v, manifest %q, failure %v", action, b.image.manifest, b.failure)
			}
			failed := b.failure != nil && strings.Contains(b.failure.Error(), c.want)
			if c.want != "" && (action != multistep.ActionHalt || !failed) {
				t.Errorf("action %v, failure %v, want %q", action, b.failure, c.want)
			}
		})
	}
}
