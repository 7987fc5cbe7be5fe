package main

import (
	"slices"
	"testing"
)

func TestParseObservatory(t *testing.T) {
	const out = `{"scan": {"grade": "C+", "error": null, "score": 60, "testsPassed": 1, "testsQuantity": 3}, "tests": {
		"redirection": {"pass": false, "result": "redirection-not-needed-no-http"},
		"x-frame-options": {"pass": true, "result": "x-frame-options-sameorigin-or-deny"},
		"content-security-policy": {"pass": false, "result": "csp-not-implemented"}}}`
	verdict, found, err := parseObservatory([]byte(out))
	if err != nil || verdict != "C+, 60 points, 1 of 3 tests" {
		t.Fatalf("%q, %v", verdict, err)
	}
	want := []finding{
		{"content-security-policy", "csp-not-implemented"},
		{"grade", "C+, wanted A+"},
		{"redirection", "redirection-not-needed-no-http"},
	}
	if !slices.Equal(found, want) {
		t.Errorf("got %q", found)
	}
	if _, found, err := parseObservatory([]byte(`{"scan": {"grade": "A+"}}`)); err != nil || len(found) != 0 {
		t.Errorf("A+: %q, %v", found, err)
	}
	for _, none := range []string{
		"", "{}", `{"error": "The site seems to be down."}`, `{"scan": {"grade": null, "error": "site-down"}}`,
	} {
		if _, _, err := parseObservatory([]byte(none)); err == nil {
			t.Errorf("%q is taken for a judgement", none)
		}
	}
}
