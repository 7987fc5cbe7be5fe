//go:build acceptance

package rig

import (
	"strings"
)

func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
