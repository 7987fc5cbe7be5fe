package firstboot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// volumePrograms fakes the programs that mount a volume; each notes its call in the file that is returned.
func volumePrograms(t *testing.T, blkid, e2fsck string) (calls string) {
	t.Helper()
	calls = filepath.Join(t.TempDir(), "calls")
	note := "echo \"${0##*/} $*\" >>" + calls + "\n"
	programs(t, map[string]string{
		"blkid":     note + "exit " + blkid,
		"e2fsck":    note + "exit " + e2fsck,
		"mkfs.ext4": note,
		"mount":     note,
		"resize2fs": note,
	})
	return calls
}

// device is a file of 9 MiB that is zero but for what is written at an offset from its end.
func device(t *testing.T, written string, fromEnd int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "device")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 9 << 20
	if err = f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if _, err = f.WriteAt([]byte(written), size-fromEnd); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestVolumeIsFormattedOnlyIfBlank: what holds anything, or could not be looked at, gets no file system.
func TestVolumeIsFormattedOnlyIfBlank(t *testing.T) {
	for _, c := range []struct {
		name    string
		blkid   string
		e2fsck  string
		written string
		fromEnd int64
		calls   string // programs in their order
		fault   string
	}{
		{"blank", "2", "0", "", 0, "blkid mkfs.ext4 mount resize2fs", ""},
		{"a file system", "0", "0", "", 0, "blkid e2fsck mount resize2fs", ""},
		{"a file system that was mended", "0", "1", "", 0, "blkid e2fsck mount resize2fs", ""},
		{"a file system that is broken", "0", "4", "", 0, "blkid e2fsck", "exit status 4"},
		{"something at its start", "2", "0", "LUKS", 9 << 20, "blkid", "it is not formatted"},
		{"something at its end", "2", "0", "RAID", 4096, "blkid", "it is not formatted"},
		{"a disk that cannot be read", "4", "0", "", 0, "blkid", "exit status 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := device(t, c.written, c.fromEnd)
			log := volumePrograms(t, c.blkid, c.e2fsck)
			err := mountVolume(t.Context(), path, "/mnt")
			if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("got %v, want %q", err, c.fault)
			}
			text, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			var called []string
			for line := range strings.Lines(string(text)) {
				called = append(called, strings.Fields(line)[0])
			}
			if got := strings.Join(called, " "); got != c.calls {
				t.Errorf("called %s, want %s", got, c.calls)
			}
		})
	}
}

func TestBlankIsRead(t *testing.T) {
	if _, err := isBlank(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a device that is not there: %v", err)
	}
}

// tierWithData is a data tier whose image has one file of data, and an empty volume.
func tierWithData(t *testing.T) *dataTier {
	t.Helper()
	image, volume := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(image, "seed"), []byte("of the image"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &dataTier{data: imagespec.Data{Name: "store", Path: image}, volumeDir: volume}
}

func (t *dataTier) content() string {
	text, _ := os.ReadFile(filepath.Join(t.dataDir(), "seed"))
	return string(text)
}

func TestVolumeGetsTheImagesData(t *testing.T) {
	tier := tierWithData(t)
	if err := os.Mkdir(filepath.Join(tier.volumeDir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	// A copy that broke off.
	if err := os.MkdirAll(filepath.Join(tier.seedDir(), "half"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := tier.ensureData(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := tier.content(); got != "of the image" {
		t.Errorf("the volume has %q", got)
	}
	for _, left := range []string{tier.seedDir(), filepath.Join(tier.dataDir(), "half")} {
		if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left of the copy that broke off: %v", left, err)
		}
	}
}

func TestDataOfTheVolumeStays(t *testing.T) {
	tier := tierWithData(t)
	if err := os.Mkdir(tier.dataDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tier.dataDir(), "seed"), []byte("of the user"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tier.ensureData(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := tier.content(); got != "of the user" {
		t.Errorf("the volume has %q", got)
	}
}

func TestForeignVolumeIsLeftAlone(t *testing.T) {
	tier := tierWithData(t)
	if err := os.WriteFile(filepath.Join(tier.volumeDir, "photos"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := tier.ensureData(t.Context())
	if err == nil || !strings.Contains(err.Error(), "holds photos") {
		t.Errorf("got %v", err)
	}
	if _, err = os.Stat(tier.dataDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("data was put beside it: %v", err)
	}
}

// TestGuard notes the newest server that had the data, and refuses an older one.
func TestGuard(t *testing.T) {
	tier := tierWithData(t)
	note := filepath.Join(tier.volumeDir, "server.json")
	steps := []struct {
		version, fault, noted string
	}{
		{"11.4.2", "", "11.4.2"},
		{"11.8.3", "", "11.8.3"},
		{"11.8.3", "", "11.8.3"},
		{"11.4.2", "11.8.3", "11.8.3"},
	}
	for i, s := range steps {
		err := tier.guard(instance.Server{Flavor: "mariadb", Version: s.version})
		if s.fault == "" && err != nil || s.fault != "" && (err == nil || !strings.Contains(err.Error(), s.fault)) {
			t.Errorf("step %d: got %v, want %q", i, err, s.fault)
		}
		text, err := os.ReadFile(note)
		if err != nil || !strings.Contains(string(text), s.noted) {
			t.Errorf("step %d: noted %s, %v; want %s", i, text, err, s.noted)
		}
	}
	if err := os.WriteFile(note, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := tier.guard(instance.Server{Flavor: "mariadb", Version: "11.8.3"})
	if err == nil || !strings.Contains(err.Error(), note) {
		t.Errorf("a note that cannot be read: %v", err)
	}
}

func TestServiceAddress(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	programs(t, map[string]string{"ip": `echo "$*" >>` + log})
	if err := takeAddress(t.Context(), Identity{Private: "127.0.0.1"}); err != nil {
		t.Errorf("no service address: %v", err)
	}
	if _, err := os.Stat(log); err == nil {
		t.Error("without a service address something was changed")
	}
	id := Identity{Private: "127.0.0.1", Service: "10.0.2.10"}
	if err := takeAddress(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := dropAddress(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	const want = "address replace 10.0.2.10/32 dev lo\naddress delete 10.0.2.10/32 dev lo\n"
	if text, _ := os.ReadFile(log); string(text) != want {
		t.Errorf("called ip %s", text)
	}
	for _, private := range []string{"192.0.2.77", "none"} {
		if err := takeAddress(t.Context(), Identity{Private: private, Service: "10.0.2.10"}); err == nil {
			t.Errorf("the interface of %s was found", private)
		}
	}
}

func TestMounted(t *testing.T) {
	if !mounted("/proc") {
		t.Error("/proc is not taken for a mount point")
	}
	if mounted(t.TempDir()) {
		t.Error("an ordinary directory is taken for a mount point")
	}
}

func TestOwner(t *testing.T) {
	dir := t.TempDir()
	if err := ownedBy(dir, "no-such-user"); err == nil || !strings.Contains(err.Error(), "no-such-user") {
		t.Errorf("a user that is not there: %v", err)
	}
	if err := ownedBy(filepath.Join(dir, "none"), "root"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}
