package deploy

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/release"
)

// valid is a configuration without a fault; change says what is different. Nobody answers at its endpoint.
func valid(change map[string]any) map[string]any {
	config := map[string]any{
		"stack":               "golden",
		"region":              "us-east-1",
		"access_key":          "a",
		"secret_key":          "b",
		"custom_endpoint_ec2": "http://127.0.0.1:1",
		"max_retries":         1,
	}
	maps.Copy(config, change)
	return config
}

func TestConfigureNamesTheAttribute(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "stack.hcl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		change map[string]any
		want   string
	}{
		{map[string]any{"stack": ""}, "stack"},
		{map[string]any{"stack": "Golden!"}, "stack"},
		{map[string]any{"enabled": "perhaps"}, "enabled"},
		{map[string]any{"stack_file": "missing.hcl"}, "stack_file"},
		{map[string]any{"stack_file": file("name = \"blue\"\n")}, "is of stack blue"},
		{map[string]any{"stack_file": file("region = \"eu-west-1\"\n")}, "region is us-east-1"},
		{map[string]any{"stack_file": file("deploy {\n  timeout = \"soon\"\n}\n")}, "timeout"},
		{map[string]any{"secret_key": ""}, "secret_key"},
		{map[string]any{"no_such_option": 1}, "no_such_option"},
	} {
		err := new(PostProcessor).Configure(valid(c.change))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want an error that names %s", c.change, err, c.want)
		}
	}
	if err := new(
		PostProcessor,
	).Configure(valid(map[string]any{"stack_file": file("deploy {\n  bake_time = \"0s\"\n}\n")})); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
}

func proved(in, id string) *packersdk.MockArtifact {
	return &packersdk.MockArtifact{
		IdValue: id,
		StateValues: map[string]any{
			release.ArtifactStack:   in,
			release.ArtifactTier:    "web",
			release.ArtifactRelease: "r1",
		},
	}
}

func TestOff(t *testing.T) {
	p := new(PostProcessor)
	if err := p.Configure(valid(nil)); err != nil {
		t.Fatal(err)
	}
	ui := packersdk.TestUi(t)
	made := proved("golden", "us-east-1:ami-1")
	got, keep, force, err := p.PostProcess(t.Context(), ui, made)
	if err != nil || got != made || !keep || !force || made.DestroyCalled {
		t.Errorf("got %v, keep %v, force %v, %v; the artifact should be passed on and stay", got, keep, force, err)
	}
}

func TestArtifactsThatCannotBeDeployed(t *testing.T) {
	p := new(PostProcessor)
	if err := p.Configure(valid(map[string]any{"enabled": true})); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		made packersdk.Artifact
		want string
	}{
		{"of another builder", &packersdk.MockArtifact{IdValue: "us-east-1:ami-1"}, "prove block"},
		{"of another stack", proved("blue", "us-east-1:ami-1"), "stack blue"},
		{"of another region", proved("golden", "eu-west-1:ami-1"), "region: the stack is looked for in us-east-1"},
		{"of a stack that cannot be asked", proved("golden", "eu-west-1:ami-2,us-east-1:ami-1"), "hint: is it up?"},
	} {
		if _, _, _, err := p.PostProcess(
			t.Context(),
			packersdk.TestUi(t),
			c.made,
		); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
}

func TestBuildOf(t *testing.T) {
	b, err := buildOf(proved("golden", "eu-west-1:ami-2,us-east-1:ami-1"), "golden", "us-east-1")
	if want := (build{run: "r1", tier: "web", image: "ami-1"}); err != nil || b != want {
		t.Errorf("got %+v, %v, want %+v", b, err, want)
	}
}
