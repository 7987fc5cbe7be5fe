package stack

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
		h    holder
		want bool
	}{
		{"at work here", holder{Host: "here", PID: os.Getpid(), Renewed: time.Now()}, false},
		{"ended here", holder{Host: "here", PID: ended.Process.Pid, Renewed: time.Now()}, true},
		{"at work elsewhere, under a number that nobody has here", holder{Host: "there", PID: ended.Process.Pid, Renewed: time.Now()}, false},
		{"silent for a while elsewhere", holder{Host: "there", PID: 1, Renewed: time.Now().Add(-lockExpires / 2)}, false},
		{"silent for too long", holder{Host: "there", PID: 1, Renewed: time.Now().Add(-2 * lockExpires)}, true},
		{"silent for too long here, and its number somebody else's", holder{Host: "here", PID: os.Getpid(), Renewed: time.Now().Add(-2 * lockExpires)}, true},
	} {
		if got := c.h.dead("here"); got != c.want {
			t.Errorf("%s: dead is %v", c.name, got)
		}
	}
}

func TestServing(t *testing.T) {
	all := []Instance{{ID: "i-new", Tier: "web", Role: serving, deploy: "20260102"}, {ID: "i-old", Tier: "web", Role: serving, deploy: "20260101"},
		{ID: "i-candidate", Tier: "web", Role: candidate, deploy: "20260103"}, {ID: "i-retired", Tier: "db", Role: retired, deploy: "20260101"}}
	if got := servingOf(all, "web"); got.ID != "i-new" {
		t.Errorf("%s serves, where the end of the older one broke off", got.ID)
	}
	if got := servingOf(all, "db"); got.ID != "" {
		t.Errorf("%s serves, and is retired", got.ID)
	}
	if got := others(all, "web", all[0]); len(got) != 2 || got[0].ID != "i-old" || got[1].ID != "i-candidate" {
		t.Errorf("got %+v", got)
	}
}
