package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// mysqltuner runs MySQLTuner of this machine on the instance, as root over the local socket, and reads what it says of
// security. Its advice on speed is for a server that has been at work for days.
func mysqltuner(ctx context.Context, m *machine) (string, []finding, error) {
	files, err := exec.CommandContext(ctx, "tar", "-C", "/usr", "-cf", "-", "bin/mysqltuner", "share/mysqltuner").
		Output()
	if err != nil {
		return "", nil, fmt.Errorf("read MySQLTuner: %w", err)
	}
	// It begins each query with a command of the client, which MySQL's has to be allowed. In some servers' figures it
	// divides by zero, after the part that counts.
	out, err := m.root(ctx, `d=$(mktemp -d) && tar -C "$d" -xf - &&
		printf '[client]\nuser=root\n[mysql]\nloose-commands=ON\n' >"$d/my.cnf" &&
		{ perl "$d/bin/mysqltuner" --nocolor --defaults-file "$d/my.cnf" \
			--passwordfile "$d/share/mysqltuner/basic_passwords.txt" \
			--cvefile "$d/share/mysqltuner/vulnerabilities.csv" 2>/dev/null || true; } && rm -r "$d"`, files)
	if err != nil {
		return "", nil, err
	}
	return parseMySQLTuner(out)
}

// parseMySQLTuner reads the two parts on security. Each must have judged something and have an end.
func parseMySQLTuner(out string) (string, []finding, error) {
	var found []finding
	passed, parts, within := map[string]int{}, 0, ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "-------- ") {
			if within != "" {
				parts++
			}
			if within = strings.Trim(line, "- "); !strings.HasSuffix(within, "Security Recommendations") {
				within = ""
			}
			continue
		}
		text, bad := strings.CutPrefix(line, "[!!] ")
		switch {
		case within == "":
		case strings.HasPrefix(text, "Failed to execute: "), strings.HasPrefix(text, "FAIL Execute SQL"):
			return "", nil, fmt.Errorf(
				"read MySQLTuner's report: it is too old for this server, which does not know its %q",
				strings.TrimPrefix(text, "Failed to execute: "),
			)
		case bad:
			found = append(found, finding{text, within})
			passed[within]++
		case strings.HasPrefix(line, "[OK] "):
			passed[within]++
		}
	}
	if parts != 2 || len(passed) != 2 {
		return "", nil, fmt.Errorf(
			"read MySQLTuner's report: %d of 2 parts on security are whole, %d have judged something",
			parts,
			len(passed),
		)
	}
	return fmt.Sprintf("%d findings on security", len(found)), found, nil
}
