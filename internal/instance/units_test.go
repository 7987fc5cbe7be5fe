package instance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// setting is the values of a unit's key, in all its lines.
func setting(t *testing.T, unit, key string) []string {
	t.Helper()
	text, err := units.ReadFile("units/" + unit)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			values = append(values, strings.Fields(value)...)
		}
	}
	return values
}

// TestOrderOfTheFirstBoot: settings first, then the services, then the account, and last the report.
func TestOrderOfTheFirstBoot(t *testing.T) {
	services := []string{"mysql.service", "mariadb.service", "nginx.service", "goldsmith-webapp.service"}
	for _, c := range []struct {
		unit, key string
		want      []string
	}{
		{FirstBootUnit, "Before", services},
		{FirstBootUnit, "After", []string{"network-online.target"}},
		{FirstBootUnit, "Wants", []string{"network-online.target"}},
		{DatabaseUnit, "Requires", []string{FirstBootUnit}},
		{DatabaseUnit, "After", []string{FirstBootUnit, "mysql.service", "mariadb.service"}},
		{DatabaseUnit, "ConditionPathExists", []string{DescriptionDir + "/mysql.json"}},
		{ReadyUnit, "After", append([]string{FirstBootUnit, DatabaseUnit}, services...)},
	} {
		got := setting(t, c.unit, c.key)
		for _, want := range c.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %s is %q, without %s", c.unit, c.key, got, want)
			}
		}
	}
	// It reports a first boot that failed, and so must not be kept from starting by it.
	if got := setting(t, ReadyUnit, "Requires"); got != nil {
		t.Errorf("%s requires %q", ReadyUnit, got)
	}
}

func TestServiceWaitsForFirstBoot(t *testing.T) {
	drop := WaitForFirstBoot("nginx.service").Spec.(task.Unit)
	text := string(contentOf(t, drop.Content))
	if drop.Unit != "nginx.service" || drop.DropIn == "" || text != "[Unit]\nRequires="+FirstBootUnit+"\nAfter="+FirstBootUnit+"\n" {
		t.Errorf("got %s of %s: %q", drop.DropIn, drop.Unit, text)
	}
}

func contentOf(t *testing.T, blob task.Blob) []byte {
	t.Helper()
	content := make([]byte, blob.Size)
	r, err := blob.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := r.Read(content); err != nil || int64(n) != blob.Size {
		t.Fatalf("read %d of %d bytes: %v", n, blob.Size, err)
	}
	return content
}

func TestInvalidSettingsMakeNoUserData(t *testing.T) {
	text, err := Settings{Stack: "Golden", Tier: "app", Parameters: "golden"}.UserData("")
	if err == nil || text != nil {
		t.Fatalf("got %q, %v", text, err)
	}
	for _, want := range []string{"stack", "tier", "parameters"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

func TestSettingsAmongOtherUserData(t *testing.T) {
	const text = "#cloud-config\r\n# goldsmith: no\r\n#goldsmith: {\"stack\":\"a\",\"tier\":\"web\",\"parameters\":\"/x\",\"database_host\":\"h\"}\r\npackages: []\r\n"
	if s, err := ParseSettings([]byte(text)); err != nil || s != (Settings{Stack: "a", Tier: "web", Parameters: "/x", DatabaseHost: "h"}) {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestImageDescriptionThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "nginx.json")
	if err := os.WriteFile(path, []byte(`{"unit":`), 0o644); err != nil {
		t.Fatal(err)
	}
	if image, err := ReadImage(dir); err == nil || !strings.Contains(err.Error(), path) || image != (Image{}) {
		t.Errorf("no JSON: got %+v, %v", image, err)
	}
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadImage(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory: got %v", err)
	}
}
