package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// sshAudit has ssh-audit look at the SSH server from the outside.
func sshAudit(ctx context.Context, m *machine) (verdict string, found []finding, err error) {
	out, err := exec.CommandContext(ctx, "ssh-audit", "--no-colors", "--batch", m.public).CombinedOutput()
	var exit *exec.ExitError
	// 2 and 3 are warnings and failures.
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 2 && exit.ExitCode() != 3) {
		return "", nil, fmt.Errorf("ssh-audit %s: %w: %s", m.public, err, strings.TrimSpace(string(out)))
	}
	return parseSSHAudit(string(out))
}

var (
	auditLine = regexp.MustCompile(`^\((kex|key|enc|mac|aut)\) (\S+)(?: \([0-9-]+-bit\))?\s+-- \[(\w+)\] (.*)$`)
	auditMore = regexp.MustCompile("^\\s+`- \\[(\\w+)\\] (.*)$")
	auditCVE  = regexp.MustCompile(`^\(cve\) (\S+)`)
	auditSoft = regexp.MustCompile(`(?m)^\(gen\) software: (.+)$`)
)

// parseSSHAudit reads what ssh-audit prints. Vulnerabilities are one finding, named after the server's version: they
// are not seen but concluded from it, and another version is another conclusion.
func parseSSHAudit(out string) (software string, found []finding, err error) {
	match := auditSoft.FindStringSubmatch(out)
	if match == nil {
		return "", nil, fmt.Errorf("ssh-audit names no server: %s", strings.TrimSpace(out))
	}
	software = strings.TrimSpace(match[1])
	var cves []string
	algorithm := ""
	note := func(level, text string) {
		if level == "warn" || level == "fail" {
			found = append(found, finding{id: algorithm, text: level + ": " + text})
		}
	}
	judged := 0
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if m := auditCVE.FindStringSubmatch(line); m != nil {
			cves = append(cves, m[1])
		} else if m := auditLine.FindStringSubmatch(line); m != nil {
			judged++
			algorithm = m[1] + " " + m[2]
			note(m[3], m[4])
		} else if m := auditMore.FindStringSubmatch(line); m != nil {
			note(m[1], m[2])
		}
	}
	if judged == 0 {
		return "", nil, fmt.Errorf("ssh-audit judges no algorithm: %s", strings.TrimSpace(out))
	}
	if len(cves) > 0 {
		found = append(found, finding{id: "vulnerabilities of " + software, text: strings.Join(cves, " ")})
	}
	return software, found, nil
}
