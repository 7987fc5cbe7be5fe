//go:build acceptance

package cycles

import (
	"os"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.MainOfCloud(m, "cycle")) }
