package instance

import (
	"strings"
	"testing"
)

func TestServerOpensData(t *testing.T) {
	for _, c := range []struct {
		own, data, fault string
	}{
		{"mariadb 11.8.3", "mariadb 11.8.3", ""},
		{"mariadb 11.8.1", "mariadb 11.8.3", ""}, // within a series there is a way back
		{"mariadb 11.8.3", "mariadb 10.11.14", ""},
		{"mariadb 10.11.14", "mariadb 11.8.3", "mariadb 10.11.14 is older"},
		{"mariadb 11.4.0", "mariadb 11.10.0", "is older"},
		{"mysql 8.4.6", "mysql 9.0.1", "is older"},
		{"mysql 8.4.6", "mariadb 10.11.14", "mysql 8.4.6 cannot open it"},
	} {
		own, err1 := ParseServer(c.own)
		data, err2 := ParseServer(c.data)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		err := own.Opens(data)
		if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s and data of %s: got %v, want %q", own, data, err, c.fault)
		}
	}
	for _, text := range []string{"", "mariadb", "mariadb 11", "mariadb eleven.8", "mariadb  11.8"} {
		if s, err := ParseServer(text); err == nil {
			t.Errorf("%q was read as %+v", text, s)
		}
	}
}

func TestFindStandby(t *testing.T) {
	standby := Standby{Volume: "vol-1", Server: Server{"mariadb", "11.8.3"}}
	line, err := ConsoleLine(StandbyPrefix, standby)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := FindStandby([]byte("boot\n" + line + "\nmore\n")); !ok || s.Volume != "vol-1" ||
		s.Server.String() != "mariadb 11.8.3" {
		t.Errorf("got %+v, %v", s, ok)
	}
	for _, console := range []string{"", "boot\n", line} { // the last is half of a line, for all that anybody knows
		if s, ok := FindStandby([]byte(console)); ok {
			t.Errorf("%q: got %+v", console, s)
		}
	}
}
