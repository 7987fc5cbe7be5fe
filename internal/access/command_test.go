package access

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestCommand(t *testing.T) {
	for _, c := range []struct{ words, want []string }{
		{nil, []string{"--", "i-1"}},
		{[]string{"ls /tmp | wc -l"}, []string{"--", "i-1", "ls /tmp | wc -l"}},
		{[]string{"-oProxyCommand=touch /tmp/x"}, []string{"--", "i-1", "-oProxyCommand=touch /tmp/x"}},
		{
			[]string{"sudo", "mysql", "--execute", "SHOW PROCESSLIST"},
			[]string{"--", "i-1", "sudo mysql --execute 'SHOW PROCESSLIST'"},
		},
	} {
		if got := Command("i-1", c.words...); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.words, got, c.want)
		}
	}
}

// TestWordsArriveAsTheyAre has a shell part what is one text on the way.
func TestWordsArriveAsTheyAre(t *testing.T) {
	words := []string{
		"printf", `[%s]\n`,
		"SHOW PROCESSLIST", "it's", "", "$HOME", "*", "a\nb", "~", `back\slash`, "-x", "&& false", "é", "A=1",
	}
	got := Command("i-1", words...)
	out, err := exec.CommandContext(t.Context(), "sh", "-c", got[len(got)-1]).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "[" + strings.Join(words[2:], "]\n[") + "]\n"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}
