package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"goldsmith": main})
}

// TestScripts runs the command as a user would; nothing answers where its endpoint points.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(e *testscript.Env) error {
		e.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
		e.Setenv("AWS_REGION", "us-east-1")
		e.Setenv("AWS_ACCESS_KEY_ID", "test")
		e.Setenv("AWS_SECRET_ACCESS_KEY", "test")
		e.Setenv("AWS_EC2_METADATA_DISABLED", "true")
		e.Setenv("GOLDSMITH_CLOUD", "nobodys")
		return nil
	}})
}
