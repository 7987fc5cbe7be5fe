package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const hostile = "a\x1b]52;c;ZXZpbA==\a\x1b[2Jb\rc\u009bd\u202ee\x00f"

func harmless(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e
	})
}

// Whoever broke into a web instance answers the operator's questions.
func TestAPageCannotSteerTheTerminal(t *testing.T) {
	page := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, hostile+strings.Repeat("x", 1<<20))
	}))
	defer page.Close()
	sum := sha256.Sum256(page.Certificate().Raw)
	err := getHealth(t.Context(), page.URL, hex.EncodeToString(sum[:]))
	if err == nil || !harmless(err.Error()) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 2000 {
		t.Errorf("got %q", err)
	}
}

// Everybody who may deploy writes the lock and the history.
func TestRecordsCannotSteerTheTerminal(t *testing.T) {
	s := talking(t)
	taken, err := s.claimLock(t.Context(), holder{ID: hostile, Who: hostile, Host: hostile, PID: 1, Since: time.Now(), Renewed: time.Now()})
	if err != nil || !taken {
		t.Fatal(taken, err)
	}
	if _, _, err := s.lock(context.WithoutCancel(t.Context()), "mine"); err == nil || !harmless(err.Error()) {
		t.Errorf("got %q", err)
	}
	r := Record{ID: hostile, Who: hostile, Result: hostile, Reason: hostile, From: Images{Release: hostile}, Steps: []Step{{Name: hostile}}}.plain()
	if text := strings.Join([]string{r.ID, r.Who, r.Result, r.Reason, r.From.Release, r.Steps[0].Name}, " "); !harmless(text) {
		t.Errorf("got %q", text)
	}
}
