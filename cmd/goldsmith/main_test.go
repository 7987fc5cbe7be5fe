package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"goldsmith": main})
}

// TestScripts runs the command as a user would; nothing answers where its endpoint points.
func TestScripts(t *testing.T) {
	// hostile answers with text by which a terminal would clear its screen, fill the clipboard and turn words around.
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"__type":"Evil","message":"a\u001b]52;c;ZXZpbA==\u0007\u001b[2J\u009bb\u202e\rc"}`)
	}))
	t.Cleanup(hostile.Close)
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(e *testscript.Env) error {
		e.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
		e.Setenv("HOSTILE", hostile.URL)
		e.Setenv("AWS_MAX_ATTEMPTS", "1")
		e.Setenv("AWS_REGION", "us-east-1")
		e.Setenv("AWS_ACCESS_KEY_ID", "test")
		e.Setenv("AWS_SECRET_ACCESS_KEY", "test")
		e.Setenv("AWS_EC2_METADATA_DISABLED", "true")
		e.Setenv("GOLDSMITH_CLOUD", "nobodys")
		return nil
	}})
}
