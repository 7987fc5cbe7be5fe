//go:build acceptance

package rig

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// DaemonPID is the process of the tests' cloud.
func DaemonPID(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/run/goldsmith", cloudName, "daemon.json"))
	if err != nil {
		t.Fatal(err)
	}
	var daemon struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal(text, &daemon); err != nil {
		t.Fatal(err)
	}
	return daemon.PID
}
