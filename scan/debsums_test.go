package main

import (
	"slices"
	"testing"
)

func TestParseDebsums(t *testing.T) {
	const out = `/usr/sbin/cron                                                                OK
/usr/bin/sudo                                                             FAILED
debsums: missing file /usr/bin/passwd (from passwd package)
`
	verdict, found, err := parseDebsums(out)
	if err != nil || verdict != "1 files as packaged" {
		t.Errorf("verdict %q, %v", verdict, err)
	}
	var ids []string
	for _, f := range found {
		ids = append(ids, f.id)
	}
	if want := []string{
		"/usr/bin/sudo",
		"missing file /usr/bin/passwd (from passwd package)",
	}; !slices.Equal(ids, want) {
		t.Errorf("got %q", ids)
	}
	if _, _, err := parseDebsums("debsums: command not found\n"); err == nil {
		t.Error("nothing was compared, and it passes")
	}
}
