package firstboot

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// TestChecksAreThoseOfTheDescription: what a description names is verified, in order, and nothing else.
func TestChecksAreThoseOfTheDescription(t *testing.T) {
	const first, data, setup = "unit " + instance.FirstBootUnit, "unit " + instance.DataUnit, "unit " +
		instance.DatabaseUnit
	store := imagespec.Description{
		Units:  []imagespec.Unit{{Name: "store.service"}},
		Ports:  []imagespec.Port{{Name: "store", Port: 7000, Address: imagespec.InstanceAddress}},
		Probes: []imagespec.Probe{{Name: "select", Argv: []string{"true"}}, {Name: "tcp", Port: "store"}},
		Data:   &imagespec.Data{Unit: "store.service"},
		Setup:  &imagespec.Setup{Name: "store"},
	}
	site := imagespec.Description{
		Units: []imagespec.Unit{{Name: "app.service"}, {Name: "proxy.service"}},
		Ports: []imagespec.Port{
			{Name: "app", Port: 5000, Address: "127.0.0.1"},
			{Name: "https", Port: 8443, Address: imagespec.AnyAddress, TLS: true},
		},
		Probes:      []imagespec.Probe{{Name: "alive", Port: "https", Path: "/alive"}},
		Certificate: &imagespec.Certificate{Path: "/run/goldsmith/tls/x.crt"},
	}
	for _, c := range []struct {
		name        string
		description imagespec.Description
		want        []string
	}{
		{"data", store, []string{first, data, "unit store.service", setup, "listens", "select", "tcp"}},
		{"service", site, []string{first, "unit app.service", "unit proxy.service", "listens", "certificate", "alive"}},
		{"nothing", imagespec.Description{}, []string{first}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, each := range checksOf(c.description, Instance{},
				[]instance.Assertion{{Name: "own", Argv: []string{"true"}}}) {
				got = append(got, each.name)
			}
			if want := append(slices.Clone(c.want), "failed units", "reachable", "assert own"); !slices.Equal(
				got,
				want,
			) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func listener(t *testing.T, address string) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

// TestPortsAreNamedTogether: all ports that are wrong are in one report.
func TestPortsAreNamedTogether(t *testing.T) {
	_, loopback := listener(t, "127.0.0.1:0")
	_, open := listener(t, "0.0.0.0:0")
	i := Instance{Identity: Identity{Private: "127.0.0.1"}}
	ports := func(public, own int) check {
		return portChecks([]imagespec.Port{
			{Name: "any", Port: public, Address: imagespec.AnyAddress},
			{Name: "own", Port: own, Address: imagespec.InstanceAddress},
		}, i)[0]
	}
	if detail, err := ports(open, loopback).run(t.Context()); err != nil || !strings.Contains(detail, ", 127.0.0.1:") {
		t.Errorf("got %q, %v", detail, err)
	}
	_, err := ports(loopback, open).run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "for others to reach") ||
		!strings.Contains(err.Error(), "should be on 127.0.0.1") {
		t.Errorf("got %v, want both ports", err)
	}
}

func TestProbes(t *testing.T) {
	_, port := listener(t, "127.0.0.1:0")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "192.0.2.7" {
			t.Errorf("it was asked as %s", r.Host)
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(server.Close)
	d := imagespec.Description{Ports: []imagespec.Port{
		{Name: "tcp", Port: port, Address: "127.0.0.1"},
		{Name: "http", Port: server.Listener.Addr().(*net.TCPAddr).Port, Address: imagespec.AnyAddress},
	}}
	i := Instance{Identity: Identity{Private: "10.0.1.5", Public: "192.0.2.7"}}
	for _, c := range []struct {
		probe      imagespec.Probe
		want, fail string
	}{
		{imagespec.Probe{Name: "tcp", Port: "tcp"}, "127.0.0.1:", ""},
		{imagespec.Probe{Name: "teapot", Port: "http", Path: "/", Status: 418}, "418", ""},
		{imagespec.Probe{Name: "other status", Port: "http", Path: "/"}, "", "not 200"},
		{imagespec.Probe{Name: "command", Shell: `echo "$GOLDSMITH_ADDRESS"`, Output: `^10\.0\.1\.5$`}, "10.0.1.5", ""},
		{imagespec.Probe{Name: "command that fails", Shell: "echo why; exit 3"}, "", "exit status 3: why"},
	} {
		detail, err := probeCheck(d, c.probe, i).run(t.Context())
		if c.fail == "" && (err != nil || !strings.Contains(detail, c.want)) {
			t.Errorf("%s: got %q, %v", c.probe.Name, detail, err)
		}
		if c.fail != "" && (err == nil || !strings.Contains(err.Error(), c.fail)) {
			t.Errorf("%s: got %v, want an error with %q", c.probe.Name, err, c.fail)
		}
	}
}

// TestFailedUnitSaysItsLog: the reason is in the file that the description names.
func TestFailedUnitSaysItsLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("[Note] x\n[ERROR] Disk is full\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	programs(t, map[string]string{"systemctl": "echo failed; exit 3", "journalctl": "exit 0"})
	d := imagespec.Description{
		Units: []imagespec.Unit{{Name: "a.service"}},
		Logs:  []imagespec.Log{{Name: "a", Unit: "a.service", Path: path}},
	}
	_, err := checksOf(d, Instance{}, nil)[1].run(t.Context())
	if err == nil || err.Error() != "failed: [ERROR] Disk is full" {
		t.Errorf("got %v", err)
	}
}

// TestNeedsAreNamed: an image that needs a tier is not started without its address.
func TestNeedsAreNamed(t *testing.T) {
	d := imagespec.Description{Needs: []imagespec.Need{{Tier: "store", Port: 7000}, {Tier: "queue", Port: 5672}}}
	s := instance.Settings{
		Stack: "golden",
		Tier:  "front",
		Needs: []instance.TierAddress{{Tier: "queue", Address: "10.0.2.9", Port: 5673}},
	}
	if _, err := needsOf(s, d); err == nil || !strings.Contains(err.Error(), "tier store") ||
		!strings.Contains(err.Error(), "\nhint: ") {
		t.Errorf("got %v, want the missing tier", err)
	}
	s.Needs = append(s.Needs, instance.TierAddress{Tier: "store", Address: "10.0.2.10"})
	got, err := needsOf(s, d)
	want := []instance.TierAddress{
		{Tier: "store", Address: "10.0.2.10", Port: 7000},
		{Tier: "queue", Address: "10.0.2.9", Port: 5673},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "app.env")
	e := imagespec.Environment{Path: path, Variables: []imagespec.Variable{
		{Name: "HOST", AddressOf: "store"}, {Name: "PORT", PortOf: "store"}, {Name: "NAME", Value: "shop"}}}
	if err := placeEnvironment(
		e,
		[]instance.TierAddress{{Tier: "store", Address: "10.0.2.10", Port: 7000}},
	); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "HOST=10.0.2.10\nPORT=7000\nNAME=shop\n" {
		t.Errorf("got %q", text)
	}
}

func TestSecretsGoWhereTheDescriptionSays(t *testing.T) {
	dir := t.TempDir()
	b := Boot{
		Instance: Instance{Settings: instance.Settings{Parameters: "/goldsmith/golden", Tier: "front"}},
		values:   map[string]string{"/goldsmith/golden/front/own": "1", "/goldsmith/golden/store/theirs": "2"},
	}
	for _, c := range []struct {
		secret imagespec.Secret
		want   string
		mode   os.FileMode
	}{
		{imagespec.Secret{Parameter: "own", Path: filepath.Join(dir, "a")}, "1", 0o600},
		{imagespec.Secret{Tier: "store", Parameter: "theirs", Path: filepath.Join(dir, "b"), Mode: "0644"}, "2", 0o644},
	} {
		if err := placeSecret(b, c.secret); err != nil {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(c.secret.Path)
		info, err := os.Stat(c.secret.Path)
		if err != nil || string(text) != c.want || info.Mode().Perm() != c.mode {
			t.Errorf("%s: got %q with mode %v, %v", c.secret.Parameter, text, info.Mode(), err)
		}
	}
	if err := placeSecret(b, imagespec.Secret{Parameter: "own"}); err != nil {
		t.Errorf("one without a path: %v", err)
	}
	for _, wrong := range []imagespec.Secret{{Owner: "nobody-of-this-name"}, {Group: "nobody-of-this-name"}} {
		wrong.Parameter, wrong.Path = "own", filepath.Join(dir, "c")
		if err := placeSecret(b, wrong); err == nil || exists(wrong.Path) {
			t.Errorf("%+v: got %v", wrong, err)
		}
	}
}

// TestLetThrough: one call a unit, with all that it may be reached by and reach.
func TestLetThrough(t *testing.T) {
	log := filepath.Join(t.TempDir(), "calls")
	programs(t, map[string]string{"systemctl": `echo "$*" >>` + log})
	d := imagespec.Description{
		Units: []imagespec.Unit{{Name: "a.service", Clients: true}, {Name: "b.service"}, {Name: "c.service"}},
		Needs: []imagespec.Need{
			{Tier: "x", Units: []string{"a.service", "b.service"}},
			{Tier: "y", Units: []string{"b.service"}},
		},
	}
	s := instance.Settings{Clients: []string{"10.0.1.7/24", "10.0.9.0/24"}}
	needs := []instance.TierAddress{{Tier: "x", Address: "10.0.2.10"}, {Tier: "y", Address: "queue.example"}}
	if err := letThrough(t.Context(), s, d, needs); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(log)
	want := "set-property --runtime a.service IPAddressAllow=10.0.1.0/24 10.0.9.0/24 10.0.2.10/32\n" +
		"set-property --runtime b.service IPAddressAllow=10.0.2.10/32 0.0.0.0/0\n"
	if string(text) != want {
		t.Errorf("got\n%swant\n%s", text, want)
	}
}

// fakeSetup counts what is asked of it.
type fakeSetup struct{ calls []string }

func (f *fakeSetup) Prepare(context.Context, Boot) error { return f.call("prepare") }
func (f *fakeSetup) Server(context.Context) (instance.Server, error) {
	return instance.Server{Flavor: "store", Version: "1.2"}, f.call("server")
}
func (f *fakeSetup) Start(context.Context, Instance) error { return f.call("start") }
func (f *fakeSetup) Pause(context.Context)                 { _ = f.call("pause") }
func (f *fakeSetup) Resume(context.Context, bool) error    { return f.call("resume") }
func (f *fakeSetup) call(name string) error {
	f.calls = append(f.calls, name)
	return nil
}

func TestSetupIsTheOneThatTheDescriptionNames(t *testing.T) {
	var given string
	setups := Setups{"store": func(settings json.RawMessage) (Setup, error) {
		given = string(settings)
		return &fakeSetup{}, nil
	}, "bad": func(json.RawMessage) (Setup, error) { return nil, errors.New("no flavor") }}
	of := func(name string) (Setup, error) {
		return setups.of(
			imagespec.Description{Setup: &imagespec.Setup{Name: name, Settings: json.RawMessage(`{"a":1}`)}},
		)
	}
	if setup, err := of("store"); err != nil || setup == nil || given != `{"a":1}` {
		t.Errorf("got %v, %v with %s", setup, err, given)
	}
	if _, err := of("other"); err == nil || !strings.Contains(err.Error(), `"other"`) ||
		!strings.Contains(err.Error(), "bad, store") {
		t.Errorf("an unknown one: got %v", err)
	}
	if _, err := of("bad"); err == nil || !strings.Contains(err.Error(), "no flavor") {
		t.Errorf("settings that are wrong: got %v", err)
	}
	if setup, err := setups.of(imagespec.Description{}); err != nil || setup != nil {
		t.Errorf("none: got %v, %v", setup, err)
	}
}

func TestGivenCertificate(t *testing.T) {
	dir := t.TempDir()
	certificate, key := authority(t, time.Now().Add(time.Hour))
	c := imagespec.Certificate{
		Parameter:    "crt",
		KeyParameter: "key",
		Path:         filepath.Join(dir, "x.crt"),
		KeyPath:      filepath.Join(dir, "x.key"),
	}
	b := Boot{
		Instance: Instance{Settings: instance.Settings{Parameters: "/p", Tier: "front"}},
		values:   map[string]string{"/p/front/crt": certificate},
	}
	if _, err := placeCertificate(b, c); err == nil ||
		!strings.Contains(err.Error(), "/p/front/crt and /p/front/key only one") {
		t.Errorf("half a pair: got %v", err)
	}
	b.values["/p/front/key"] = key
	if own, err := placeCertificate(b, c); err != nil || own {
		t.Fatalf("got %v, %v", own, err)
	}
	if text, _ := os.ReadFile(c.Path); string(text) != certificate {
		t.Errorf("got %q", text)
	}
	if info, err := os.Stat(c.KeyPath); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the key's mode is %v, %v", info.Mode(), err)
	}
}
