package probe

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
		_, _ = io.WriteString(w, hostile+strings.Repeat("x", 1<<20))
	}))
	defer page.Close()
	sum := sha256.Sum256(page.Certificate().Raw)
	err := Get(t.Context(), Question{page.URL, http.StatusOK}, hex.EncodeToString(sum[:]))
	if err == nil || !harmless(err.Error()) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 2000 {
		t.Errorf("got %q", err)
	}
}
