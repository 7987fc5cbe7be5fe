package daemon

import (
	"os/exec"
	"slices"
	"testing"
)

func TestPrograms(t *testing.T) {
	look := func(lacking ...string) func(string) (string, error) {
		return func(name string) (string, error) {
			if slices.Contains(lacking, name) {
				return "", exec.ErrNotFound
			}
			return "/usr/bin/" + name, nil
		}
	}
	if err := checkPrograms(look()); err != nil {
		t.Errorf("on a host that has all: %v", err)
	}
	const want = "this host lacks mkfs.ext4, nft\nhint: on Debian: apt-get install e2fsprogs nftables"
	if err := checkPrograms(look("nft", "mkfs.ext4")); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
