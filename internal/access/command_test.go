package access

import (
	"os/exec"
	"strings"
	"testing"
)

func TestCommand(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  string
	}{
		{nil, ""},
		{[]string{"ls /tmp | wc -l"}, "ls /tmp | wc -l"},
		{[]string{"-oProxyCommand=touch /tmp/x"}, "-oProxyCommand=touch /tmp/x"},
		{[]string{"sudo", "mysql", "--execute", "SHOW PROCESSLIST"}, "sudo mysql --execute 'SHOW PROCESSLIST'"},
	} {
		if got := Command(c.words...); got != c.want {
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
	out, err := exec.CommandContext(t.Context(), "sh", "-c", Command(words...)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "[" + strings.Join(words[2:], "]\n[") + "]\n"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestAfter(t *testing.T) {
	for _, c := range []struct {
		words, want string
		bad         bool
	}{
		{"", "", false},
		{"ls -t", "ls -t", false},
		{"-- ls -t", "ls -t", false},
		{"-- -x", "-x", false},
		{"ls -- -t", "ls -- -t", false},
		{"-t", "", true},
		{"--tty ls", "", true},
	} {
		got, err := After(strings.Fields(c.words))
		if strings.Join(got, " ") != c.want || (err != nil) != c.bad {
			t.Errorf("%q: got %q, %v", c.words, got, err)
		}
	}
}
