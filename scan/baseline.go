package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// A control is one thing that has to be so on an instance.
type control struct {
	id string
	// ask is a shell command, run as root; what it prints is the answer, and a failure is part of it.
	ask string
	// want is a regular expression for the whole answer, without the line feed at its end. Empty wants no answer.
	want string
}

// Between the answers of a script, and between an answer's id and its text, are characters that no answer has.
const recordSeparator, unitSeparator = "\x1e", "\x1f"

// baseline asks for all controls of a list, in one go. before is a shell script with what they have in common.
func baseline(before string, controls []control) func(context.Context, *machine) (string, []finding, error) {
	return func(ctx context.Context, m *machine) (string, []finding, error) {
		out, err := m.root(ctx, "sh -s", []byte(baselineScript(before, controls)))
		if err != nil {
			return "", nil, err
		}
		return judge(out, controls)
	}
}

func baselineScript(before string, controls []control) string {
	var script strings.Builder
	script.WriteString("export LC_ALL=C\n" + before + "\n")
	for _, c := range controls {
		fmt.Fprintf(&script, "printf '\\036%%s\\037' '%s'\n( %s\n) </dev/null 2>&1 || echo \"exit status $?\"\n",
			c.id, c.ask)
	}
	script.WriteString("printf '\\036end\\037'\n")
	return script.String()
}

// judge compares the answers with what is wanted.
func judge(out string, controls []control) (verdict string, found []finding, err error) {
	answers := map[string]string{}
	for _, record := range strings.Split(out, recordSeparator) {
		if id, text, ok := strings.Cut(record, unitSeparator); ok {
			answers[id] = strings.TrimRight(text, "\n")
		}
	}
	if _, ok := answers["end"]; !ok {
		return "", nil, fmt.Errorf("the questions were not asked to their end")
	}
	for _, c := range controls {
		answer, ok := answers[c.id]
		if !ok {
			return "", nil, fmt.Errorf("there is no answer for the control %q", c.id)
		}
		want, err := regexp.Compile(`^(?:` + c.want + `)$`)
		if err != nil {
			return "", nil, fmt.Errorf("control %q: %w", c.id, err)
		}
		if !want.MatchString(answer) {
			found = append(found, finding{id: c.id, text: fmt.Sprintf("%q, wanted %q", short(answer), c.want)})
		}
	}
	return fmt.Sprintf("%d controls", len(controls)), found, nil
}

// short keeps a long answer from filling the table.
func short(text string) string {
	if len(text) > 300 {
		return text[:300] + "…"
	}
	return text
}
