package login

import (
	"errors"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/stacktest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// keyPairs is as much of EC2 as knows key pairs; it has one at most.
type keyPairs struct {
	public string
	refuse string // the code by which an import is refused
}

func (k *keyPairs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault, result := "InvalidAction", ""
	switch r.FormValue("Action") {
	case "DescribeKeyPairs":
		if fault = "InvalidKeyPair.NotFound"; k.public != "" {
			fault, result = "", "<keySet><item><publicKey>"+html.EscapeString(k.public)+"</publicKey></item></keySet>"
		}
	case "ImportKeyPair":
		if fault = k.refuse; fault == "" {
			k.public = r.FormValue("PublicKeyMaterial")
		}
	}
	if fault != "" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(
			w,
			"<Response><Errors><Error><Code>%s</Code><Message>m</Message></Error></Errors><RequestID>1</RequestID>"+
				"</Response>",
			fault,
		)
		return
	}
	fmt.Fprintf(w, "<Response>%s</Response>", result)
}

// keyed is a stack whose key pairs are the test's, the path of its private key, and what it says.
func keyed(t *testing.T, pairs *keyPairs) (*stack.Stack, string, *strings.Builder) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	said, conf := &strings.Builder{}, stacktest.Config(t, pairs)
	logf := func(format string, args ...any) { fmt.Fprintf(said, format+"\n", args...) }
	s := defaultstack.New(conf, stackfile.Default(), logf)
	path, err := KeyPath(s.Name)
	if err != nil {
		t.Fatal(err)
	}
	return s, path, said
}

// somebodys is the public half of a key that this machine does not have.
func somebodys(t *testing.T) string {
	t.Helper()
	public, _, err := ownKey(filepath.Join(t.TempDir(), "theirs.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(public))
}

// A colleague's machine, or a build runner, deploys without the key, and leaves none that opens nothing.
func TestASecondMachineMakesNoKey(t *testing.T) {
	s, path, said := keyed(t, &keyPairs{public: somebodys(t)})
	for range 2 {
		if err := EnsureKey(t.Context(), s, plan.NewActor(false)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it left a key: %v", err)
		}
	}
	if !strings.Contains(said.String(), path+" is not on this machine") {
		t.Errorf("it says %q", said)
	}
	err := CheckKey(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(),
		"\nhint: copy it") || strings.Contains(err.Error(), "delete") {
		t.Errorf("got %v", err)
	}
	if _, err := SSHRoute(t.Context(), s, stack.Instance{
		ID:     "i-1",
		Public: "127.0.0.1",
	}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a way in without a key: %v", err)
	}
}

func TestAnotherKeyIsToldAndKept(t *testing.T) {
	pairs := &keyPairs{}
	s, path, said := keyed(t, pairs)
	if err := EnsureKey(t.Context(), s, plan.NewActor(false)); err != nil { // the first machine makes it
		t.Fatal(err)
	}
	if err := CheckKey(t.Context(), s); err != nil {
		t.Errorf("its own key: %v", err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pairs.public = somebodys(t)
	if err := EnsureKey(t.Context(), s, plan.NewActor(false)); err != nil || !strings.Contains(said.String(),
		path+" is another one") {
		t.Errorf("%v, and it says %q", err, said)
	}
	if err := CheckKey(t.Context(), s); err == nil || !strings.Contains(err.Error(), "is another one") {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the key of this machine is not what it was: %v", err)
	}
}

func TestAKeyThatIsNotTakenIsNotLeft(t *testing.T) {
	s, path, _ := keyed(t, &keyPairs{refuse: "InvalidKeyPair.Duplicate"})
	if err := EnsureKey(t.Context(), s, plan.NewActor(false)); err == nil {
		t.Error("an import that was refused is told as done")
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it left a key: %v", err)
	}
}
