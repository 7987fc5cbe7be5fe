//go:build acceptance

package aws

import (
	"os"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.MainOfCloud(m, "aws")) }
