package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// testssl has testssl.sh speak to the web server from the outside.
func testssl(ctx context.Context, m *machine) (verdict string, found []finding, err error) {
	err = underAuthority(ctx, m, func(dir, ca string) error {
		report := filepath.Join(dir, "testssl.json")
		cmd := exec.CommandContext(ctx, "testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none",
			"--add-ca", ca, "--jsonfile", report, "--ip", m.public, webName+":443")
		cmd.Dir = dir
		out, ended := cmd.CombinedOutput()
		// Its exit status counts findings; from 242 on they are errors of its own.
		var exit *exec.ExitError
		if ended != nil && (!errors.As(ended, &exit) || exit.ExitCode() >= 242 || exit.ExitCode() < 0) {
			return fmt.Errorf("testssl %s: %w: %s", m.public, ended, last(string(out)))
		}
		text, unread := os.ReadFile(report)
		if unread != nil {
			return fmt.Errorf("read testssl's report: %w: %s", unread, last(string(out)))
		}
		verdict, found, err = parseTestSSL(text)
		return err
	})
	return verdict, found, err
}

// parseTestSSL reads testssl.sh's list: what is of severity LOW or more, and what it could not find out, is a finding.
func parseTestSSL(text []byte) (verdict string, found []finding, err error) {
	var entries []struct{ ID, Severity, Finding string }
	if err := json.Unmarshal(text, &entries); err != nil {
		return "", nil, fmt.Errorf("read testssl's report: %w", err)
	}
	offered, judged, complete := []string{}, 0, false
	for _, e := range entries {
		switch e.Severity {
		case "OK", "INFO", "DEBUG":
			judged++
		default: // LOW, MEDIUM, HIGH, CRITICAL, and WARN and FATAL: it could not judge
			found = append(found, finding{e.ID, e.Severity + ": " + e.Finding})
		}
		if strings.HasPrefix(e.ID, "TLS1") && strings.HasPrefix(e.Finding, "offered") {
			offered = append(offered, strings.ReplaceAll(e.ID, "_", "."))
		}
		complete = complete || e.ID == "scanTime"
	}
	if !complete || len(offered) == 0 {
		return "", nil, fmt.Errorf(
			"read testssl's report: of %d entries none says that it came to its end and saw TLS offered",
			len(entries),
		)
	}
	return fmt.Sprintf("%s, %d checks", strings.Join(offered, " "), judged+len(found)), found, nil
}

// last is the end of a program's output.
func last(out string) string {
	out = strings.TrimSpace(out)
	if len(out) > 600 {
		return "…" + out[len(out)-600:]
	}
	return out
}
