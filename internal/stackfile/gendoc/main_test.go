package main

import (
	"os"
	"strings"
	"testing"
)

func TestThePageIsWhatTheCommentsSay(t *testing.T) {
	want, err := generate("../../..")
	if err != nil {
		t.Fatal(err)
	}
	is, err := os.ReadFile("../../../docs/stack-file.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(is) != want {
		t.Error("docs/stack-file.md is not what the comments say: run scripts/docs and commit")
	}
}

func TestWhatCannotBeDocumented(t *testing.T) {
	for _, c := range []struct{ name, source, want string }{
		{"no comment", "type A struct {\n\tB string `hcl:\"b\"`\n}", "A.B needs a tag and a comment"},
		{"no tag", "type A struct {\n\t// B is.\n\tB string\n}", "A.B needs a tag and a comment"},
		{"a type without a name", "type A struct {\n\t// B is.\n\tB chan int `hcl:\"b\"`\n}", "chan int"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := t.TempDir() + "/a.go"
			if err := os.WriteFile(path, []byte("package a\n"+c.source), 0o600); err != nil {
				t.Fatal(err)
			}
			_, structs, err := readStructs(path)
			if err != nil {
				t.Fatal(err)
			}
			var page strings.Builder
			if err := writeFields(&page, "A", structs["A"]); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v and the page %q, want an error with %q", err, page.String(), c.want)
			}
		})
	}
}

func TestFieldsOfAPage(t *testing.T) {
	path := t.TempDir() + "/a.go"
	source := "package a\n\n// A is all.\ntype A struct {\n\tZ\n\t// Two\n\t// lines.\n\tB int32 `hcl:\"b\"`\n" +
		"\t// A block.\n\tC Z `hcl:\"c,block,db\"`\n}\n"
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	docs, structs, err := readStructs(path)
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	if err := writeFields(&page, "A", structs["A"]); err != nil {
		t.Fatal(err)
	}
	want := "- `b` (number) - Two\n  lines.\n\n- `c \"db\"` (block) - A block.\n\n"
	if page.String() != want || docs["A"] != "A is all.\n" {
		t.Errorf("got %q and %q, want %q", page.String(), docs["A"], want)
	}
}
