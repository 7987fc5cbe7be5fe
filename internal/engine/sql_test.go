package engine

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// The client gets each byte of the statements, and leaves it as it is.
func TestStatementsReachTheClientAsTheyAre(t *testing.T) {
	for statements, binary := range map[string]bool{
		"SELECT 'K\xf8ge';\n":                false,
		"SELECT _binary '\xff\xd8\x00';\n":   true,
		"INSERT INTO t VALUES ('a\r\nb');\n": true,
	} {
		var got program
		check := sqlCheck{task.SQL{Statements: statements}, func(_ context.Context, p program) (string, error) {
			got = p
			return "", nil
		}}
		c, err := check.check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got.stdin != statements || slices.Contains(got.argv, "--binary-mode") != binary {
			t.Errorf("%q: the client got %q, by %q", statements, got.stdin, got.argv)
		}
	}
}

// A seed may have any size; what is told of it has not.
func TestLargeStatementsAreCounted(t *testing.T) {
	c, err := sqlCheck{task.SQL{Statements: strings.Repeat("x", diffLimit+1)}, nil}.check(t.Context())
	if err != nil || c.diff != "65537 bytes of SQL" {
		t.Errorf("%v, %.100q", err, c.diff)
	}
}
