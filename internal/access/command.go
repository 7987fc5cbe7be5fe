package access

import (
	"fmt"
	"strings"

	"al.essio.dev/pkg/shellescape"
)

// Command is a text for the shell of an instance, to run some words there. A single one is such a text already; several
// are a command and its arguments, and get there as they are here. It is empty where there are no words.
func Command(words ...string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return shellescape.QuoteCommand(words)
}

// After is the command that stands behind an instance's name on the command line, with or without a -- ahead of it. An
// option there was meant for the command line itself, which must not take it for its own: no command begins so.
func After(words []string) ([]string, error) {
	if len(words) > 0 && words[0] == "--" {
		return words[1:], nil
	}
	if len(words) > 0 && strings.HasPrefix(words[0], "-") {
		return nil, fmt.Errorf(
			"%.40q behind the instance's name is taken for the command to run there\nhint: options go "+
				"ahead of the name",
			words[0],
		)
	}
	return words, nil
}

// Quoted is a text as one word of a shell.
func Quoted(text string) string { return shellescape.Quote(text) }
