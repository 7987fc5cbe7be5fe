package access

import (
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

// Quoted is a text as one word of a shell.
func Quoted(text string) string { return shellescape.Quote(text) }
