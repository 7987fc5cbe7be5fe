//go:build acceptance

package bakes

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// TestArm64 builds what goes into images for both processors at once, in a copy of the checkout, and runs what is for
// the other one under an emulator of user programs: agent and web app have to be static for that, as in an image.
func TestArm64(t *testing.T) {
	const emulator = "qemu-aarch64-static"
	copied := t.TempDir()
	rig.Must(
		t,
		"bash",
		"-c",
		`tar -C "$0" --exclude=./.build --exclude=./.tools --exclude='*.gz' -c . | tar -C "$1" -x`,
		rig.Repository,
		copied,
	)
	rig.Must(t, "make", "-C", copied, "--no-print-directory", "ARCHES=amd64 arm64", "agent", "webapp")
	for _, name := range []string{"internal/agentbin/bin/goldsmith-agent-linux-amd64.gz",
		"internal/agentbin/bin/goldsmith-agent-linux-arm64.gz", ".build/webapp-linux-amd64"} {
		if _, err := os.Stat(filepath.Join(copied, name)); err != nil {
			t.Error(err)
		}
	}
	agent := filepath.Join(copied, ".build", "goldsmith-agent-linux-arm64")
	var facts struct {
		Arch string            `json:"arch"`
		OS   map[string]string `json:"os"`
	}
	if err := json.Unmarshal([]byte(rig.Must(t, emulator, agent, "facts")), &facts); err != nil {
		t.Fatal(err)
	}
	if facts.Arch != "arm64" || facts.OS["id"] != "debian" {
		t.Errorf("the agent finds %+v", facts)
	}

	app := exec.Command(emulator, filepath.Join(copied, ".build", "webapp-linux-arm64"))
	app.Env = append(os.Environ(), "LISTEN=127.0.0.1:0", "DB_PORT=1")
	log, err := app.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = app.Process.Kill()
		_ = app.Wait()
	})
	var line struct{ Msg, Address string }
	lines := bufio.NewScanner(log)
	for line.Msg != "listening" && lines.Scan() {
		if err = json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
	}
	answer, err := http.Get("http://" + line.Address + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	// Its database is not there.
	if answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the web app answers %s", answer.Status)
	}

	// The project's own build takes it all.
	rig.Must(t, rig.Packer(t), "validate", "-var", "arch=arm64", copied)
	if out, err := rig.Output(rig.Packer(t), "validate", "-var", "arch=riscv64", copied); err == nil ||
		!strings.Contains(out, "arch should be amd64 or arm64") {
		t.Errorf("%v:\n%s", err, rig.End(t, out))
	}
}
