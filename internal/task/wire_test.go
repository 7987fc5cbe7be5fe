package task

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

func yes() *bool { b := true; return &b }

// everyKind is a play with a valid task of each kind.
func everyKind() Play {
	large := bytes.Repeat([]byte("0123456789abcdef"), inMemory/8) // over the limit of what is kept in memory
	return Play{Name: "all", Tasks: []Task{
		{Name: "package", Spec: Package{Names: []string{"nginx"}, State: Latest}},
		{
			Name:      "file",
			Notify:    []string{"restart"},
			Sensitive: true,
			Spec: File{
				Path:    "/etc/x",
				Content: Bytes([]byte("small")),
				Mode:    "0600",
				Test:    []string{"true", "%s"},
			},
		},
		{Name: "large", Spec: File{Path: "/etc/y", Content: Bytes(large)}},
		{Name: "same content", Spec: File{Path: "/etc/z", Content: Bytes([]byte("small"))}},
		{Name: "gone", Spec: File{Path: "/etc/old", State: Absent}},
		{Name: "directory", Spec: Directory{Path: "/srv/a"}},
		{Name: "link", Spec: Link{Path: "/etc/l", Target: "x"}},
		{Name: "group", Spec: Group{Group: "app", System: true}},
		{Name: "user", Spec: User{User: "app", Groups: []string{"adm"}}},
		{Name: "unit", Spec: Unit{Unit: "app.service", DropIn: "10-a.conf", Content: Bytes([]byte("[Unit]\n"))}},
		{Name: "service", Spec: Service{Unit: "app.service", Enabled: yes()}},
		{Name: "command", Spec: Command{Argv: []string{"true"}, Env: map[string]string{"A": "b"}, Timeout: "5s"}},
		{Name: "sysctl", Spec: Sysctl{Key: "net.ipv4.tcp_syncookies", Value: "1"}},
		{Name: "sql", Spec: SQL{Statements: "SELECT 1", Unless: "SELECT 0"}},
		{Name: "hold", Spec: AptHold{Names: []string{"nginx"}}},
		{Name: "line", Spec: Line{Path: "/etc/x", Regexp: "^a", Line: "a = 1"}},
	}, Handlers: []Task{{Name: "restart", Spec: Service{Unit: "app.service", State: Restarted}}}}
}

func encoded(t *testing.T, p Play, check bool) []byte {
	t.Helper()
	var stream bytes.Buffer
	if err := Encode(&stream, p, check); err != nil {
		t.Fatal(err)
	}
	return stream.Bytes()
}

func TestPlayComesThroughTheWire(t *testing.T) {
	sent := everyKind()
	if err := sent.Validate(); err != nil {
		t.Fatal(err)
	}
	stream := encoded(t, sent, true)
	if n := bytes.Count(stream, []byte(`{"blob":`)); n != 4 {
		t.Errorf("%d blobs are sent, want 4: one for each content", n)
	}
	got, check, err := Decode(bytes.NewReader(stream), t.TempDir())
	if err != nil || !check || got.Name != sent.Name {
		t.Fatalf("got %q, check %v, %v", got.Name, check, err)
	}
	for i, pair := range [][2][]Task{{sent.Tasks, got.Tasks}, {sent.Handlers, got.Handlers}} {
		if len(pair[0]) != len(pair[1]) {
			t.Fatalf("list %d: sent %d, got %d", i, len(pair[0]), len(pair[1]))
		}
		for n := range pair[0] {
			same(t, pair[0][n], pair[1][n])
		}
	}
}

func same(t *testing.T, sent, got Task) {
	t.Helper()
	if want, is := blobText(t, sent.Spec), blobText(t, got.Spec); want != is {
		t.Errorf("%s: content is %d bytes, want %d", sent.Name, len(is), len(want))
	}
	sent.Spec, got.Spec = withoutBlob(sent.Spec), withoutBlob(got.Spec)
	if !reflect.DeepEqual(sent, got) {
		t.Errorf("sent %+v, got %+v", sent, got)
	}
}

