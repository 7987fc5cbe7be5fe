package plaintext

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"
)

// harmless tells whether a terminal shows a text as it is.
func harmless(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x200e || r == 0x200f ||
			r >= 0x202a && r <= 0x202e ||
			r >= 0x2066 && r <= 0x2069
	})
}

var hostile = []struct{ name, text string }{
	{"clipboard and screen", "a\x1b]52;c;ZXZpbA==\a\x1b[2Jb"},
	{"carriage return", "bad\rgood"},
	{"eight-bit CSI, alone", "a\x9b2Jb"},
	{"eight-bit CSI, as a character", "a\u009b2Jb"},
	{"title", "\x1b]0;x\x1b\\"},
	{"right to left", "a\u202egpj.exe\u202c\u2066\u2069"},
	{"NUL and DEL", "a\x00b\x7f"},
	{"not UTF-8", "K\xf8ge \xff\xfe \xe2\x82"},
	{"a megabyte", strings.Repeat("\x1b[31mx\n", 200000)},
	{"line separators", "a\u2028b\u2029c\x0bd\x0ce"},
}

func TestNothingSteersATerminal(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			if got := Line(c.text); !harmless(got) || strings.ContainsAny(got, "\n\t") || len(got) > 3*Most+3 {
				t.Errorf("Line: %.200q, %d bytes", got, len(got))
			}
			if got := Lines(c.text); !harmless(got) || len(got) > 3*Most+3 {
				t.Errorf("Lines: %.200q, %d bytes", got, len(got))
			}
			var whole, bytewise strings.Builder
			if n, err := (&Writer{W: &whole}).Write([]byte(c.text)); n != len(c.text) || err != nil {
				t.Errorf("Writer: %d, %v", n, err)
			}
			w := &Writer{W: &bytewise}
			for i := range len(c.text) {
				if _, err := w.Write([]byte{c.text[i]}); err != nil {
					t.Fatal(err)
				}
			}
			if !harmless(whole.String()) || !harmless(bytewise.String()) {
				t.Errorf("Writer: %.200q, byte by byte %.200q", whole.String(), bytewise.String())
			}
			if err := Error(errors.New(c.text)); !harmless(err.Error()) {
				t.Errorf("Error: %.200q", err)
			}
		})
	}
}

func TestHonestTextStaysAsItIs(t *testing.T) {
	const text = "PLAY [db] ✓ Zürich: 5 µs → done\n\tindented, 日本語\n"
	if got := Lines(text); got != text {
		t.Errorf("Lines: %q", got)
	}
	if got := Line(" two\n lines "); got != "two lines" {
		t.Errorf("Line: %q", got)
	}
	if got := Lines("a\r\nb"); got != "a\nb" {
		t.Errorf("the line ends of a console: %q", got)
	}
	var b strings.Builder
	w := &Writer{W: &b}
	for i := range len(text) {
		if _, err := w.Write([]byte{text[i]}); err != nil {
			t.Fatal(err)
		}
	}
	if b.String() != text {
		t.Errorf("Writer, byte by byte: %q", b.String())
	}
}

func TestErrorIsStillTheErrorThatItWas(t *testing.T) {
	err := Error(fmt.Errorf("open \x1b[2J: %w", fs.ErrNotExist))
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != "open \ufffd[2J: file does not exist" {
		t.Errorf("got %q", err)
	}
	if plain := errors.New("plain"); Error(plain) != plain || Error(nil) != nil {
		t.Error("an error that is clean should stay itself")
	}
}

func TestWriterTellsOfABrokenTerminal(t *testing.T) {
	if _, err := (&Writer{W: failing{}}).Write([]byte("x")); err == nil {
		t.Error("a write that failed is told as done")
	}
	if Behind(&Writer{W: failing{}}) != (failing{}) || Behind(failing{}) != (failing{}) {
		t.Error("the writer behind is another")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, fs.ErrClosed }
