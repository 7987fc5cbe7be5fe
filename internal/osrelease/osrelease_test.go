package osrelease

import (
	"maps"
	"testing"
)

func TestParse(t *testing.T) {
	got := Parse(`# what this is
ID=debian
VERSION_ID="13"
PRETTY_NAME="A \"quoted\" one, \$5 \\ 'inside'"
NAME='plain \" text'
EMPTY=""
HALF="
no assignment
`)
	want := map[string]string{
		"ID":          "debian",
		"VERSION_ID":  "13",
		"PRETTY_NAME": `A "quoted" one, $5 \ 'inside'`,
		"NAME":        `plain \" text`,
		"EMPTY":       "",
		"HALF":        `"`,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
