package instancetype

import (
	"strings"
	"testing"
)

func TestNotNitro(t *testing.T) {
	for kind, refused := range map[string]bool{
		"t2.micro":      true,
		"m4.large":      true,
		"i3.large":      true,
		"g3s.xlarge":    true,
		"t3.small":      false,
		"t4g.small":     false,
		"m5a.large":     false,
		"i3.metal":      false, // no hypervisor at all
		"i3en.large":    false,
		"p3dn.24xlarge": false,
		"x9z.huge":      false, // what comes later is of the Nitro system
		"":              false,
	} {
		if err := NotNitro(kind); (err != nil) != refused || err != nil && !strings.Contains(err.Error(), kind) {
			t.Errorf("%q: got %v", kind, err)
		}
	}
}