func withoutBlob(spec Spec) Spec {
	switch s := spec.(type) {
	case File:
		s.Content = Blob{}
		return s
	case Unit:
		s.Content = Blob{}
		return s
	}
	return spec
}

// SQL is bytes in whatever encoding its author set, and of any size.
func TestStatementsComeThroughAsTheyAre(t *testing.T) {
	for _, statements := range []string{
		"SET NAMES latin1;\nINSERT INTO t VALUES ('K\xf8ge');\n",
		"INSERT INTO t VALUES (_binary '\xff\xd8\xff\xe0\x00');",
		"\xef\xbb\xbfSELECT '\u2028 \r\n <&>'",
		strings.Repeat("INSERT INTO t VALUES ('\xf8');\n", 100_000),
	} {
		stream := encoded(
			t,
			Play{
				Name:  "p",
				Tasks: []Task{{Name: "seed", Spec: SQL{Statements: statements, Database: "app", Unless: "SELECT 0"}}},
			},
			false,
		)
		got, _, err := Decode(bytes.NewReader(stream), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if got.Tasks[0].Spec != (SQL{Statements: statements, Database: "app", Unless: "SELECT 0"}) {
			t.Errorf("sent %.60q, got %.60q", statements, got.Tasks[0].Spec)
		}
	}
}

// What is sent as text is refused by name where it would become other text.
func TestTextThatIsNoUTF8IsRefused(t *testing.T) {
	for want, task := range map[string]Task{
		"name":            {Name: "K\xf8ge", Spec: Command{Argv: []string{"true"}}},
		"notify[0]":       {Name: "t", Notify: []string{"K\xf8ge"}, Spec: Command{Argv: []string{"true"}}},
		"command.argv[1]": {Name: "t", Spec: Command{Argv: []string{"echo", "K\xf8ge"}}},
		"command.env.CITY": {
			Name: "t",
			Spec: Command{Argv: []string{"true"}, Env: map[string]string{"CITY": "K\xf8ge"}},
		},
		"file.path":  {Name: "t", Spec: File{Path: "/etc/K\xf8ge", Content: Bytes(nil)}},
		"line.line":  {Name: "t", Spec: Line{Path: "/etc/x", Line: "K\xf8ge"}},
		"sql.unless": {Name: "t", Spec: SQL{Statements: "K\xf8ge", Unless: "SELECT 'K\xf8ge'"}},
	} {
		err := Play{
			Name:     "p",
			Tasks:    []Task{task},
			Handlers: []Task{{Name: "K\xf8ge", Spec: Command{Argv: []string{"true"}}}},
		}.Validate()
		if err == nil || !strings.Contains(err.Error(), want+": ") || !strings.Contains(err.Error(), "is not UTF-8") {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func blobText(t *testing.T, spec Spec) string {
	t.Helper()
	blob := contentOf(spec)
	if blob == nil {
		return ""
	}
	content, err := blob.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	text, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDamagedStreams(t *testing.T) {
	good := string(
		encoded(
			t,
			Play{Name: "p", Tasks: []Task{{Name: "f", Spec: File{Path: "/etc/x", Content: Bytes([]byte("content"))}}}},
			false,
		),
	)
	for _, c := range []struct{ name, stream, want string }{
		{"empty", "", "unexpected EOF"},
		{"another version", strings.Replace(good, `"goldsmith":3`, `"goldsmith":9`, 1), "version 9"},
		{"no end", strings.Replace(good, "{\"end\":true}\n", "", 1), "unexpected EOF"},
		{"cut in a blob", good[:strings.Index(good, "content\n")+3], "EOF"},
		{"another content", strings.Replace(good, "content\n", "contenT\n", 1), "its content is"},
		{"blob not sent", strings.Replace(good, `"digest":"sha256:`, `"digest":"sha256:0`, 1), "was not sent"},
		{"negative size", strings.Replace(good, `"size":7}`+"\ncontent", `"size":-7}`+"\ncontent", 1), "size"},
		{"unknown kind", strings.Replace(good, `"kind":"file"`, `"kind":"spell"`, 1), `"spell"`},
		{"unknown field", strings.Replace(good, `"path"`, `"pfad"`, 1), "pfad"},
		{"relative path", strings.Replace(good, `"/etc/x"`, `"etc/x"`, 1), "absolute"},
		{"no JSON", "hello\n", "no JSON"},
		{"endless line", strings.Repeat("x", maxLine+70<<10), "longer than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Decode(strings.NewReader(c.stream), t.TempDir())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Package{}, "names"},
		{Package{Names: []string{"NGINX;"}}, "names[0]"},
		{Package{Names: []string{"a1"}, State: "newest"}, "state"},
		{File{Path: "etc", Content: Bytes(nil)}, "path"},
		{File{Path: "/a/../b", Content: Bytes(nil)}, "path"},
		{File{Path: "/a"}, "content"},
		{File{Path: "/a", Content: Bytes(nil), Mode: "rw"}, "mode"},
		{File{Path: "/a", Content: Bytes(nil), Owner: "a b"}, "owner"},
		{Directory{Path: "/etc", State: Absent}, "near the root"},
		{Link{Path: "/a"}, "target"},
		{Group{Group: "a:b"}, "group"},
		{User{User: ""}, "user"},
		{User{User: "a", Home: "home"}, "home"},
		{Unit{Unit: "app", Content: Bytes(nil)}, "unit"},
		{Unit{Unit: "a.service", DropIn: "../x.conf", Content: Bytes(nil)}, "drop_in"},
		{Service{Unit: "a.service"}, "state"},
		{Service{Unit: "a.service", Masked: yes(), State: Started}, "masked"},
		{Command{}, "argv"},
		{Command{Argv: []string{"a"}, Shell: "b"}, "argv"},
		{Command{Shell: "a", Timeout: "soon"}, "timeout"},
		{Sysctl{Key: "a", Value: "1"}, "key"},
		{Sysctl{Key: "a.b"}, "value"},
		{Sysctl{Key: "a.b", Value: "1", File: "/etc/passwd"}, "file"}, {SQL{}, "statements"}, {AptHold{}, "names"},
		{Line{Path: "/a", Line: "a\nb"}, "line"},
		{Line{Path: "/a", Regexp: "(", Line: "x"}, "regexp"},
		{Line{Path: "/a", State: Absent}, "regexp"},
	} {
		err := c.spec.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: got %v, want an error with %q", c.spec.Kind(), c.spec, err, c.want)
		}
	}
}

func TestPlayNamesTheTaskThatIsWrong(t *testing.T) {
	p := Play{Name: "p", Tasks: []Task{
		{Name: "good", Spec: SQL{Statements: "x"}, Notify: []string{"nobody"}},
		{Name: "bad", Spec: Package{}},
		{Spec: SQL{Statements: "x"}},
		{Name: "empty"},
	}, Handlers: []Task{{Name: "twice", Spec: SQL{Statements: "x"}}, {Name: "twice", Spec: SQL{Statements: "x"}}}}
	err := p.Validate()
	for _, want := range []string{
		`task[0] "good": notify: there is no handler "nobody"`, `task[1] "bad": package.names`, "task[2].name",
		`task[3] "empty"`, `two handlers named "twice"`,
	} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestRecap(t *testing.T) {
	r := Recap{Play: "mysql"}
	for _, outcome := range []Outcome{OK, Changed, Changed, Skipped, Failed} {
		r.Count(outcome)
	}
	if want := "PLAY RECAP mysql : ok=3 changed=2 skipped=1 failed=1  (0.0 s)"; r.String() != want {
		t.Errorf("got %q, want %q", r, want)
	}
}
