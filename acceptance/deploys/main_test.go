//go:build acceptance

package deploys

import (
	"os"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m, "deploy")) }
