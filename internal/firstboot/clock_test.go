package firstboot

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWrongClockIsNamed(t *testing.T) {
	fault := errors.New("it is valid from tomorrow")
	for _, c := range []struct {
		ahead time.Duration
		want  string
	}{
		{0, "it is valid from tomorrow"},
		{time.Minute, "it is valid from tomorrow"},
		{24*time.Hour + 300*time.Millisecond,
			"it is valid from tomorrow; the clock of this machine is 24h0m0s behind AWS's"},
		{-time.Hour, "it is valid from tomorrow; the clock of this machine is 1h0m0s ahead of AWS's"},
	} {
		err := (&cloud{ahead: c.ahead}).withClock(fault)
		if err.Error() != c.want || !errors.Is(err, fault) {
			t.Errorf("%s: got %q, want %q", c.ahead, err, c.want)
		}
		if (&cloud{ahead: c.ahead}).withClock(nil) != nil {
			t.Error("a clock alone is no error")
		}
	}
}

// TestClockADayOff: the certificates of an instance whose clock is a day behind, or ahead, are valid where it is right.
func TestClockADayOff(t *testing.T) {
	c, err := certificateFor(Identity{InstanceID: "i-1", Private: "10.0.1.5"})
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []time.Duration{-24 * time.Hour, 0, 24 * time.Hour} {
		if there := time.Now().Add(off); there.Before(c.NotBefore) || there.After(c.NotAfter) {
			t.Errorf("with a clock off by %s it is not valid", off)
		}
	}
	if c.NotAfter.Sub(c.NotBefore) > 398*24*time.Hour {
		t.Errorf("browsers refuse %s", c.NotAfter.Sub(c.NotBefore))
	}
}

func TestLastErrorsOfALog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "error.log")
	text := "[Note] a\n" + strings.Repeat(
		"[ERROR] early\n",
		5,
	) + "[Warning] b\n[ERROR] Disk is full\n[ERROR] Aborting\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := lastErrors(
		path,
	), "[ERROR] early\n[ERROR] early\n[ERROR] early\n[ERROR] Disk is full\n[ERROR] Aborting"; got != want {
		t.Errorf("got %q", got)
	}
	if got := lastErrors(path + ".none"); got != "" {
		t.Errorf("of no log: %q", got)
	}
}

func TestLetInWantsARange(t *testing.T) {
	if err := letIn(t.Context(), "x.service", []string{"everywhere"}); err == nil ||
		!strings.Contains(err.Error(), "clients everywhere") {
		t.Errorf("got %v", err)
	}
}

// TestClockOfTheAPI: how far the clock here is off is read from the API's answer.
func TestClockOfTheAPI(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(24*time.Hour).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Write([]byte(`{"Parameters":[{"Name":"/x/db/ca","Value":"text"}],"InvalidParameters":[]}`))
	}))
	t.Cleanup(server.Close)
	c := &cloud{secrets: secretsAt(server.URL)}
	if _, err := c.parameters(t.Context(), []string{"/x/db/ca"}, nil); err != nil {
		t.Fatal(err)
	}
	if c.ahead < 23*time.Hour || c.ahead > 25*time.Hour {
		t.Errorf("the API's clock is a day ahead, and it is taken for %s", c.ahead)
	}
}
