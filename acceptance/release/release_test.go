//go:build acceptance

// Packer installs the plugin from what `make release` made, as a user's Packer does from a release
// page. Packer runs in network and mount namespaces of its own, where the names of the release page's hosts lead to a
// server of this test: nothing leaves the machine, and nothing of the machine is changed. It needs root, or user
// namespaces.
package release

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/version"
)

const (
	repository = "../.."
	owner      = "goldsmith-ami/packer-plugin-goldsmith"
	// inside tells a process of this test that it is in the namespaces, and holds the directory of the release.
	inside = "GOLDSMITH_TEST_RELEASE"
)

// hosts are whom Packer asks; the first two have the release, the last one has nothing.
var hosts = []string{"api.github.com", "github.com", "releases.hashicorp.com"}

func TestMain(m *testing.M) {
	if dir := os.Getenv(inside); dir != "" {
		if err := packerInit(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestPackerInstallsTheRelease(t *testing.T) {
	dir := released(t)
	out, err := enter(t, dir)
	if err != nil {
		t.Fatalf("packer init: %v\n%s", err, out)
	}
	if want := "Installed plugin github.com/goldsmith-ami/goldsmith v" + version.Number(); !strings.Contains(
		out,
		want,
	) {
		t.Errorf("%q is missing in\n%s", want, out)
	}
}

func TestPackerRefusesAWrongChecksum(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(released(t))); err != nil {
		t.Fatal(err)
	}
	sums := filepath.Join(dir, "packer-plugin-goldsmith_v"+version.Number()+"_SHA256SUMS")
	text, err := os.ReadFile(sums)
	if err != nil {
		t.Fatal(err)
	}
	var wrong strings.Builder
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(line, "  ")
		fmt.Fprintf(&wrong, "%s  %s", strings.Repeat("0", len(sum)), name)
	}
	if err = os.WriteFile(sums, []byte(wrong.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := enter(t, dir)
	if err == nil || !strings.Contains(strings.ToLower(out), "checksum") {
		t.Errorf("packer init: %v, want an error about the checksum:\n%s", err, out)
	}
	if strings.Contains(out, "Installed plugin") {
		t.Errorf("a plugin of another checksum was installed:\n%s", out)
	}
}

// TestReleaseIsWhole has the names, the sums and the contents of what there is for each system.
func TestReleaseIsWhole(t *testing.T) {
	dir := released(t)
	sums := map[string]string{}
	text, err := os.ReadFile(filepath.Join(dir, "packer-plugin-goldsmith_v"+version.Number()+"_SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		sums[name] = sum
	}
	for _, system := range []string{"linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64", "windows_amd64"} {
		plugin := "packer-plugin-goldsmith_v" + version.Number() + "_x5.0_" + system
		command := "goldsmith_v" + version.Number() + "_" + system + ".tar.gz"
		program := plugin
		if strings.HasPrefix(system, "windows") {
			program, command = program+".exe", strings.TrimSuffix(command, ".tar.gz")+".zip"
		}
		archive := filepath.Join(dir, plugin+".zip")
		reader, err := zip.OpenReader(archive)
		if err != nil {
			t.Errorf("the plugin for %s: %v", system, err)
			continue
		}
		if len(reader.File) != 1 || reader.File[0].Name != program {
			t.Errorf(
				"%s holds %d files, the first %s; want %s alone",
				archive,
				len(reader.File),
				reader.File[0].Name,
				program,
			)
		}
		reader.Close()
		for _, name := range []string{plugin + ".zip", command} {
			content, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Error(err)
				continue
			}
			if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != sums[name] {
				t.Errorf("the sum of %s is not that of SHA256SUMS, %q", name, sums[name])
			}
		}
	}
}

// released is the directory of what `make release` made.
func released(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(repository, ".build", "release"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("find the release: %v\nhint: make release", err)
	}
	return dir
}

// enter runs this program once more, in namespaces of its own, for the release in dir.
func enter(t *testing.T, dir string) (string, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	packer, err := exec.Command(filepath.Join(repository, "scripts", "packer")).Output()
	if err != nil {
		t.Fatalf("find Packer: %v", err)
	}
	cmd := exec.Command(self)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), inside+"="+dir, "PACKER="+strings.TrimSpace(string(packer)), "HOME="+cmd.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	runtime.LockOSThread() // or the signal of the parent's death comes when its thread ends
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// packerInit serves the release and has Packer install from it; it runs in the namespaces, in an empty directory.
func packerInit(dir string) error {
	if err := setUpNamespaces(); err != nil {
		return err
	}
	authority, certificate, err := makeCertificate()
	if err != nil {
		return err
	}
	if err = os.WriteFile("authority.pem", authority, 0o600); err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:443", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		return fmt.Errorf("serve the release: %w", err)
	}
	defer listener.Close()
	server := &http.Server{Handler: releasePage(dir), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // until the listener is closed
	build := fmt.Sprintf(`packer {
  required_plugins {
    goldsmith = { source = "github.com/goldsmith-ami/goldsmith", version = "%s" }
  }
}
`, version.Number())
	if err = os.WriteFile("build.pkr.hcl", []byte(build), 0o600); err != nil {
		return err
	}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Getenv("PACKER"), "init", ".")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		"SSL_CERT_FILE="+filepath.Join(here, "authority.pem"),
		"SSL_CERT_DIR="+here,
		"PACKER_PLUGIN_PATH="+filepath.Join(here, "plugins"),
		"PACKER_CONFIG_DIR="+filepath.Join(here, "config"),
		"CHECKPOINT_DISABLE=1",
		"PACKER_GITHUB_API_TOKEN=",
		"HTTPS_PROXY=", "https_proxy=",
	)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("packer init: %w", err)
	}
	// What was installed runs, and Packer takes it for what it is.
	cmd.Args = []string{"packer", "plugins", "installed"}
	cmd = &exec.Cmd{Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Stdout: os.Stdout, Stderr: os.Stderr}
	return cmd.Run()
}

// setUpNamespaces gives this process a loopback device and a hosts file of its own.
func setUpNamespaces() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to this process: %w", err)
	}
	text := "127.0.0.1 localhost " + strings.Join(hosts, " ") + "\n"
	if err := os.WriteFile("hosts", []byte(text), 0o644); err != nil {
		return err
	}
	if err := unix.Mount("hosts", "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("lay a hosts file of our own over /etc/hosts: %w", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("set lo up: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// releasePage answers as the hosts of a release page do, as far as Packer asks them.
func releasePage(dir string) http.Handler {
	tag := "v" + version.Number()
	mux := http.NewServeMux()
	mux.HandleFunc(
		"GET api.github.com/repos/"+owner+"/git/matching-refs/tags",
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			// Packer says itself if it has not got the whole answer.
			_ = json.NewEncoder(w).Encode([]map[string]string{{"ref": "refs/tags/" + tag}})
		},
	)
	mux.HandleFunc("GET github.com/"+owner+"/releases/download/"+tag+"/{name}",
		func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, filepath.Join(dir, path.Base(r.PathValue("name"))))
		})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(os.Stderr, "asked for", r.Host, r.URL.Path)
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			fmt.Fprintln(os.Stderr, "read the request:", err)
		}
		mux.ServeHTTP(w, r)
	})
}

// makeCertificate makes an authority and a certificate of it for the hosts.
func makeCertificate() (authority []byte, certificate tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "the release test's authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		DNSNames:              hosts,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return authority, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
