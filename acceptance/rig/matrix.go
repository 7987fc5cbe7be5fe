//go:build acceptance

package rig

import "os"

// Sampled says that each kind of case runs once, as with make test. MATRIX=all, as make test-all has it, runs all
// cases.
func Sampled() bool { return os.Getenv("MATRIX") != "all" }
