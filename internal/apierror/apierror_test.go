package apierror

import (
	"slices"
	"strings"
	"testing"
)

func TestRows(t *testing.T) {
	type answer struct{ code, message string }
	seen := map[answer]bool{}
	for _, r := range Rows() {
		if r.Code == "" || r.Source == "" || r.Status < 400 || r.Status > 599 {
			t.Errorf("%q has no code, no source or no status of an error: %+v", r.Code, r)
		}
		if key := (answer{r.Code, r.Message}); seen[key] {
			t.Errorf("%s %q is there twice", r.Code, r.Message)
		} else {
			seen[key] = true
		}
		if NotFound(r.Code) && r.Message != "" && !strings.Contains(strings.ToLower(r.Message), "no") {
			t.Errorf("%s does not say in %q that something is not there", r.Code, r.Message)
		}
	}
}

// TestMatch has each row's own message, with values and with an addition, and others.
func TestMatch(t *testing.T) {
	for _, r := range Rows() {
		var values []any
		var want []string
		for i := range verb.FindAllString(r.Message, -1) {
			if strings.Contains(r.Message, "%d") {
				values, want = append(values, i+1), append(want, string(rune('1'+i)))
			} else {
				values, want = append(values, "value-"+string(rune('a'+i))), append(want, "value-"+string(rune('a'+i)))
			}
		}
		text := r.Text(values...)
		if strings.Contains(text, "%!") {
			t.Errorf("%s: %q", r.Code, text)
		}
		if got, ok := r.Match(r.Code, text); !ok || !slices.Equal(got, want) {
			t.Errorf("%s %q: matched is %v, with %q, want %q", r.Code, text, ok, got, want)
		}
		if _, ok := r.Match(r.Code, text+" More of it."); !ok {
			t.Errorf("%s: %q is not matched with an addition", r.Code, text)
		}
		if _, ok := r.Match("Other", text); ok {
			t.Errorf("%s is matched with another code", r.Code)
		}
		if _, ok := r.Match(r.Code, "something else"); ok != (r.Message == "") {
			t.Errorf("%s: another message is matched: %v", r.Code, ok)
		}
	}
}

func TestKinds(t *testing.T) {
	if !slices.IsSortedFunc(kinds, func(a, b Kind) int { return strings.Compare(a.Prefix, b.Prefix) }) {
		t.Error("the kinds are not in order")
	}
	for _, k := range kinds {
		if k.NotFound == nil && k.Malformed == nil {
			t.Errorf("%s has no error", k.Prefix)
		}
		if k.NotFound != nil && !NotFound(k.NotFound.Code) || k.Malformed != nil && NotFound(k.Malformed.Code) {
			t.Errorf("%s has the wrong errors", k.Prefix)
		}
		if got, ok := KindOf(k.Prefix); !ok || got != k {
			t.Errorf("%s is not found", k.Prefix)
		}
	}
	if _, ok := KindOf("nothing"); ok {
		t.Error("there are nothings")
	}
}

func TestTextIsBounded(t *testing.T) {
	if got := InvalidVpcIDNotFound.Text(strings.Repeat("v", 1<<20)); len(got) > 400 {
		t.Errorf("a message has %d bytes", len(got))
	}
}
