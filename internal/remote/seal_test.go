package remote

import (
	"errors"
	"strings"
	"testing"
)

func TestWhatWasWrittenAfterTheSealMakesNoImage(t *testing.T) {
	for _, c := range []struct {
		name string
		says scripted
		want []string // none: it is fit for an image
	}{
		{"nothing", scripted{stdout: `{"paths":null,"count":0}`}, nil},
		{"a key", scripted{stdout: `{"paths":["/home/admin/.ssh/authorized_keys"],"count":1}`},
			[]string{ErrNotSealed.Error(), "/home/admin/.ssh/authorized_keys", "hint: put goldsmith-seal last"}},
		{"many, of a name that is not nice", scripted{stdout: `{"paths":["/etc/\u001b[2J"],"count":7}`},
			[]string{"7 files", "/etc/\ufffd[2J", "and 6 more"}},
		{"nobody answers", scripted{stderr: "cat: no such file", status: 1},
			[]string{"look what was written after the seal", "no such file"}},
		{"an empty answer", scripted{}, []string{"look what was written after the seal"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Unchanged(t.Context(), &c.says)
			if (err == nil) != (c.want == nil) || c.name == "a key" && !errors.Is(err, ErrNotSealed) {
				t.Errorf("got %v", err)
			}
			for _, want := range c.want {
				if err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}
