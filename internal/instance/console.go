package instance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"regexp"
	"strings"
)

// sumPrefix starts the checksum at the end of a console line.
const sumPrefix = " crc32:"

// ConsoleLine is a value as one line of a console, as JSON behind a prefix. A console is torn by what the kernel says,
// and a serial one loses characters: by the checksum at its end a reader knows a line that is whole.
func ConsoleLine(prefix string, value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("write a line %s: %w", strings.TrimSpace(prefix), err)
	}
	return prefix + string(text) + checksum(text), nil
}

func checksum(text []byte) string { return fmt.Sprintf("%s%08x", sumPrefix, crc32.ChecksumIEEE(text)) }

// findLine reads the JSON of the last line with a prefix that is whole. Lines are repeated, so that an earlier one
// serves where the last is torn.
func findLine(console []byte, prefix string, into any) bool {
	for end := len(console); ; {
		i := bytes.LastIndex(console[:end], []byte(prefix))
		if i < 0 {
			return false
		}
		line, _, ended := bytes.Cut(console[i+len(prefix):], []byte("\n"))
		if text, ok := wholeLine(line); ended && ok && json.Unmarshal(text, into) == nil {
			return true
		}
		end = i
	}
}

// wholeLine returns a line's text before its checksum; ok is false if the checksum is wrong.
func wholeLine(line []byte) (text []byte, ok bool) {
	line = bytes.TrimRight(line, "\r")
	at := bytes.LastIndex(line, []byte(sumPrefix))
	if at < 0 {
		return nil, false
	}
	return line[:at], string(line[at:]) == checksum(line[:at])
}

// repeated matches what an instance writes to its console again and again: reports, and host keys between their marks.
var repeated = regexp.MustCompile(`(?:\r?\n)*(?:` + ReportPrefix + `|` + StandbyPrefix + `)[^\n]*|(?:\r?\n)*` +
	HostKeysBegin + `[^\n]*\n(?:[^\n]*\n){0,10}?` + HostKeysEnd)

// WithoutRepeated is a console without that.
func WithoutRepeated(console string) string { return repeated.ReplaceAllString(console, "") }
