package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingIsAnEmptyList asks an account in which there is nothing.
func TestNothingIsAnEmptyList(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		if action := r.Form.Get("Action"); action != "" {
			fmt.Fprintf(w, "<%sResponse><%sResult/></%sResponse>", action, action, action)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		fmt.Fprint(w, "{}")
	}))
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Chdir(t.TempDir())
	for _, line := range []string{"history --json", "images --json", "gc --json"} {
		root := rootCommand()
		var out, complaints bytes.Buffer
		root.SetOut(&out)
		root.SetErr(&complaints)
		root.SetArgs(strings.Fields(line))
		if err := root.ExecuteContext(t.Context()); err != nil || strings.TrimSpace(out.String()) != "[]" {
			t.Errorf("%s: got %q, %v: %s", line, out.String(), err, complaints.String())
		}
	}
}

// TestBrowserThatIsNotThere has xdg-open fail as it does without a browser.
func TestBrowserThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	program := "#!/bin/sh\necho 'xdg-open: no method available for opening' \"$1\" >&2\nexit 3\n"
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte(program), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	err := browse(t.Context(), "https://192.0.2.1/")
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) || code(err) != exitFailed ||
		!strings.Contains(err.Error(), "no method available") {
		t.Errorf("got %v, exit code %d", err, code(err))
	}
}
