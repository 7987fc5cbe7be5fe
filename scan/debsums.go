package main

import (
	"context"
	"fmt"
	"strings"
)

// debsums compares the files of all packages with what their packages brought; configuration is not looked at.
func debsums(ctx context.Context, m *machine) (verdict string, found []finding, err error) {
	// It ends with 2 if a file differs.
	out, err := m.root(ctx, `LC_ALL=C debsums 2>&1 || [ $? -eq 2 ]`, nil)
	if err != nil {
		return "", nil, err
	}
	return parseDebsums(out)
}

func parseDebsums(out string) (verdict string, found []finding, err error) {
	same := 0
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[len(fields)-1] == "OK":
			same++
		default:
			id, _ := strings.CutPrefix(strings.TrimSpace(line), "debsums: ")
			if fields[0] != "debsums:" {
				id = fields[0]
			}
			found = append(found, finding{id: id, text: strings.TrimSpace(line)})
		}
	}
	if same == 0 {
		return "", nil, fmt.Errorf("debsums has compared nothing: %s", strings.TrimSpace(out))
	}
	return fmt.Sprintf("%d files as packaged", same), found, nil
}
