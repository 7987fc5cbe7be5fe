package record

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/stacktest"
)

const hostile = "a\x1b]52;c;ZXZpbA==\a\x1b[2Jb\rc\u009bd\u202ee\x00f"

func harmless(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e
	})
}

// Everybody who may deploy writes the lock and the history.
func TestRecordsCannotSteerTheTerminal(t *testing.T) {
	s := stacktest.WithParameters(t)
	hold(t, s, Holder{
		ID:      hostile,
		Who:     hostile,
		Host:    hostile,
		PID:     1,
		Since:   time.Now(),
		Renewed: time.Now(),
	})
	if _, _, err := Lock(context.WithoutCancel(t.Context()), s, "mine"); err == nil || !harmless(err.Error()) {
		t.Errorf("got %q", err)
	}
	r := Record{
		ID:     hostile,
		Who:    hostile,
		Result: hostile,
		Reason: hostile,
		From:   Images{Release: hostile},
		Steps:  []Step{{Name: hostile}},
	}.plain()
	if text := strings.Join([]string{r.ID, r.Who, r.Result, r.Reason, r.From.Release, r.Steps[0].Name},
		" "); !harmless(text) {
		t.Errorf("got %q", text)
	}
}
