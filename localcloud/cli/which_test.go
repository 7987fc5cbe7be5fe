package cli

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestEnvOfRunning(t *testing.T) {
	t.Setenv("GOLDSMITH_CLOUD", "mine")
	dir := t.TempDir()
	for _, name := range []string{"another", "crashed"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		dir  string
		up   []string
		want string
	}{
		{dir, nil, ""},
		{dir, []string{"mine", "another"}, `eval "$(goldsmith cloud env)"`},
		{dir, []string{"another"}, `eval "$(goldsmith cloud env --name another)"`},
		{dir + "/not-there", []string{"mine", "another"}, `eval "$(goldsmith cloud env)"`},
		{dir + "/not-there", []string{"another"}, ""},
	} {
		if got := envOfRunning(c.dir, func(name string) bool { return slices.Contains(c.up, name) }); got != c.want {
			t.Errorf("of %q in %s: got %q, want %q", c.up, c.dir, got, c.want)
		}
	}
}
