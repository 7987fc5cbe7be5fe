package main

import (
	"slices"
	"testing"
)

func TestParseTestSSL(t *testing.T) {
	const out = `[
{"id": "engine_problem", "severity": "WARN", "finding": "No engine"},
{"id": "TLS1", "severity": "OK", "finding": "not offered"},
{"id": "TLS1_1", "severity": "LOW", "finding": "offered (deprecated)"},
{"id": "TLS1_2", "severity": "OK", "finding": "offered"},
{"id": "TLS1_3", "severity": "OK", "finding": "offered with final"},
{"id": "HSTS_time", "severity": "OK", "finding": "730 days"},
{"id": "cipher_order", "severity": "HIGH", "finding": "NOT a cipher order configured"},
{"id": "scanTime", "severity": "INFO", "finding": "40"}]`
	verdict, found, err := parseTestSSL([]byte(out))
	if err != nil || verdict != "TLS1.1 TLS1.2 TLS1.3, 8 checks" {
		t.Fatalf("%q, %v", verdict, err)
	}
	want := []finding{
		{"engine_problem", "WARN: No engine"},
		{"TLS1_1", "LOW: offered (deprecated)"},
		{"cipher_order", "HIGH: NOT a cipher order configured"},
	}
	if !slices.Equal(found, want) {
		t.Errorf("got %q", found)
	}
	for _, none := range []string{
		"", "[]",
		`[{"id": "scanProblem", "severity": "FATAL", "finding": "cannot connect"}, {"id": "scanTime", "severity": ` +
			`"INFO", "finding": "1"}]`,
		`[{"id": "TLS1_3", "severity": "OK", "finding": "offered"}]`, // cut off
	} {
		if _, _, err := parseTestSSL([]byte(none)); err == nil {
			t.Errorf("%q is taken for a judgement", none)
		}
	}
}
