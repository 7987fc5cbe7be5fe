package builder

import (
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
)

// TestImageSaysItsUser: who logs in to its instances has no other way to know.
func TestImageSaysItsUser(t *testing.T) {
	b := bakeOf(t, newAccount(t), "b1", map[string]any{"ssh_username": "ubuntu"})
	tags := provenance(b.job, b.source, b.image, b.inputs)
	if got := tags[images.UserTag]; got != "ubuntu" {
		t.Errorf("tag %s is %q", images.UserTag, got)
	}
}
