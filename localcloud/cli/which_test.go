//go:build linux

package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAnswering(t *testing.T) {
	t.Setenv("GOLDSMITH_CLOUD", "mine")
	dir := t.TempDir()
	for _, name := range []string{"another", "crashed", "third"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		dir      string
		up, want []string
	}{
		{dir, nil, nil},
		{dir, []string{"mine", "another"}, []string{"mine"}},
		{dir, []string{"another"}, []string{"another"}},
		{dir, []string{"third", "another"}, []string{"another", "third"}},
		{dir + "/not-there", []string{"mine", "another"}, []string{"mine"}},
		{dir + "/not-there", []string{"another"}, nil},
	} {
		if got := answering(
			c.dir,
			func(name string) bool { return slices.Contains(c.up, name) },
		); !slices.Equal(
			got,
			c.want,
		) {
			t.Errorf("of %q in %s: got %q, want %q", c.up, c.dir, got, c.want)
		}
	}
}

func TestKeyOfACloudThatIsNotUp(t *testing.T) {
	_, err := keyOf(t.Context(), "nobody-has-it")
	if err == nil || !strings.Contains(err.Error(), "it is not up\nhint: goldsmith cloud up --name nobody-has-it") {
		t.Errorf("got %v", err)
	}
}
