//go:build linux

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/daemon"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
)

// Every command explains itself.
func TestHelp(t *testing.T) {
	for _, command := range Command().Commands() {
		if command.Hidden {
			continue
		}
		if command.Short == "" || command.Long == "" || command.Example == "" {
			t.Errorf("%s: short, long or example is missing", command.Name())
		}
		if command.RunE == nil {
			t.Errorf("%s does nothing", command.Name())
		}
	}
}

func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	root := &cobra.Command{Use: "goldsmith", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Command())
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(append([]string{"cloud"}, args...))
	err := root.Execute()
	return out.String(), err
}

func TestEnv(t *testing.T) {
	cache, home := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", home)
	t.Setenv("GOLDSMITH_CLOUD", "nobody-has-it")
	t.Setenv("AWS_DATA_PATH", "/mine:"+filepath.Join(cache, "goldsmith", "other", "botocore"))
	out, err := run(t, "env")
	if err == nil || out != "" || !strings.Contains(err.Error(), "hint: goldsmith cloud up") {
		t.Errorf("without a key: %v\n%s", err, out)
	}
	for _, name := range []string{"nobody-has-it", "other-one"} {
		path := filepath.Join(home, ".goldsmith", "clouds", name+".json")
		key := []byte(`{"access_key_id":"AKIAEXAMPLE","secret_access_key":"secret"}`)
		if err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, key, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	endpoint, err := daemon.Endpoint("nobody-has-it")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		out, err = run(t, "env")
		if err != nil {
			t.Fatal(err)
		}
		rules := filepath.Join(cache, "goldsmith", "nobody-has-it", "botocore")
		for _, want := range []string{
			"export AWS_ENDPOINT_URL='" + endpoint + "'", "export AWS_ACCESS_KEY_ID='AKIAEXAMPLE'",
			"export AWS_SECRET_ACCESS_KEY='secret'", "unset AWS_SESSION_TOKEN", "export AWS_REGION='us-east-1'",
			"export AWS_EC2_METADATA_DISABLED='true'", "export AWS_DATA_PATH='" + rules + ":/mine'"} {
			if !slices.Contains(strings.Split(out, "\n"), want) {
				t.Errorf("no line %s in\n%s", want, out)
			}
		}
		checkRules(t, rules, endpoint)
	}
	out, err = run(t, "env", "--name", "other-one")
	if err != nil || strings.Contains(out, endpoint) {
		t.Errorf("another cloud has the same address: %v\n%s", err, out)
	}
}

// checkRules checks that botocore's rules in a directory lead to an endpoint in the end.
func checkRules(t *testing.T, dir, endpoint string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "ec2", "2016-11-15", "endpoint-rule-set-1.json"))
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Version string
		Rules   []struct {
			Type       string
			Conditions []any
			Endpoint   struct{ URL any }
		}
	}
	if err = json.Unmarshal(content, &set); err != nil {
		t.Fatal(err)
	}
	if last := set.Rules[len(set.Rules)-1]; set.Version != "1.0" || last.Endpoint.URL != endpoint ||
		last.Conditions == nil || len(last.Conditions) != 0 {
		t.Errorf("got %s", content)
	}
}

// What are no manners is bad input, and the cloud is not looked for.
func TestBadManners(t *testing.T) {
	t.Setenv("GOLDSMITH_CLOUD", "nobody-has-it")
	for _, args := range [][]string{{"up", "--manners", "rude"}, {"manners", "ec2,time=fast"}} {
		_, err := run(t, args...)
		var bad *BadInput
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), "\nhint: none, or ec2") {
			t.Errorf("%v: got %v", args, err)
		}
	}
	for _, args := range [][]string{{"manners"}, {"manners", "none"}} {
		if _, err := run(t, args...); err == nil || !strings.Contains(err.Error(), "hint: goldsmith cloud up") {
			t.Errorf("%v: got %v", args, err)
		}
	}
}

