package ec2id

import (
	"strings"
	"testing"
)

// badIDs are refused as ids: they would lead out of a directory, or be more than one word.
var badIDs = []string{
	"",
	".",
	"..",
	"vol-",
	"vol",
	"../volumes/vol-1",
	"vol-1/../../x",
	"vol-../x",
	"vol-1\n",
	"vol-1 x",
	"vol-1\x00",
	"VOL-1",
	"vol-A",
	"vol_1",
	"vol-1-1",
	"-vol-1",
	"xvol-1",
	"vol-" + strings.Repeat("1", 33),
	"vol-ä",
}

func TestIDs(t *testing.T) {
	for _, id := range []string{"vol-1", "vol-0123456789abcdef0", "vol-12345678"} {
		if err := Volume.Check(id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range append(badIDs, "snap-0123456789abcdef0", "i-1") {
		if err := Volume.Check(id); err == nil {
			t.Errorf("%q is taken for a volume's id", id)
		} else if strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 200 {
			t.Errorf("the error of %q is %q", id, err)
		}
	}
}

func TestCheckDevice(t *testing.T) {
	for name, good := range map[string]bool{
		"/dev/sdf":         true,
		"/dev/xvda1":       true,
		"/dev/xvdba":       true,
		"/dev/sda1":        true,
		"/dev/null":        false,
		"/dev/console":     false,
		"/dev/disk":        false,
		"/dev/pts":         false,
		"/dev/sda16":       false,
		"sdf":              false,
		"/dev/":            false,
		"/dev/../etc":      false,
		"/dev/sdf; reboot": false,
		"/dev/sdf\n":       false,
	} {
		if err := CheckDevice(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}
