package record

import (
	"os"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/stacktest"
)

// A deployment that was killed has left a record that says for ever that it is running.
func TestToldOfADeploymentThatEndedWithoutAWord(t *testing.T) {
	_, host := Caller()
	for _, c := range []struct {
		name   string
		holder *Holder
		want   string
	}{
		{"nobody has the lock", nil, Silent},
		{"it has the lock and is at work", &Holder{
			ID:      "1",
			Host:    host,
			PID:     os.Getpid(),
			Renewed: time.Now(),
		}, Running},
		{"it had the lock and has been silent for too long", &Holder{
			ID:      "1",
			Host:    "elsewhere",
			PID:     1,
			Renewed: time.Now().Add(-2 * lockExpires),
		}, Silent},
		{"another one is at work", &Holder{ID: "2", Host: host, PID: os.Getpid(), Renewed: time.Now()}, Silent},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stacktest.WithParameters(t)
			for _, r := range []Record{{ID: "0", Result: Done}, {ID: "1", Result: Running}} {
				if err := Write(t.Context(), s, r); err != nil {
					t.Fatal(err)
				}
			}
			if c.holder != nil {
				hold(t, s, *c.holder)
			}
			records, err := Told(t.Context(), s)
			if err != nil || len(records) != 2 || records[0].Result != c.want || records[1].Result != Done {
				t.Errorf("got %+v, %v; want %q", records, err, c.want)
			}
		})
	}
}