// Every verb refuses what is no name, before it looks for the cloud or writes anything.
func TestBadNames(t *testing.T) {
	dir := t.TempDir()
	cache := filepath.Join(dir, "cache")
	t.Setenv("XDG_CACHE_HOME", cache)
	verbs := [][]string{
		{"up"}, {"down"}, {"down", "--destroy", "--yes"}, {"status"}, {"status", "--json"}, {"ssh", "web"},
		{"logs", "web"}, {"logs", "--daemon"}, {"env"}, {"serve"}, {"manners"}, {"manners", "ec2"},
		{"trail"},
	}
	for _, command := range Command().Commands() {
		if !slices.ContainsFunc(verbs, func(verb []string) bool { return verb[0] == command.Name() }) {
			t.Errorf("%s is not looked at", command.Name())
		}
	}
	for _, name := range []string{
		"", ".", "..", "../x", "../../x", "a/b", "/", "A", "-a", "a b", "a\n", "\x1b[2J", "a'b",
		strings.Repeat("a", 300),
	} {
		for _, verb := range verbs {
			// An empty variable is as good as none, and means the cloud local.
			for _, way := range []string{"flag", "variable"} {
				args := verb
				t.Setenv("GOLDSMITH_CLOUD", "")
				switch {
				case way == "flag":
					args = append([]string{"--name=" + name}, verb...)
				case name == "":
					continue
				default:
					t.Setenv("GOLDSMITH_CLOUD", name)
				}
				out, err := run(t, args...)
				var bad *BadInput
				if !errors.As(err, &bad) || !errors.Is(err, host.ErrBadName) || out != "" {
					t.Errorf("%v with %s %q: %v; it printed %q", verb, way, name, err, out)
				} else if first, _, _ := strings.Cut(err.Error(), "\nhint: "); strings.ContainsAny(first, "\n\x1b") {
					t.Errorf("%v with %s %q: the error is %q", verb, way, name, err)
				}
			}
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("it wrote %v, %v", entries, err)
	}
}

// Of a cloud that never was, nothing is said to be removed, and nobody is asked.
func TestDestroyOfNothing(t *testing.T) {
	out, err := run(t, "down", "--destroy", "--name", "never-was")
	if err != nil || out != "there is no local cloud never-was; nothing was removed\n" {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Lstat("/run/goldsmith/never-was.start.lock"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a lock is left: %v", err)
	}
}

func TestNotUp(t *testing.T) {
	for _, args := range [][]string{{"status"}, {"ssh", "web"}, {"logs", "web"}, {"trail"}} {
		_, err := run(t, append([]string{"--name", "never-was"}, args...)...)
		if err == nil || !strings.Contains(err.Error(), "never-was is not up") ||
			!strings.Contains(err.Error(), "hint: goldsmith cloud up --name never-was") {
			t.Errorf("%v: %v", args, err)
		}
	}
	var bad *BadInput
	if _, err := run(t, "logs"); !errors.As(err, &bad) || !strings.Contains(err.Error(), "--daemon") {
		t.Errorf("logs of nothing: %v", err)
	}
}

var stack = []machine{
	{ID: "i-old", Name: "golden-web", Tier: "web", State: "stopped", VPC: "vpc-1"},
	{
		ID:      "i-web",
		Name:    "golden-web",
		Tier:    "web",
		State:   "running",
		VPC:     "vpc-1",
		Public:  "127.66.0.2",
		Private: "10.0.1.4",
		Key:     "golden",
	},
	{ID: "i-db", Name: "golden-db", Tier: "db", State: "running", VPC: "vpc-1", Private: "10.0.2.10", Key: "golden"},
	{ID: "i-gone", Name: "golden-db", Tier: "db", State: "terminated"},
	{ID: "i-far", Name: "far", State: "running", VPC: "vpc-2", Private: "10.0.2.10"},
	{ID: "i-first", Name: "bastion", State: "running", VPC: "vpc-3", Public: "127.66.0.9"},
}

func TestFind(t *testing.T) {
	for wanted, id := range map[string]string{"web": "i-web", "golden-db": "i-db", "i-old": "i-old", "db": "i-db"} {
		if m, err := find(stack, wanted); err != nil || m.ID != id {
			t.Errorf("%s: %s, %v", wanted, m.ID, err)
		}
	}
	for _, wanted := range []string{"none", "i-gone"} {
		_, err := find(stack, wanted)
		if err == nil || !strings.Contains(err.Error(), wanted) || !strings.Contains(err.Error(), "i-db golden-db") ||
			strings.Contains(err.Error(), "i-gone golden") {
			t.Errorf("%s: %v", wanted, err)
		}
	}
}

func TestGateway(t *testing.T) {
	if m, err := gatewayTo(stack, stack[2]); err != nil || m.ID != "i-web" {
		t.Errorf("got %s, %v", m.ID, err)
	}
	stranger := machine{ID: "i-0", State: "running", VPC: "vpc-1", Public: "127.66.0.3", Tier: "web", Key: "another"}
	if m, err := gatewayTo(append([]machine{stranger}, stack...), stack[2]); err != nil || m.ID != "i-web" {
		t.Errorf("got %s, which the key does not open, %v", m.ID, err)
	}
	if _, err := gatewayTo(stack, stack[4]); err == nil || !strings.Contains(err.Error(), "vpc-2") {
		t.Errorf("got %v", err)
	}
}

func TestIdentity(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	if _, err := identityOf(
		stack[1],
		"",
	); err == nil || !strings.Contains(err.Error(), "--key") ||
		!strings.Contains(err.Error(), "golden.pem") {
		t.Errorf("got %v", err)
	}
	path := filepath.Join(home, ".goldsmith", "golden.pem")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := identityOf(stack[1], ""); err != nil || got != path {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := identityOf(stack[1], "/k"); err != nil || got != "/k" {
		t.Errorf("got %s, %v", got, err)
	}
}

// What a cloud's manners are is told where it is said to be up, as their seed may have been drawn.
func TestTold(t *testing.T) {
	for manners, want := range map[string]string{
		"": "", "none": "", "ec2,time=1,seed=7": ", with the manners ec2,time=1,seed=7",
	} {
		if got := told(daemon.Running{Manners: manners}); got != want {
			t.Errorf("%q: got %q", manners, got)
		}
	}
}
