package probe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// TestGetTrustsOneCertificate: whoever has the address now and shows another certificate is nobody.
func TestGetTrustsOneCertificate(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
	}))
	defer server.Close()
	ask := Question{server.URL, http.StatusOK}
	sum := sha256.Sum256(server.Certificate().Raw)
	digest := hex.EncodeToString(sum[:])
	if err := Get(t.Context(), ask, "another", digest); err != nil {
		t.Error(err)
	}
	err := Get(t.Context(), ask, "another")
	if err == nil || !strings.Contains(err.Error(), "not the one that the instance reported") {
		t.Errorf("another certificate: got %v", err)
	}
	status = http.StatusServiceUnavailable
	if err := Get(t.Context(), ask, digest); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a sick page: got %v", err)
	}
}

// TestARedirectionMayBeWanted: else it is followed.
func TestARedirectionMayBeWanted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/old" {
			http.Redirect(w, r, "/new", http.StatusMovedPermanently)
		}
	}))
	defer server.Close()
	for _, c := range []struct {
		path   string
		status int
		well   bool
	}{
		{"/old", http.StatusMovedPermanently, true},
		{"/old", http.StatusOK, true},
		{"/new", http.StatusMovedPermanently, false},
		{"/new", http.StatusOK, true},
	} {
		if err := Get(t.Context(), Question{server.URL + c.path, c.status}); (err == nil) != c.well {
			t.Errorf("%s is wanted with %d: %v", c.path, c.status, err)
		}
	}
}

func TestDescribedIsAskedWhereItCanBe(t *testing.T) {
	answers := []instance.Answer{
		{
			Name:   "a",
			Port:   80,
			Path:   "/?x",
			Status: 301,
		},
		{
			Name:   "b",
			Port:   8443,
			TLS:    true,
			Path:   "/b",
			Status: 200,
		},
		{
			Name:   "c",
			Port:   9000,
			Path:   "/c",
			Status: 200,
		},
	}
	want := []Question{{"http://192.0.2.1/?x", 301}, {"https://192.0.2.1:8443/b", 200}}
	if got := Described(answers, []int32{8443, 80}, "192.0.2.1"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	synctest.Test(t, func(t *testing.T) {
		var asked []Question
		p := Probe{
			Check:        stackfile.HealthCheck{Interval: time.Second, Timeout: time.Second, Deadline: time.Minute},
			Fingerprints: func() []string { return nil },
			Ports:        []int32{8443},
			Get: func(_ context.Context, q Question, _ ...string) error {
				asked = append(asked, q)
				if len(asked) < 4 {
					return errors.New("404")
				}
				return nil
			},
		}
		if err := p.Answers(t.Context(), "192.0.2.1", answers); err != nil || len(asked) != 4 || asked[0] != want[1] {
			t.Errorf("asked %v, got %v", asked, err)
		}
		asked = nil
		p.Get = func(context.Context, Question, ...string) error { return errors.New("404") }
		if err := p.Answers(t.Context(), "192.0.2.1", answers); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("nobody answers: got %v", err)
		}
	})
}

// answers is a probe whose successive answers are good (+) or bad; the last one is for ever.
func answers(signs string, asked *int) Probe {
	return Probe{
		Check: stackfile.HealthCheck{
			Path:             "/p",
			Interval:         time.Second,
			Timeout:          time.Second,
			HealthyThreshold: 3,
			Deadline:         time.Minute,
		},
		Fingerprints: func() []string { return nil },
		Get: func(ctx context.Context, _ Question, _ ...string) error {
			sign := signs[min(*asked, len(signs)-1)]
			*asked++
			if sign == '+' {
				return ctx.Err()
			}
			return errors.New("503")
		},
	}
}

func TestHealthyIsSoManyInARow(t *testing.T) {
	for _, c := range []struct {
		signs string
		asked int // 0 is that it never is healthy
	}{{"+", 3}, {"-+", 4}, {"++-++-+", 9}, {"-", 0}, {"++-", 0}} {
		synctest.Test(t, func(t *testing.T) {
			asked, began := 0, time.Now()
			err := answers(c.signs, &asked).Healthy(t.Context(), "192.0.2.1", 3)
			if c.asked > 0 && (err != nil || asked != c.asked) {
				t.Errorf("%s: asked %d times, want %d: %v", c.signs, asked, c.asked, err)
			}
			if c.asked == 0 && (err == nil || !strings.Contains(err.Error(), "503") ||
				time.Since(began) != time.Minute) {
				t.Errorf("%s: after %s got %v", c.signs, time.Since(began), err)
			}
		})
	}
}

func TestWatchBearsWhatIsShort(t *testing.T) {
	for _, c := range []struct {
		signs string
		well  bool
	}{{"+", true}, {"--+", true}, {"+--+--+", true}, {"+---", false}, {"-", false}} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			err := answers(c.signs, &asked).Watch(t.Context(), "192.0.2.1", 30*time.Second)
			if c.well && (err != nil || asked != 30) || !c.well && err == nil {
				t.Errorf("%s: asked %d times, got %v", c.signs, asked, err)
			}
		})
	}
}

func TestInterruptEndsTheWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithTimeout(t.Context(), 5*time.Second)
		defer interrupt()
		asked := 0
		if err := answers("-", &asked).Healthy(ctx, "192.0.2.1", 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("healthy: got %v", err)
		}
		if err := answers("+", &asked).Watch(ctx, "192.0.2.1", time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("watch: got %v", err)
		}
	})
}
