package imagespec

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// write puts texts into a directory as fragments.
func write(t *testing.T, fragments map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range fragments {
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// content returns the path and the text of the file that a fragment's task writes.
func content(t *testing.T, name string, d Description) (path, text string) {
	t.Helper()
	described, err := Task(name, d)
	if err != nil {
		t.Fatal(err)
	}
	file := described.Spec.(task.File)
	r, err := file.Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return file.Path, string(all)
}

var (
	app = Description{
		Kind:    instance.KindService,
		Units:   []Unit{{Name: "app.service"}},
		Ports:   []Port{{Name: "app", Port: 5000, Address: "127.0.0.1"}},
		Probes:  []Probe{{Name: "alive", Port: "https", Path: "/alive"}},
		Secrets: []Secret{{Tier: "store", Parameter: "password", Path: "/run/goldsmith/credentials/p"}},
		Needs:   []Need{{Tier: "store", Port: 7000, Units: []string{"app.service"}}},
		Environments: []Environment{
			{Path: "/run/goldsmith/app.env", Variables: []Variable{{Name: "HOST", AddressOf: "store"}}},
		},
	}
	proxy = Description{
		Kind:  instance.KindService,
		Units: []Unit{{Name: "proxy.service"}},
		Ports: []Port{{Name: "https", Port: 443, Address: AnyAddress, TLS: true}},
		Certificate: &Certificate{
			Parameter:    "crt",
			KeyParameter: "key",
			Path:         "/run/goldsmith/tls/x.crt",
			KeyPath:      "/run/goldsmith/tls/x.key",
		},
	}
	store = Description{
		Kind:    instance.KindData,
		Units:   []Unit{{Name: "store.service", Clients: true}},
		Ports:   []Port{{Name: "store", Port: 7000, Address: InstanceAddress}},
		Secrets: []Secret{{Parameter: "authority"}},
		Logs:    []Log{{Name: "store", Unit: "store.service", Path: "/var/log/store.log"}},
		Data:    &Data{Unit: "store.service", Path: "/var/lib/store", Name: "store", User: "store"},
		Setup:   &Setup{Name: "store", Settings: []byte(`{"a":1}`)},
	}
)

// TestFragmentsComeBackMerged: an image may have fragments for both kinds, and each tier reads its own.
func TestFragmentsComeBackMerged(t *testing.T) {
	texts := map[string]string{}
	for name, d := range map[string]Description{"app": app, "proxy": proxy, "store": store} {
		path, text := content(t, name, d)
		if want := filepath.Join(instance.DescriptionDir, name+".json"); path != want {
			t.Errorf("%s is written to %s", name, path)
		}
		texts[name] = text
	}
	dir := write(t, texts)
	got, err := Read(dir, instance.KindService)
	if err != nil {
		t.Fatal(err)
	}
	want := app
	want.Version, want.Certificate = Version, proxy.Certificate
	want.Units = []Unit{{Name: "app.service"}, {Name: "proxy.service"}}
	want.Ports = []Port{app.Ports[0], proxy.Ports[0]}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("service: got %+v\nwant %+v", got, want)
	}
	got, err = Read(dir, instance.KindData)
	if err != nil || got.Data == nil || got.Setup == nil || len(got.Units) != 1 || got.Certificate != nil {
		t.Errorf("data: got %+v, %v", got, err)
	}
	if version, err := Check(dir); err != nil || version != Version {
		t.Errorf("checked: got %d, %v", version, err)
	}
}

// TestAnswersAreForOthers: neither a command nor what is on loopback can be asked from another machine.
func TestAnswersAreForOthers(t *testing.T) {
	d := Description{
		Ports: []Port{
			{Name: "out", Port: 443, Address: AnyAddress, TLS: true},
			{Name: "own", Port: 81, Address: InstanceAddress},
			{Name: "in", Port: 5000, Address: "127.0.0.1"},
		},
		Probes: []Probe{
			{Name: "a", Port: "out", Path: "/a"},
			{Name: "b", Port: "own", Path: "/b", Status: 301},
			{Name: "c", Port: "in", Path: "/c"},
			{Name: "d", Port: "out"},
			{Name: "e", Argv: []string{"true"}},
		},
	}
	want := []instance.Answer{
		{
			Name:   "a",
			Port:   443,
			TLS:    true,
			Path:   "/a",
			Status: 200,
		},
		{
			Name:   "b",
			Port:   81,
			Path:   "/b",
			Status: 301,
		},
	}
	if got := d.Answers(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestReadStream reads what cat prints of several files.
func TestReadStream(t *testing.T) {
	var stream strings.Builder
	for name, d := range map[string]Description{"app": app, "store": store} {
		_, text := content(t, name, d)
		stream.WriteString(text)
	}
	got, err := ReadStream(strings.NewReader(stream.String()), instance.KindData)
	if err != nil || !reflect.DeepEqual(got.Logs, store.Logs) || len(got.Units) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"":                            "nothing describes it",
		`{"version":1}{"version":7}`:  "fragment 2: version 7 is not known",
		`{"version":1,"kind":"data"`:  "fragment 1: unexpected EOF",
		`{"version":1}cat: no access`: "fragment 2: invalid character",
	} {
		_, err := ReadStream(strings.NewReader(text), instance.KindData)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestNothingIsDescribed(t *testing.T) {
	dir := write(t, nil)
	if version, err := Check(dir); version != 0 || err != nil {
		t.Errorf("got %d, %v", version, err)
	}
	if _, err := Read(dir, instance.KindData); !errors.Is(err, ErrNotForKind) {
		t.Errorf("got %v", err)
	}
	_, text := content(t, "proxy", proxy)
	_, err := Read(write(t, map[string]string{"proxy": text}), instance.KindData)
	if !errors.Is(err, ErrNotForKind) || !strings.Contains(err.Error(), "proxy.json is for service") {
		t.Errorf("got %v, want what the image is for", err)
	}
}

// TestFragmentsThatAreRefused: the error names the file, and what to do.
func TestFragmentsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name      string
		fragments map[string]string
		want      []string
	}{
		{"no JSON", map[string]string{"a": `{"version":`}, []string{"a.json"}},
		{"no version", map[string]string{"a": `{"unit":"x.service"}`}, []string{"a.json", "no version", "hint: "}},
		{
			"a later version", map[string]string{"a": `{"version":2,"jobs":[]}`},
			[]string{"a.json", "version 2", "version 1", "hint: bake"},
		},
		{"unknown field", map[string]string{"a": `{"version":1,"unitz":[]}`}, []string{"a.json", "unitz"}},
		{"kind", map[string]string{"a": `{"version":1,"kind":"thing"}`}, []string{"a.json", "data or service"}},
		{"unit", map[string]string{"a": `{"version":1,"units":[{"name":"x; reboot"}]}`}, []string{"unit", "x; reboot"}},
		{
			"port", map[string]string{"a": `{"version":1,"ports":[{"name":"p","port":70000,"address":"some"}]}`},
			[]string{"70000", "some"},
		},
		{"probe", map[string]string{"a": `{"version":1,"probes":[{"name":"p"},{"name":"q","argv":["x"],"port":"y"}]}`},
			[]string{"probe p", "probe q"}},
		{
			"probe of no port", map[string]string{"a": `{"version":1,"probes":[{"name":"p","port":"none"}]}`},
			[]string{"a.json", "probe p", "port none"},
		},
		{
			"secret on the disk",
			map[string]string{"a": `{"version":1,"secrets":[{"parameter":"x","path":"/etc/x"}]}`},
			[]string{"/etc/x", "in memory"},
		},
		{
			"secret by way of ..",
			map[string]string{"a": `{"version":1,"secrets":[{"parameter":"x","path":"/run/goldsmith/../../etc/x"}]}`},
			[]string{"absolute"},
		},
		{
			"secret's mode",
			map[string]string{"a": `{"version":1,"secrets":[{"parameter":"x","path":"/run/goldsmith/x","mode":"rw"}]}`},
			[]string{"mode"},
		},
		{
			"secret for nobody", map[string]string{"a": `{"version":1,"secrets":[{"parameter":"x"}]}`},
			[]string{"a.json", "setup"},
		},
		{
			"variable of no tier",
			map[string]string{"a": `{"version":1,"environments":[{"path":"/run/goldsmith/e","variables":[{"name":"A",` +
				`"address_of":"q"}]}]}`},
			[]string{"/run/goldsmith/e", "tier q"}},
		{
			"variable with a quote",
			map[string]string{"a": `{"version":1,"environments":[{"path":"/run/goldsmith/e","variables":[{"name":"A",` +
				`"value":"a\"b"}]}]}`},
			[]string{"variable A", "quote"}},
		{
			"log of no unit",
			map[string]string{"a": `{"version":1,"logs":[{"name":"l","unit":"x.service","path":"/l"}]}`},
			[]string{"log l", "unit x.service"},
		},
		{
			"log without a name",
			map[string]string{"a": `{"version":1,"units":[{"name":"x.service"}],"logs":[{"unit":"x.service"}]}`},
			[]string{`log ""`},
		},
		{
			"log that everybody has",
			map[string]string{"a": `{"version":1,"logs":[{"name":"journal","unit":"x.service"}]}`},
			[]string{"log journal", "every instance has one"},
		},
		{
			"log that is more than a path",
			map[string]string{"a": `{"version":1,"logs":[{"name":"l","unit":"x.service","path":"/l; id"}]}`},
			[]string{"path of log l", "/l; id"},
		},
		{
			"data without a setup",
			map[string]string{"a": `{"version":1,"data":{"unit":"x.service","path":"/d","name":"d","user":"d"}}`},
			[]string{"setup"},
		},
		{"two of one port", map[string]string{
			"a": `{"version":1,"ports":[{"name":"p","port":80,"address":"any"}]}`,
			"b": `{"version":1,"ports":[{"name":"q","port":80,"address":"any"}]}`}, []string{"port 80", "a.json",
			"b.json"}},
		{"two of one unit", map[string]string{
			"a": `{"version":1,"units":[{"name":"x.service"}]}`,
			"b": `{"version":1,"units":[{"name":"x.service","clients":true}]}`}, []string{"unit x.service", "a.json",
			"b.json"}},
		{"two of one file", map[string]string{
			"a": `{"version":1,"secrets":[{"parameter":"x","path":"/run/goldsmith/x"}]}`,
			"b": `{"version":1,"secrets":[{"parameter":"y",` +
				`"path":"/run/goldsmith/x"}]}`}, []string{"file /run/goldsmith/x",
			"a.json", "b.json"}},
		{"two setups", map[string]string{
			"a": `{"version":1,"setup":{"name":"x"}}`, "b": `{"version":1,"setup":{"name":"y"}}`}, []string{"setup",
			"a.json", "b.json"}},
		{"two ports of a need", map[string]string{
			"a": `{"version":1,"needs":[{"tier":"t","port":1}]}`,
			"b": `{"version":1,"needs":[{"tier":"t","port":2}]}`}, []string{"tier t", "a.json", "b.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := write(t, c.fragments)
			_, err := Check(dir)
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not name %q", err, want)
				}
			}
		})
	}
}

