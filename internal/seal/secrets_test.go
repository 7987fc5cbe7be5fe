package seal

import (
	"context"
	"crypto/ed25519"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

const canary = "c4nary's \"s3cret\"/+%"

func TestSecretsAreFoundInEveryForm(t *testing.T) {
	forms := map[string]string{
		"plain":         canary,
		"URL-escaped":   url.QueryEscape(canary),
		"shell-escaped": `c4nary'\''s "s3cret"/+%`,
		"JSON-escaped":  `c4nary's \"s3cret\"/+%`,
		"hexadecimal":   "63346e617279277320227333637265742" + "22f2b25",
		"base64 first":  base64.StdEncoding.EncodeToString([]byte(canary)),
		"base64 second": base64.StdEncoding.EncodeToString([]byte("x" + canary + "y")),
		"base64 third":  base64.StdEncoding.EncodeToString([]byte("xy" + canary + " and more")),
	}
	needles := needlesOf([]string{"another secret", canary})
	for name, text := range forms {
		var found []needle
		if err := search(
			strings.NewReader("before\x00"+text+"\x00after"),
			needles,
			func(n needle) { found = append(found, n) },
		); err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 || found[0].secret != 2 {
			t.Errorf("%s is not found", name)
		}
		for _, n := range found {
			if strings.Contains(n.String(), "s3cret") {
				t.Errorf("the finding shows the secret: %s", n)
			}
		}
	}
	if err := search(
		strings.NewReader("innocent c4nary"),
		needles,
		func(n needle) { t.Errorf("found %s in an innocent text", n) },
	); err != nil {
		t.Fatal(err)
	}
}

func TestSecretAcrossReads(t *testing.T) {
	for _, at := range []int{0, 1<<20 - 10, 1 << 20, 1<<20 + 5, 3<<20 - 7} {
		text := strings.Repeat("x", at) + canary + strings.Repeat("y", 100)
		found := 0
		if err := search(strings.NewReader(text), needlesOf([]string{canary}), func(needle) { found++ }); err != nil {
			t.Fatal(err)
		}
		if found == 0 {
			t.Errorf("not found at %d", at)
		}
	}
}

func hostKey(t *testing.T) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "test")
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

// inspectedSystem has a package with one file as it was and one that somebody changed, secrets, and a SUID file.
func inspectedSystem(t *testing.T) *inspection {
	t.Helper()
	root, key := system(t), hostKey(t)
	write(t, root, "/usr/bin/same", "same\n")
	write(t, root, "/usr/bin/edited", "edited\n")
	write(t, root, "/var/lib/dpkg/info/tool.list", "/.\n/usr\n/usr/bin\n/usr/bin/same\n/usr/bin/edited\n")
	write(t, root, "/var/lib/dpkg/info/tool.md5sums", fmt.Sprintf("%x", md5.Sum([]byte("same\n")))+
		"  usr/bin/same\n00000000000000000000000000000000  usr/bin/edited\n")
	write(t, root, "/var/lib/dpkg/status",
		"Package: tool\nStatus: install ok installed\nVersion: 1:2.3-4\nArchitecture: amd64\n\nPackage: gone\n"+
			"Status: deinstall ok config-files\nVersion: 1\nArchitecture: all\n\n")
	write(t, root, "/etc/app.conf", "user = app\n# indented, as cloud-init writes it\n    "+
		strings.ReplaceAll(strings.TrimSpace(key), "\n", "\n    "))
	write(t, root, "/etc/app.key", key)
	write(t, root, "/opt/data.bin", "\x00\x01"+canary)
	write(t, root, "/opt/suid", "#!")
	if err := os.Chmod(filepath.Join(root, "/opt/suid"), 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	owned, err := packageFiles(root)
	if err != nil {
		t.Fatal(err)
	}
	in, err := inspect(context.Background(), root, needlesOf([]string{canary, key}), owned)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestInspectFindsSecrets(t *testing.T) {
	in := inspectedSystem(t)
	var got []string
	for _, f := range in.faults {
		got = append(got, f.String())
	}
	for _, want := range []string{
		"file system: /opt/data.bin: secret 1 of this build, plain",
		"file system: /etc/app.conf: secret 2 of this build, key",
		"file system: /etc/app.key: secret 2 of this build, key",
		"private key: /etc/app.key: OPENSSH PRIVATE KEY",
	} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("not found: %s; found: %q", want, got)
		}
	}
	var texts []string
	for _, text := range in.texts {
		texts = append(texts, text.Path)
	}
	all := strings.Join(texts, " ")
	if !strings.Contains(all, "/etc/app.conf") || strings.Contains(all, "/opt/data.bin") ||
		strings.Contains(all, "/usr/bin/same") {
		t.Errorf("for the scanner's rules: %s", all)
	}
}

func TestInspectListsFiles(t *testing.T) {
	in := inspectedSystem(t)
	files := map[string]string{}
	for _, f := range in.files {
		files[f.Path] = f.Mode
		if f.Path == "/usr/bin/edited" && !f.Changed {
			t.Error("a package's file that was edited is not marked")
		}
		if f.Path == "/opt/suid" && !f.SUID() {
			t.Errorf("a SUID file is not marked: %+v", f)
		}
	}
	if _, listed := files["/usr/bin/same"]; listed {
		t.Error("a package's file that is as it was is listed")
	}
	if _, listed := files["/usr/bin/edited"]; !listed {
		t.Error("a package's file that was edited is not listed")
	}
}

// TestFreeBlocks makes an ext4 file system, writes a secret to it, and removes the file: the bytes stay.
func TestFreeBlocks(t *testing.T) {
	image := filepath.Join(t.TempDir(), "disk")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("filler\n", 2000)+canary), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err = file.Truncate(16 << 20); err != nil {
		t.Fatal(err)
	}
	file.Close()
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	for _, argv := range [][]string{
		{"mkfs.ext4", "-q", image},
		{"debugfs", "-w", "-R", "write " + secret + " secret", image},
	} {
		out, failed := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if failed != nil {
			t.Fatalf("%v: %v: %s", argv, failed, out)
		}
	}
	needles := needlesOf([]string{canary})
	found, err := scanFreeBlocks(context.Background(), image, needles)
	if err != nil || len(found) > 0 {
		t.Fatalf("while a file has the blocks: %v, %v", found, err)
	}
	out, err := exec.Command("debugfs", "-w", "-R", "rm secret", image).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	found, err = scanFreeBlocks(context.Background(), image, needles)
	if err != nil || len(found) == 0 || found[0].Item != "free blocks" {
		t.Errorf("after the file is gone: %v, %v", found, err)
	}
	if _, err := scanFreeBlocks(context.Background(), secret, needles); err == nil {
		t.Error("what is no file system is scanned")
	}
}
