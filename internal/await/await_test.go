package await

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"
)

func api(code string) error { return &smithy.GenericAPIError{Code: code, Message: "said the test"} }

// TestUntil has look get one answer after the other, the last of them for ever; an empty one is "not yet".
func TestUntil(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []string // codes; done is the end
		want    string   // of the error
		least   time.Duration
	}{
		{"at once", []string{"done"}, "", 0},
		{"not yet", []string{"", "", "done"}, "", 500 * time.Millisecond},
		{
			"not known everywhere", []string{"InvalidVolume.NotFound", "InvalidInstanceID.NotFound", "done"}, "",
			500 * time.Millisecond,
		},
		{"too many calls", []string{"RequestLimitExceeded", "Throttling", "done"}, "", 5 * time.Second},
		{"the service's own fault", []string{"InternalError", "done"}, "", 2 * time.Second},
		{"not for AWS to mend", []string{"", "UnauthorizedOperation", "done"}, "UnauthorizedOperation", 0},
		{"never known", []string{"InvalidVolume.NotFound"}, "InvalidVolume.NotFound", Settle},
		{"always too many calls", []string{"RequestLimitExceeded"}, "waited for 10m0s", 10 * time.Minute},
		{"never", []string{""}, "waited for 10m0s", 10 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := Until(t.Context(), 10*time.Minute, func(context.Context) (bool, error) {
					answer := c.answers[0]
					c.answers = c.answers[min(1, len(c.answers)-1):]
					switch answer {
					case "done":
						return true, nil
					case "":
						return false, nil
					}
					return false, api(answer)
				})
				if c.want == "" && err != nil ||
					c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				if took := time.Since(began); took < c.least {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func TestUntilEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		err := Until(ctx, time.Hour, func(context.Context) (bool, error) { return false, api("RequestLimitExceeded") })
		if !errors.Is(err, context.Canceled) || time.Since(began) != time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

func TestUntilNamesWhatWasSaidLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := Until(
			t.Context(),
			time.Minute,
			func(context.Context) (bool, error) { return false, api("RequestLimitExceeded") },
		)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "RequestLimitExceeded") {
			t.Errorf("got %v", err)
		}
	})
}

func TestRetry(t *testing.T) {
	again := func(err error) bool { return err.Error() == "again" }
	for _, c := range []struct {
		name  string
		lasts time.Duration // that it fails
		then  error
		want  string
		calls int
	}{
		{"at once", 0, nil, "", 1},
		{"after a while", 40 * time.Second, nil, "", 0},
		{"something else then", 5 * time.Second, errors.New("else"), "else", 0},
		{"never", time.Hour, nil, "again", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, calls := time.Now(), 0
				err := Retry(t.Context(), 2*time.Minute, again, func(context.Context) error {
					calls++
					if time.Since(began) < c.lasts {
						return errors.New("again")
					}
					return c.then
				})
				if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(began); took > 2*time.Minute+10*time.Second || c.calls > 0 && calls != c.calls {
					t.Errorf("%d calls in %s", calls, took)
				}
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Retry(
		ctx,
		time.Minute,
		again,
		func(context.Context) error { return errors.New("again") },
	); !errors.Is(err, context.Canceled) ||
		!strings.Contains(err.Error(), "again") {
		t.Errorf("interrupted: got %v", err)
	}
}