// TestFragmentsMayAgree: several may say the same of an item, and need the same tier.
func TestFragmentsMayAgree(t *testing.T) {
	d, err := Read(write(t, map[string]string{
		"a": `{"version":1,"kind":"service","needs":[{"tier":"t","port":1,"units":["a.service"]}],` +
			`"secrets":[{"parameter":"x","path":"/run/goldsmith/x"}]}`,
		"b": `{"version":1,"kind":"service","needs":[{"tier":"t","port":1,"units":["b.service","a.service"]}],` +
			`"secrets":[{"parameter":"x","path":"/run/goldsmith/x"}]}`,
		"c": `{"version":1,"units":[{"name":"both.service"}]}`,
	}), instance.KindService)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Need{
		{Tier: "t", Port: 1, Units: []string{"a.service", "b.service"}},
	}; !reflect.DeepEqual(
		d.Needs,
		want,
	) {
		t.Errorf("got needs %+v", d.Needs)
	}
	if len(d.Secrets) != 1 || len(d.Units) != 1 {
		t.Errorf("got secrets %+v, units %+v", d.Secrets, d.Units)
	}
}

func TestFragmentThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "nginx.json")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(dir); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a directory: got %v", err)
	}
}

func TestInvalidFragmentMakesNoTask(t *testing.T) {
	if made, err := Task("a", Description{Kind: "thing"}); err == nil || made.Spec != nil {
		t.Errorf("got %+v, %v", made, err)
	}
}

func TestCheckTag(t *testing.T) {
	for _, c := range []struct {
		tag    string
		sealed bool
		want   string
	}{
		{"1", true, ""},
		{"1", false, ""},
		{"", false, ""}, // another account's: its tags are not to be seen
		{"", true, "older goldsmith"},
		{"2", true, "version 2, and version 1 is known here"},
		{"x", false, "version x"},
	} {
		err := CheckTag(c.tag, c.sealed)
		if (err == nil) != (c.want == "") ||
			err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "\nhint: bake")) {
			t.Errorf("%q, %v: got %v, want %q", c.tag, c.sealed, err, c.want)
		}
	}
}
