// Package plaintext cleans text that others wrote (machines, pages that were asked, EC2) before a terminal, a report or
// an error shows it. Such text may hold sequences by which a terminal clears its screen, fills the clipboard or shows
// words in another order than they stand in; nothing of that is left. What it does not do: tell whether text is true.
package plaintext

import (
	"bytes"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Most is the number of bytes to which Line and Lines cut a text; its beginning is kept.
const Most = 64 << 10

// printable is the rune that stands for r. Spaces, line ends and tabs are for the caller to judge.
func printable(r rune) rune {
	if r == utf8.RuneError || !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) {
		// Control and format characters, those that turn the direction of writing among them, and what is no UTF-8.
		return unicode.ReplacementChar
	}
	return r
}

// Line is a text in one line, in printable characters.
func Line(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		return printable(r)
	}, capped(text))), " ")
}

// Lines is a text in printable characters, line ends and tabs.
func Lines(text string) string { return keepingLines(capped(text)) }

func keepingLines(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return printable(r)
	}, strings.ReplaceAll(text, "\r\n", "\n"))
}

func capped(text string) string {
	if len(text) <= Most {
		return text
	}
	end := Most
	for end > Most-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

// Error is an error whose text is in printable characters, line ends and tabs. It is still the error that it was.
func Error(err error) error {
	if err == nil || Lines(err.Error()) == err.Error() {
		return err
	}
	return &cleaned{err}
}

type cleaned struct{ error }

func (c *cleaned) Error() string { return Lines(c.error.Error()) }

func (c *cleaned) Unwrap() error { return c.error }

// Writer lets printable characters, line ends and tabs through to another writer, and puts U+FFFD in the place of all
// else. It is the last line of defence: what writes colours of its own or moves the cursor uses the writer behind it.
type Writer struct {
	// W is the writer behind it.
	W io.Writer

	// begun is a character of which the rest is still to come.
	begun []byte
}

// Write writes p, cleaned.
func (w *Writer) Write(p []byte) (int, error) {
	text := append(w.begun, p...)
	whole := len(text)
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if start := len(text) - back; utf8.RuneStart(text[start]) {
			if !utf8.FullRune(text[start:]) {
				whole = start
			}
			break
		}
	}
	w.begun = bytes.Clone(text[whole:])
	if _, err := io.WriteString(w.W, keepingLines(string(text[:whole]))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Behind is the writer behind w, which is w itself if nothing is in front of it: for programs that are run for the user
// and speak to the terminal themselves, and for what moves the cursor.
func Behind(w io.Writer) io.Writer {
	if cleaning, ok := w.(*Writer); ok {
		return cleaning.W
	}
	return w
}
