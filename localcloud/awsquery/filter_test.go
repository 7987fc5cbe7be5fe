package awsquery

import (
	"testing"
)

func TestWildcards(t *testing.T) {
	for _, c := range []struct {
		pattern, value string
		want           bool
	}{
		{"debian-13-*", "debian-13-amd64-20260101-local", true},
		{"debian-13-*", "debian-12-amd64", false},
		{"debian-1?-*", "debian-13-x", true},
		{"*", "", true},
		{"a.b", "axb", false},
		{"[ab]", "a", false},
		{`a\*`, "a*", true},
		{`a\*`, "ab", false},
		{"/a/*", "/a/b/c", true},
		{"exact", "exactly", false},
	} {
		if got := wildcards(c.pattern).MatchString(c.value); got != c.want {
			t.Errorf("%q and %q: %v", c.pattern, c.value, got)
		}
	}
}

func TestXML(t *testing.T) {
	const text = `<?xml version="1.0" encoding="UTF-8"?>
<A xmlns="urn:x"><b>1 &lt; 2</b><set><item><v>x</v></item><item><v> y </v></item></set><none/></A>`
	root, err := ParseXML([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if root.Get("b") != "1 < 2" || root.Get("set", "item", "v") != "x" || root.Get("no", "such") != "" {
		t.Errorf("got %q, %q", root.Get("b"), root.Get("set", "item", "v"))
	}
	if got := root.All("set", "*", "v"); len(got) != 2 || got[1] != "y" {
		t.Errorf("got %q", got)
	}
	root.Set("new", "made", "here")
	root.Remove("none")
	root.Remove("b")
	want := `<?xml version="1.0" encoding="UTF-8"?>
<A xmlns="urn:x"><set><item><v>x</v></item><item><v> y </v></item></set><made><here>new</here></made></A>`
	if string(root.Bytes()) != want {
		t.Errorf("got %s", root.Bytes())
	}
	for _, broken := range []string{"", "no XML", "<a>", "<a><b></a>"} {
		if _, err := ParseXML([]byte(broken)); err == nil {
			t.Errorf("%q was read", broken)
		}
	}
}
