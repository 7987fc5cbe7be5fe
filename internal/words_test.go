package internal_test

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The words of the default stack: its tiers, the port of its database and the paths of its page. They may be in the
// provisioners of the default stack, in the project's own build and in examples.
var defaultStackWords = regexp.MustCompile(
	`(?i)\b(web|db|mysql|mariadb|nginx|webapp)\b|\b3306\b|/health\b|/livez\b|/users\b`,
)

// generic are the directories whose packages, and all below them, know tiers and what an image says of itself, and no
// tier or service by its name.
var generic = []string{
	"builder", "internal/firstboot", "internal/imagespec", "internal/instance", "internal/report", "internal/stack",
}

// allowed are the packages below generic that may use the words, and why.
var allowed = map[string]string{
	"internal/firstboot/mysql":    "the setup of one kind of server",
	"internal/stack/defaultstack": "the default stack",
	"internal/stack/stacktest":    "the tests' stack is the default one",
}

// TestNoWordOfTheDefaultStack reads the literals and names of the generic packages' code. Comments may give examples.
func TestNoWordOfTheDefaultStack(t *testing.T) {
	for _, dir := range generic {
		read := 0
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name := filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))
			if d.IsDir() && allowed[name] != "" {
				return fs.SkipDir
			}
			if d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			read++
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, fault := range wordsIn(text) {
				t.Errorf("%s: %s is a word of the default stack", name, fault)
			}
			return nil
		})
		if err != nil || read == 0 {
			t.Errorf("%s: read %d files, %v", dir, read, err)
		}
	}
}

// TestWordsAreFound: a check that finds nothing would pass for ever.
func TestWordsAreFound(t *testing.T) {
	const text = "package a\n// web is fine in a comment\n" +
		"var web = f(\"db\", 3306, `GET /health`, \"webbing\", 13306)\n"
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
