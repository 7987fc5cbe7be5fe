package builder

import (
	"strings"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// TestQuotaIsSaid: before anything is made a build says what the account has no room for, and goes on.
func TestQuotaIsSaid(t *testing.T) {
	for _, c := range []struct {
		name   string
		change map[string]any
		quota  float64
		want   string
	}{
		{"room for the bake", nil, 2, ""},
		{"no room for the bake", nil, 1, "room for 1 of the 2 vCPUs that this build needs"},
		{
			"no room for the proof",
			map[string]any{"prove": map[string]any{"stack": "shop", "tier": "web", "release": "1"}},
			3, "room for 3 of the 4 vCPUs that this build needs",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAccount(t)
			a.Quotas = map[string]float64{"L-1216C47A": c.quota}
			b, ui := bakeOf(t, a, "0123456789abcdef", c.change), &packersdk.MockUi{}
			b.job.ui = ui
			if err := b.compareQuotas(t.Context()); err != nil {
				t.Fatal(err)
			}
			said := ""
			for _, line := range ui.SayMessages {
				said += line.Message
			}
			if (said == "") != (c.want == "") || !strings.Contains(said, c.want) {
				t.Errorf("said was %q, and should be %q", said, c.want)
			}
		})
	}
}
