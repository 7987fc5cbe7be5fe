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

// definition matches the first line of a doc comment that defines its name by a clause, as in "Input is what a volume
// is made of". Such a comment has the reader guess what kind of thing it is; a noun says it: "Input is a request".
var definition = regexp.MustCompile(
	`^// (?:Package |Command )?[\w.-]+(?:(?:,| and) [\w.-]+)* (?:is|are) (what|who|whose|where|how)\b ?(\w*)`,
)

// quantities may follow "how" there: they say that it is a duration or a number.
var quantities = regexp.MustCompile(`^(?:far|long|many|much|often|old)$`)

// TestDefinitionsNameAKind reads the doc comments of all Go files that no program wrote.
func TestDefinitionsNameAKind(t *testing.T) {
	read := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if len(name) > 2 && name[0] == '.' || name == "node_modules" || name == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		read++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, line := range clausesIn(string(text)) {
			t.Errorf("%s: %s\nhint: name the kind of thing, as an id, a path, a request or a result", path, line)
		}
		return nil
	})
	if err != nil || read == 0 {
		t.Errorf("read %d files, %v", read, err)
	}
}

// TestClausesAreFound has comments that are taken, and those that are not.
func TestClausesAreFound(t *testing.T) {
	for text, found := range map[string]bool{
		"// Input is what a volume is made of.":                                        true,
		"// Input and output are what a volume is made of.":                            true,
		"// Package a is what an instance does.\npackage a":                            true,
		"x := 1\n\t// caller is who runs this.":                                        true,
		"// Path is where it lies.":                                                    true,
		"// Run is how it runs.":                                                       true,
		"// limit is how long it may take.":                                            false,
		"// Input is the request. A volume is what EC2 makes of it.":                   false,
		"// Input is the request of a volume, which\n// Output is what is made of it.": false,
	} {
		if got := len(clausesIn(text)) > 0; got != found {
			t.Errorf("%q: found is %t", text, got)
		}
	}
}

// clausesIn are the first lines of comments that define a name by a clause.
func clausesIn(text string) []string {
	var found []string
	inComment := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		m := definition.FindStringSubmatch(line)
		if m != nil && !inComment && (m[1] != "how" || !quantities.MatchString(m[2])) {
			found = append(found, line)
		}
		inComment = strings.HasPrefix(line, "//")
	}
	return found
}
