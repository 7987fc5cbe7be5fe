package main

import (
	"slices"
	"strings"
	"testing"
)

const tunerSample = `[--] Skipped version check for MySQLTuner script
[!!] Your MySQL version is EOL software!  Upgrade soon!
-------- Security Recommendations ------------------------------------------------------------------
[OK] There are no anonymous accounts for any database users
[!!] User 'guest@%' has no password set.
[--] There are 620 basic passwords in the list.

-------- CVE Security Recommendations --------------------------------------------------------------
[OK] NO SECURITY CVE FOUND FOR YOUR VERSION

-------- Performance Metrics -----------------------------------------------------------------------
[!!] Aborted connections: 4.55%  (1/22)
`

func TestMySQLTunersReport(t *testing.T) {
	_, found, err := parseMySQLTuner(tunerSample)
	if want := []finding{
		{"User 'guest@%' has no password set.", "Security Recommendations"},
	}; err != nil ||
		!slices.Equal(found, want) {
		t.Errorf("got %v, %v, want %v: what is said of security and nothing else", found, err, want)
	}
	before, _, _ := strings.Cut(tunerSample, "-------- CVE")
	for name, text := range map[string]string{
		"empty":   "",
		"cut off": before,
		"nothing judged": strings.ReplaceAll(strings.ReplaceAll(tunerSample, "[OK]", "[--]"),
			"[!!]", "[--]"),
		"a query that the server does not know": strings.Replace(tunerSample, "User 'guest@%' has no password set.",
			"Failed to execute: SELECT PASSWORD('a')", 1),
	} {
		if _, _, err := parseMySQLTuner(text); err == nil {
			t.Errorf("%s: it is taken for a judgement", name)
		}
	}
}
