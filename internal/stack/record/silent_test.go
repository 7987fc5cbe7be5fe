package stack

import (
	"os"
	"testing"
	"time"
)

// A deployment that was killed has left a record that says for ever that it is running.
func TestToldOfADeploymentThatEndedWithoutAWord(t *testing.T) {
	_, host := whoami()
	for _, c := range []struct {
		name   string
		holder *holder
		want   string
	}{
		{"nobody has the lock", nil, Silent},
		{"it has the lock and is at work", &holder{ID: "1", Host: host, PID: os.Getpid(), Renewed: time.Now()}, Running},
		{"it had the lock and has been silent for too long", &holder{ID: "1", Host: "elsewhere", PID: 1, Renewed: time.Now().Add(-2 * lockExpires)}, Silent},
		{"another one is at work", &holder{ID: "2", Host: host, PID: os.Getpid(), Renewed: time.Now()}, Silent},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := talking(t)
			for _, r := range []Record{{ID: "0", Result: Done}, {ID: "1", Result: Running}} {
				if err := s.writeRecord(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			if c.holder != nil {
				if taken, err := s.claimLock(t.Context(), *c.holder); err != nil || !taken {
					t.Fatal(taken, err)
				}
			}
			records, err := s.Told(t.Context())
			if err != nil || len(records) != 2 || records[0].Result != c.want || records[1].Result != Done {
				t.Errorf("got %+v, %v; want %q", records, err, c.want)
			}
		})
	}
}
