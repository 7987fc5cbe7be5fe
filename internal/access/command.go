package access

import (
	"regexp"
	"strings"
)

// Command is what ssh(1) gets to run something on a host, or to log in where there are no words. The double dash
// keeps it from taking a word for an option of its own, one that runs a program on this machine for example. The
// words of a command are joined by ssh(1), and a shell on the host parts them: several are words of a command and
// come there as they are here; a single one is a text for that shell.
func Command(host string, words ...string) []string {
	if len(words) < 2 {
		return append([]string{"--", host}, words...)
	}
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = Quoted(word)
	}
	return []string{"--", host, strings.Join(quoted, " ")}
}

// plain is a word that no shell makes anything else of.
var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+:,./-]+$`)

// Quoted is a text as one word of a shell.
func Quoted(text string) string {
	if plain.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
