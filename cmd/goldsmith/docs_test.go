package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	fenced  = regexp.MustCompile("(?s)```[a-z]*\n(.*?)```")
	inline  = regexp.MustCompile("`(goldsmith [^`]*)`")
	comment = regexp.MustCompile(`(?m)(?:^|\s)#.*$`)
	// A command in a line of a shell, up to what belongs to the shell.
	inLine = regexp.MustCompile(`(?m)(?:^ *|\(|[|;&] *)(?:\.build/)?goldsmith ` +
		`((?:'[^'\n]*'|"[^"\n]*"|[^'"|&;<>()#\n])+)`)
	word = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
)

// printed checks that a command that is printed somewhere is one that there is, with the flags and arguments it
// takes.
func printed(t *testing.T, where, line string, whole bool) {
	t.Helper()
	var words []string
	for _, w := range word.FindAllString(line, -1) {
		words = append(words, strings.Trim(w, `'"`))
	}
	cmd, rest, err := rootCommand().Find(words)
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if args := cmd.Flags().Args(); err == nil && (whole || len(args) > 0) {
		if err = cmd.ValidateArgs(args); err == nil && !cmd.Runnable() {
			err = missingVerb(cmd)
		}
	}
	if err != nil {
		t.Errorf("%s: goldsmith %s: %v", where, line, err)
	}
}

// TestPrintedCommandsAreThere reads every page for users, and the examples of the commands' own help.
func TestPrintedCommandsAreThere(t *testing.T) {
	count := 0
	check := func(where, line string, whole bool) {
		count++
		printed(t, where, strings.TrimSpace(line), whole)
	}
	each(rootCommand(), func(cmd *cobra.Command) {
		for _, match := range inLine.FindAllStringSubmatch(comment.ReplaceAllString(cmd.Example, ""), -1) {
			check(cmd.CommandPath()+" --help", match[1], true)
		}
	})
	for _, root := range []string{"../../README.md", "../../docs", "../../examples", "../../scripts/golden"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text := string(content)
			for _, block := range fenced.FindAllStringSubmatch(text, -1) {
				for _, match := range inLine.FindAllStringSubmatch(comment.ReplaceAllString(block[1], ""), -1) {
					check(path, match[1], true)
				}
			}
			for _, match := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
				check(path, strings.TrimPrefix(match[1], "goldsmith "), false)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if count < 80 {
		t.Errorf("only %d commands were found", count)
	}
}
