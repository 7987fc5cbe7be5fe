package version

import (
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// Packer takes X.Y.Z and X.Y.Z-dev, and nothing else.
func TestPackerTakesTheNumber(t *testing.T) {
	if !regexp.MustCompile(`^\d+\.\d+\.\d+(-dev)?$`).MatchString(Number()) {
		t.Errorf("the version is %q, want X.Y.Z or X.Y.Z-dev", Number())
	}
}

func TestLongNamesTheCommit(t *testing.T) {
	settings := []debug.BuildSetting{
		{Key: "-trimpath", Value: "true"},
		{Key: "vcs.modified", Value: "true"},
		{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"},
	}
	if got, want := commit(settings), []string{"commit 0123456789ab", "changed"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := commit(settings[:1]); len(got) != 0 {
		t.Errorf("without a commit got %q, want nothing", got)
	}
	if !strings.HasPrefix(Long(), Number()+" (") {
		t.Errorf("got %q, want it to begin with %q", Long(), Number())
	}
}
