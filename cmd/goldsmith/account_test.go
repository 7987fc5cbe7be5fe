package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
)

// TestAccountIsNamedBeforeAChange runs the commands that change something in an account, at an endpoint that says
// whose it is and refuses everything else.
func TestAccountIsNamedBeforeAChange(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		action := r.Form.Get("Action") + r.Header.Get("X-Amz-Target")
		calls = append(calls, action)
		switch action {
		case "GetCallerIdentity":
			fmt.Fprint(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account>`+
				`</GetCallerIdentityResult></GetCallerIdentityResponse>`)
		case "DescribeImages", "DescribeInstances":
			fmt.Fprintf(w, `<%sResponse/>`, action)
		case "AmazonSSM.GetParametersByPath":
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			fmt.Fprint(w, `{}`)
		default:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error>`+
				`</Errors></Response>`)
		}
	}))
	defer server.Close()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Chdir(t.TempDir())
	want := "AWS account 123456789012, eu-central-1, at " + server.URL + "\n"

	changing := map[string][]string{
		"goldsmith deploy":       {"--report", "none"},
		"goldsmith rollback":     {"--report", "none"},
		"goldsmith network up":   nil,
		"goldsmith network down": {"--yes"},
		"goldsmith destroy":      {"--yes"},
		"goldsmith gc":           {"--yes"},
		"goldsmith images prune": {"--yes"},
	}
	reading := []string{
		"goldsmith images",
		"goldsmith history",
		"goldsmith status",
		"goldsmith network show",
		"goldsmith stack plan",
	}
	each(rootCommand(), func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		more, changes := changing[path]
		if !changes && !slices.Contains(reading, path) {
			return
		}
		delete(changing, path)
		calls = nil
		said, _ := typed(t, strings.Join(append([]string{path, "--region", "eu-central-1"}, more...), " "))
		if named := strings.Contains(said, want); named != changes {
			t.Errorf("%s: the account is named: %v; it said\n%s", path, named, said)
		}
		if changes && path != "goldsmith images prune" && (len(calls) == 0 || calls[0] != "GetCallerIdentity") {
			t.Errorf("%s: the first call is not for the account: %v", path, calls)
		}
	})
	if len(changing) > 0 {
		t.Errorf("there are no such commands: %v", changing)
	}
}

// TestNoRegion: a shell that names an endpoint is not told of local clouds, which it uses or does not want.
func TestNoRegion(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", "")
	if err := noRegion(t.Context(), "https://ec2.example", awsconfig.ErrNoRegion); err != awsconfig.ErrNoRegion {
		t.Errorf("with --endpoint: %v", err)
	}
	t.Setenv("AWS_ENDPOINT_URL", "https://ec2.example")
	if err := noRegion(t.Context(), "", awsconfig.ErrNoRegion); err != awsconfig.ErrNoRegion {
		t.Errorf("with AWS_ENDPOINT_URL: %v", err)
	}
}
