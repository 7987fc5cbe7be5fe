package osrelease

import (
	"strings"
	"testing"
)

func TestUntested(t *testing.T) {
	for text, want := range map[string]string{
		"ID=debian\nVERSION_ID=\"13\"\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n":    "",
		"ID=debian\nVERSION_CODENAME=forky\nPRETTY_NAME=\"Debian GNU/Linux forky/sid\"\n": "",

		"ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian 12\"\n": "",
		"ID=ubuntu\nVERSION_ID=\"24.04\"\nPRETTY_NAME=Ubuntu\n":     "is Ubuntu: Goldsmith is prepared",
		"ID=ubuntu\nVERSION_ID=\"18.04\"\nPRETTY_NAME=Ubuntu\n":     "is Ubuntu: Goldsmith is neither prepared",
		"ID=fedora\nVERSION_ID=40\n":                                "this is fedora: Goldsmith is neither",
		"":                                                          "neither",
	} {
		if got := Untested(Parse(text)); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
