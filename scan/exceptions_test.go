package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestExceptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "exceptions.hcl")
	os.WriteFile(path, []byte(`
exception "tls" "CAA" { reason = "no DNS here" }
exception "tls" "ENGINE" {
  tiers  = ["web"]
  reason = "old engine"
}
exception "tls" "OLD" {
  tiers  = ["db"]
  reason = "not for the web"
}
exception "tls" "RACE" {
  reason    = "the judge's own"
  sometimes = true
}
exception "ssh" "CAA" { reason = "another scanner's" }
`), 0o600)
	e, err := readExceptions(path)
	if err != nil {
		t.Fatal(err)
	}
	found := []finding{{id: "CAA"}, {id: "OLD"}, {id: "NEW"}}
	unlisted, excused, stale := e.settle(scanner{name: "tls", tier: "web"}, found)
	if want := []finding{
		{id: "OLD"},
		{id: "NEW"},
	}; !slices.Equal(unlisted, want) || excused != 1 ||
		!slices.Equal(stale, []string{"ENGINE"}) {
		t.Errorf("unlisted %v, excused %d, stale %v", unlisted, excused, stale)
	}
	os.WriteFile(path, []byte(`exception "tls" "CAA" { reason = "" }`), 0o600)
	if _, err := readExceptions(path); err == nil {
		t.Error("an exception without a reason is taken")
	}
}
