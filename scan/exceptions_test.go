package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestExceptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "exceptions.hcl")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`
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
`)
	e, err := readExceptions(path)
	if err != nil {
		t.Fatal(err)
	}
	found := []finding{{id: "CAA"}, {id: "OLD"}, {id: "NEW"}}
	unlisted, excused, stale := e.settle(scanner{name: "tls", tier: "web"}, found)
	want := []finding{{id: "OLD"}, {id: "NEW"}}
	if !slices.Equal(unlisted, want) || excused != 1 || !slices.Equal(stale, []string{"ENGINE"}) {
		t.Errorf("unlisted %v, excused %d, stale %v", unlisted, excused, stale)
	}
	write(`exception "tls" "CAA" { reason = "" }`)
	if _, err := readExceptions(path); err == nil {
		t.Error("an exception without a reason is taken")
	}
}
