// Package osrelease reads os-release(5), which says what distribution a system is.
package osrelease

import "strings"

// Parse reads the file's assignments. Of what a shell takes it takes comments, and values that are quoted as a whole,
// as os-release(5) allows no more.
func Parse(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		values[key] = unquote(value)
	}
	return values
}

// escapes are the characters that a backslash takes the meaning of, in double quotes.
var escapes = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\$`, `$`, "\\`", "`")

func unquote(value string) string {
	if len(value) < 2 || value[0] != value[len(value)-1] {
		return value
	}
	switch inner := value[1 : len(value)-1]; value[0] {
	case '"':
		return escapes.Replace(inner)
	case '\'':
		return inner
	}
	return value
}
