package records

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

var public = netip.MustParsePrefix("127.66.9.0/29")

// written is a file as an earlier version of this program wrote it: what users made survives a new version.
const written = `{"instances":{"i-1":{"state":"running","public":"127.66.9.3","want_public":true,
"root_volume":"vol-1","root_size_gb":8,"keep_root":true,"launched":"2026-01-02T03:04:05Z",
"ended":"0001-01-01T00:00:00Z","tokens_required":true,"metadata_disabled":true,"metadata_tags":true,
"user_data":"AQI=","group":"g","template":{"id":"lt-1","name":"t","version":"2"}}},
"images":{},"launches":{},"templates":{},
"groups":{"g":{"min":1,"max":2,"desired":1,"grace":3,"template":{"id":"lt-1","name":"t","version":"2"},
"subnets":["subnet-1"],"target_groups":null,"refreshes":[{"id":"r","status":"InProgress",
"started":"2026-01-02T03:04:05Z","percent":50,"left":1,"before":{"id":"","name":"","version":""},
"wanted":{"id":"","name":"","version":""},"min_healthy":90,"checkpoints":[50,100],"delay":5,"warmup":6,"bake":7,
"auto_rollback":true,"skip_matching":true,"ending":"Cancelled"}]}},
"balancers":{},"target_groups":{},"access_keys":{}}`

func TestFileOfAnEarlierVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.json")
	if err := os.WriteFile(path, []byte(written), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Store{}
	if err := s.Open(path, public); err != nil {
		t.Fatal(err)
	}
	record, _ := s.Instance("i-1")
	if record.RootSizeGB != 8 || !record.KeepRoot || !record.TokensRequired || record.Template.Version != "2" {
		t.Errorf("the instance is %+v", record)
	}
	if r := s.Refresh("g", "r"); r.MinHealthy != 90 || r.Bake != 7 || r.Ending != "Cancelled" {
		t.Errorf("the refresh is %+v", r)
	}
	if err := s.Update(func(*State) {}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(parsed(t, []byte(written)), parsed(t, content)) {
		t.Errorf("written as\n%s", content)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: access keys are in it", info, err)
	}
}

func parsed(t *testing.T, document []byte) (value any) {
	t.Helper()
	if err := json.Unmarshal(document, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestFileThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	s := &Store{}
	if err := s.Open(filepath.Join(dir, "none", "api.json"), public); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(func(*State) {}); err == nil {
		t.Error("a change that is not written was told as made")
	}
}

func TestFreePublic(t *testing.T) {
	o := &State{
		public:    public,
		Instances: map[string]*Instance{"i-1": {Public: netip.MustParseAddr("127.66.9.2")}},
		elastic:   map[netip.Addr]string{netip.MustParseAddr("127.66.9.3"): "i-2"},
	}
	if got := o.FreePublic(); got != netip.MustParseAddr("127.66.9.4") {
		t.Errorf("got %s", got)
	}
	for _, last := range []string{"127.66.9.4", "127.66.9.5", "127.66.9.6"} {
		o.elastic[netip.MustParseAddr(last)] = ""
	}
	if got := o.FreePublic(); got.IsValid() {
		t.Errorf("got %s of a prefix that is used up", got)
	}
	if o.HasElastic("i-1") || !o.HasElastic("i-2") {
		t.Error("who has an elastic address is mixed up")
	}
}

// TestStatesOfAnInstance: a terminated one stays so, whatever work on it ends later.
func TestStatesOfAnInstance(t *testing.T) {
	s := &Store{}
	if err := s.Open(filepath.Join(t.TempDir(), "api.json"), public); err != nil {
		t.Fatal(err)
	}
	err := s.Update(func(o *State) {
		o.Instances["i-1"] = &Instance{State: "running", Public: netip.MustParseAddr("127.66.9.2")}
	})
	if err != nil {
		t.Fatal(err)
	}
	after, err := s.SetState("i-1", "terminated", "why")
	if err != nil || after.State != "terminated" || after.Public.IsValid() || after.Ended.IsZero() {
		t.Errorf("got %+v, %v", after, err)
	}
	if after, _ := s.SetState("i-1", "running", ""); after.State != "" {
		t.Errorf("it is %s again", after.State)
	}
	if err := s.InStates([]string{"i-1"}, "stopped", "running"); err == nil {
		t.Error("it is running")
	}
	if after, _ := s.SetState("i-none", "stopped", ""); after.State != "" {
		t.Errorf("one that is not known is %s", after.State)
	}
}
