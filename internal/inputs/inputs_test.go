package inputs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	seed := filepath.Join(dir, "seed.sql")
	file := func(content string) {
		if err := os.WriteFile(seed, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	type config struct {
		PackerBuildName string
		Seed            string
		Vars            map[string]string
	}
	digest := func(c config) Inputs {
		in := Inputs{}
		if err := in.AddConfig("mysql", c); err != nil {
			t.Fatal(err)
		}
		return in
	}
	file("one")
	first := digest(config{"db", seed, map[string]string{"a": "1"}})
	if got := Changed(first, digest(config{"other", seed, map[string]string{"a": "1"}})); len(got) > 0 {
		t.Errorf("what Packer adds counts: %v", got)
	}
	if got := Changed(
		first,
		digest(config{"db", seed, map[string]string{"a": "2"}}),
	); !slices.Equal(
		got,
		[]string{"mysql options"},
	) {
		t.Errorf("an option: %v", got)
	}
	file("two")
	second := digest(config{"db", seed, map[string]string{"a": "1"}})
	if got := Changed(first, second); !slices.Equal(got, []string{"mysql seed.sql"}) {
		t.Errorf("a file: %v", got)
	}
	if first.Digest() == second.Digest() || first.Digest() != digestOfCopy(t, first).Digest() {
		t.Error("the digest does not go with the inputs")
	}
	delete(second, "mysql seed.sql")
	second["webapp binary"] = "0"
	if got := Changed(first, second); !slices.Equal(got, []string{"webapp binary (new)", "mysql seed.sql (gone)"}) {
		t.Errorf("new and gone: %v", got)
	}
	short := Inputs{"mysql options": first["mysql options"][:8], "mysql seed.sql": first["mysql seed.sql"][:8]}
	if got := Changed(short, first); len(got) > 0 {
		t.Errorf("shortened digests: %v", got)
	}
}

func digestOfCopy(t *testing.T, in Inputs) Inputs {
	t.Helper()
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Inputs
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) Inputs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		in := Inputs{}
		if err := in.AddFile("dir", dir); err != nil {
			t.Fatal(err)
		}
		return in
	}
	a := write("a", "x")
	if b := write("b", ""); a["dir"] == b["dir"] {
		t.Error("an empty file more changes nothing")
	}
	if err := (Inputs{}).AddFile("x", filepath.Join(dir, "none")); err == nil {
		t.Error("a missing file is no error")
	}
}

// TestRecords stands for a run of Packer with two builders: records of other processes are written as they write them.
func TestRecords(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("PACKER_RUN_UUID", "11111111-2222-3333-4444-555555555555")
	other := func(at int64, pid int, r record) {
		t.Helper()
		r.At, r.PID = at, pid
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(run(), fmt.Sprintf("%d.json", pid)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, known, err := Provisioners(); known || err != nil {
		t.Errorf("before anything is written: %v, %v", known, err)
	}
	if err := Begin(); err != nil {
		t.Fatal(err)
	}
	me, err := read(filepath.Join(run(), fmt.Sprintf("%d.json", os.Getpid())))
	if err != nil {
		t.Fatal(err)
	}
	other(me.At-2, 1000001, record{Builder: true})
	other(me.At-1, 1000002, record{Component: "mysql", Inputs: Inputs{"mysql options": "1"}})
	other(me.At+1, 1000003, record{Component: "tasks", Inputs: Inputs{"tasks options": "2"}})
	other(me.At+2, 1000004, record{Component: "tasks", Inputs: Inputs{"tasks options": "3"}, Builds: []string{"b1"}})
	other(me.At+3, 1000005, record{Builder: true})
	other(me.At+4, 1000006, record{Component: "nginx", Inputs: Inputs{"nginx options": "4"}})
	got, known, err := Provisioners()
	if err != nil || !known || len(Changed(Inputs{"tasks options": "2", "tasks-2 options": "3"}, got)) > 0 {
		t.Errorf("got %v, %v, %v", got, known, err)
	}
	if ok, err := Confirm("b1"); ok || err != nil {
		t.Errorf("one of them did not run in the build: %v, %v", ok, err)
	}
	other(me.At+1, 1000003, record{Component: "tasks", Inputs: Inputs{"tasks options": "2"}, Builds: []string{"b1"}})
	if ok, err := Confirm("b1"); !ok || err != nil {
		t.Errorf("all ran in the build: %v, %v", ok, err)
	}
}

func TestDirectoryThatOthersCanWriteTo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("PACKER_RUN_UUID", "11111111-2222-3333-4444-555555555555")
	if err := Begin(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(run(), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Begin(); err == nil {
		t.Error("a directory that others can write to is trusted")
	}
}
