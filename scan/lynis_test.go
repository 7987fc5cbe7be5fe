package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParseLynis(t *testing.T) {
	const report = `not_asked[]=KRNL-6000:kernel.sysrq
# Lynis Report
report_version_major=1
warning[]=FINT-4316|No AIDE database was found, needed for AIDE functionality|-|-|
suggestion[]=SSH-7408|Consider hardening SSH configuration|MaxSessions (set 10 to 2)|-|
hardening_index=76
finish=true
`
	verdict, found, err := parseLynis(report)
	if err != nil || verdict != "index 76, 1 not asked of a container" {
		t.Errorf("verdict %q, %v", verdict, err)
	}
	want := []finding{
		{"FINT-4316", "No AIDE database was found, needed for AIDE functionality"},
		{"hardening_index", "76, it should be at least 80"},
	}
	if !slices.Equal(found, want) {
		t.Errorf("got %q", found)
	}
	for name, cut := range map[string]string{
		"no index": strings.Replace(report, "hardening_index=76\n", "", 1),
		"cut off":  strings.Replace(report, "finish=true\n", "", 1),
		"empty":    "",
	} {
		if _, _, err = parseLynis(cut); err == nil {
			t.Errorf("%s: it is taken for a judgement", name)
		}
	}
	if _, found, err = parseLynis("hardening_index=80\nfinish=true\n"); err != nil || len(found) != 0 {
		t.Errorf("80 is not enough: %v, %v", found, err)
	}
}
