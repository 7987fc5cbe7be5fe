package instance

import (
	"reflect"
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

// TestOrderOfTheFirstBoot: settings first, then the services, then the setup, and last the report. The services' own
// places in it are in the drop-ins of WaitForFirstBoot and WaitForData.
func TestOrderOfTheFirstBoot(t *testing.T) {
	for _, c := range []struct {
		unit, key string
		want      []string
	}{
		{FirstBootUnit, "After", []string{"network-online.target"}},
		{FirstBootUnit, "Wants", []string{"network-online.target"}},
		{DataUnit, "Requires", []string{FirstBootUnit}},
		{DataUnit, "After", []string{FirstBootUnit}},
		{DatabaseUnit, "Requires", []string{FirstBootUnit}},
		{DatabaseUnit, "After", []string{FirstBootUnit}},
		{ReadyUnit, "After", []string{FirstBootUnit, DataUnit, DatabaseUnit}},
		{ReadyUnit, "Wants", []string{ConsoleUnit}},
		{ReadyUnit, "RuntimeDirectory", []string{strings.TrimPrefix(ReadyDir, "/run/")}},
		{ReadyUnit, "RuntimeDirectoryPreserve", []string{"yes"}}, // else it goes with a service that has failed
		{DataUnit, "Wants", []string{AddressUnit}},
		{AddressUnit, "BindsTo", []string{DataUnit}}, // it must not give back what the data unit gives up
		{AddressUnit, "After", []string{DataUnit}},
		{ConsoleUnit, "After", []string{ReadyUnit}},
		{ConsoleUnit, "PartOf", []string{ReadyUnit}},
		{ConsoleUnit, "Type", []string{"exec"}}, // the boot does not wait for the last repetition
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

func TestServicesWaitForFirstBoot(t *testing.T) {
	const both = FirstBootUnit + " " + DataUnit
	for _, c := range []struct {
		task task.Task
		want string
	}{
		{WaitForFirstBoot("x.service"),
			"[Unit]\nRequires=" + FirstBootUnit + "\nAfter=" + FirstBootUnit + "\nBefore=" + ReadyUnit + "\n"},
		{WaitForData("x.service"),
			"[Unit]\nRequires=" + both + "\nAfter=" + both + "\nBefore=" + DatabaseUnit + " " + ReadyUnit + "\n"},
	} {
		drop := c.task.Spec.(task.Unit)
		if text := string(contentOf(t, drop.Content)); drop.Unit != "x.service" || drop.DropIn == "" || text != c.want {
			t.Errorf("got %s of %s: %q", drop.DropIn, drop.Unit, text)
		}
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
	text, err := Settings{Stack: "Golden", Tier: "App", Parameters: "golden"}.UserData("")
	if err == nil || text != nil {
		t.Fatalf("got %q, %v", text, err)
	}
	for _, want := range []string{"stack", "tier", "kind", "parameters"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

func TestSettingsAmongOtherUserData(t *testing.T) {
	const text = "#cloud-config\r\n# goldsmith: no\r\n" +
		"#goldsmith: {\"version\":2,\"stack\":\"a\",\"tier\":\"web\",\"kind\":\"service\",\"parameters\":\"/x\"}\r\n" +
		"packages: []\r\n"
	want := Settings{Version: 2, Stack: "a", Tier: "web", Kind: KindService, Parameters: "/x"}
	if s, err := ParseSettings([]byte(text)); err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v, %v", s, err)
	}
}
