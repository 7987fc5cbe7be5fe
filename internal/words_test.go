package internal

import (
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The words of the default stack: its tiers, the port of its database and the paths of its page. They may be in the
// provisioners of the default stack, in the project's own build and in examples.
var defaultStackWords = regexp.MustCompile(`(?i)\b(web|db|mysql|mariadb|nginx|webapp)\b|\b3306\b|/health\b|/livez\b|/users\b`)

// generic are the packages that know tiers and what an image says of itself, and no tier or service by its name.
var generic = []string{
	"internal/firstboot",
	"internal/imagespec",
	"internal/instance",
}

// TestNoWordOfTheDefaultStack reads the literals and names of the generic packages' code. Comments may give examples.
func TestNoWordOfTheDefaultStack(t *testing.T) {
	for _, dir := range generic {
		paths, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: found %d files, %v", dir, len(paths), err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, fault := range wordsIn(text) {
				t.Errorf("%s: %s is a word of the default stack", path, fault)
			}
		}
	}
}

// TestWordsAreFound: a check that finds nothing would pass for ever.
func TestWordsAreFound(t *testing.T) {
	const text = "package a\n// web is fine in a comment\nvar web = f(\"db\", 3306, `GET /health`, \"webbing\", 13306)\n"
	if got := strings.Join(wordsIn([]byte(text)), ";"); got != "web;\"db\";3306;`GET /health`" {
		t.Errorf("got %s", got)
	}
}

// wordsIn are the literals and names of a file that have a word of the default stack.
func wordsIn(text []byte) []string {
	files := token.NewFileSet()
	var s scanner.Scanner
	s.Init(files.AddFile("", files.Base(), len(text)), text, nil, 0)
	var found []string
	for {
		_, kind, literal := s.Scan()
		if kind == token.EOF {
			return found
		}
		if (kind.IsLiteral() || kind == token.IDENT) && defaultStackWords.MatchString(literal) {
			found = append(found, literal)
		}
	}
}
