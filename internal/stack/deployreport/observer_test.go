package deployreport

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/report"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// TestSamples asks pages of all kinds.
func TestSamples(t *testing.T) {
	page := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			http.NotFound(w, r)
		}
	}))
	defer page.Close()
	sick := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, `{"database":"not reachable"}`)
	}))
	defer sick.Close()
	rude := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter,
		*http.Request) {
		panic(http.ErrAbortHandler)
	}))
	defer rude.Close()
	gone := httptest.NewTLSServer(nil)
	gone.Close()
	sum := sha256.Sum256(page.Certificate().Raw)
	known := hex.EncodeToString(sum[:])
	for _, c := range []struct {
		name         string
		asked        *httptest.Server
		certificates []string
		ok           bool
		detail       string
	}{
		{"healthy", page, []string{known}, true, ""},
		{"healthy, by the second certificate", page, []string{strings.Repeat("0", 64), known}, true, ""},
		{"somebody else's certificate", page, []string{strings.Repeat("0", 64)}, false,
			"the certificate is not the one that the instance reported"},
		{"no certificate is known", page, nil, false, "the certificate is not the one that the instance reported"},
		{"not healthy", sick, []string{known}, false, `503 Service Unavailable: {"database":"not reachable"}`},
		{"breaks off", rude, []string{known}, false, "EOF"},
		{"nobody there", gone, []string{known}, false, "connect: connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &Observer{check: stackfile.HealthCheck{Path: "/health"}}
			for _, certificate := range c.certificates {
				o.Trust(certificate)
			}
			o.sample(t.Context())
			if len(o.samples) > 0 {
				t.Errorf("nothing serves yet, and yet there is a sample: %+v", o.samples)
			}
			o.Ask(c.asked.Listener.Addr().String())
			o.sample(t.Context())
			o.sample(t.Context())
			if len(o.samples) != 2 {
				t.Fatalf("two questions are %d samples", len(o.samples))
			}
			for _, s := range o.samples {
				if s.OK != c.ok || s.Detail != c.detail || s.Took <= 0 || time.Since(s.At) > time.Minute {
					t.Errorf("got %+v; want %v, %q", s, c.ok, c.detail)
				}
			}
			broken, cancel := context.WithCancel(t.Context())
			cancel()
			if o.sample(broken); len(o.samples) != 2 {
				t.Error("a question that the end of the deployment broke off counts")
			}
		})
	}
}

// TestInterruptions stop and go on in the order in which deployments do.
func TestInterruptions(t *testing.T) {
	for order, want := range map[string]string{
		"":     "",
		"+":    "",
		"-+":   "whole",
		"--+":  "whole",
		"-":    "open",
		"-+-+": "whole whole",
		"-++-": "whole open",
	} {
		o := &Observer{}
		for _, what := range order {
			if what == '-' {
				o.WritesStop()
			} else {
				o.WritesResume()
			}
		}
		var got []string
		for _, i := range o.pauses {
			kind := "whole"
			if i.End.IsZero() {
				kind = "open"
			}
			if i.Start.IsZero() || kind == "whole" && i.End.Before(i.Start) {
				kind = "odd"
			}
			got = append(got, kind)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q is %q, want %q", order, got, want)
		}
	}
}

func TestMoves(t *testing.T) {
	o := &Observer{stop: func() {}}
	for _, to := range []string{"i-2", "i-2", "i-1"} {
		o.Moved("the data volume vol-1", to)
		o.Moved("the db tier's address 10.0.2.10", "i-2")
	}
	o.WritesStop()
	o.Ask("127.0.0.1:1")
	o.sample(t.Context())
	var page report.Report
	o.end(&page)
	var moves []string
	for _, m := range page.Moves {
		if moves = append(moves, m.What); m.At.IsZero() {
			t.Errorf("%s happened at no time", m.What)
		}
	}
	want := []string{"the data volume vol-1 to i-2", "the db tier's address 10.0.2.10 to i-2",
		"the data volume vol-1 to i-1"}
	if !slices.Equal(moves, want) || len(page.Interruptions) != 1 || len(page.Health) != 1 {
		t.Errorf("got %+v", page)
	}
	// Without a report nobody is told, and nothing breaks.
	var nobody *Observer
	nobody.Moved("the data volume vol-1", "i-2")
	nobody.WritesStop()
	nobody.WritesResume()
	nobody.Trust("x")
	nobody.Ask("x")
}
