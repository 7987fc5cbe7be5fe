package instance

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

func TestAssertionTravelsInTheImage(t *testing.T) {
	a := Assertion{Name: "The page's title", Shell: "curl -s localhost", Output: "Goldsmith", Timeout: "5s"}
	made, err := a.Task()
	if err != nil {
		t.Fatal(err)
	}
	file := made.Spec.(task.File)
	if file.Path != AssertDir+"/the-page-s-title.json" {
		t.Errorf("it lies at %s", file.Path)
	}
	open, err := file.Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	content, err := io.ReadAll(open)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.json"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Assertions(dir); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], a) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Assertions(dir); err == nil {
		t.Error("a broken one is passed over")
	}
}

func TestAssertionsThatAreRefused(t *testing.T) {
	for want, a := range map[string]Assertion{
		"name":    {Argv: []string{"true"}},
		"argv":    {Name: "neither"},
		"output":  {Name: "pattern", Shell: "true", Output: "("},
		"timeout": {Name: "long", Shell: "true", Timeout: "1h"},
	} {
		if err := a.Validate(); err == nil || !strings.Contains(err.Error(), want+":") {
			t.Errorf("%+v: %v, want %s", a, err, want)
		}
	}
}
