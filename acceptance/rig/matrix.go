//go:build acceptance

package rig

import "os"

// Sampled says that of tests with many cases some kinds run once, which is what make test does. MATRIX=all, as make
// test-all has it, runs all cases.
func Sampled() bool { return os.Getenv("MATRIX") != "all" }
