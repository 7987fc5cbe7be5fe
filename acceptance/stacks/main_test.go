//go:build acceptance

package stacks

import (
	"os"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m, "stack")) }
