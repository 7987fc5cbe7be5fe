package record

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestLockOfTheDead(t *testing.T) {
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		h    Holder
		want bool
	}{
		{"at work here", Holder{Host: "here", PID: os.Getpid(), Renewed: time.Now()}, false},
		{"ended here", Holder{Host: "here", PID: ended.Process.Pid, Renewed: time.Now()}, true},
		{"at work elsewhere, under a number that nobody has here", Holder{
			Host:    "there",
			PID:     ended.Process.Pid,
			Renewed: time.Now(),
		}, false},
		{"silent for a while elsewhere", Holder{
			Host:    "there",
			PID:     1,
			Renewed: time.Now().Add(-lockExpires / 2),
		}, false},
		{"silent for too long", Holder{Host: "there", PID: 1, Renewed: time.Now().Add(-2 * lockExpires)}, true},
		{"silent for too long here, and its number somebody else's", Holder{
			Host:    "here",
			PID:     os.Getpid(),
			Renewed: time.Now().Add(-2 * lockExpires),
		}, true},
	} {
		if got := c.h.dead("here"); got != c.want {
			t.Errorf("%s: dead is %v", c.name, got)
		}
	}
}
