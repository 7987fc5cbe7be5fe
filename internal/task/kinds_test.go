package task

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestServiceVerbs(t *testing.T) {
	yes, no := true, false
	running := map[string]string{"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}
	stopped := map[string]string{"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"}
	for _, c := range []struct {
		spec Service
		is   map[string]string
		want []string
	}{
		{Service{State: Started, Enabled: &yes}, running, nil},
		{Service{State: Started, Enabled: &yes}, stopped, []string{"start", "enable"}},
		{Service{State: Stopped, Enabled: &no}, running, []string{"stop", "disable"}},
		{Service{State: Stopped, Enabled: &no}, stopped, nil},
		{Service{State: Restarted}, running, []string{"restart"}},
		{Service{Masked: &yes}, stopped, []string{"mask"}},
		{Service{Masked: &yes}, map[string]string{"LoadState": "masked"}, nil},
		{Service{Masked: &no, State: Started}, map[string]string{"LoadState": "masked", "ActiveState": "inactive"},
			[]string{"unmask", "start"}},
		{Service{Enabled: &yes}, map[string]string{"LoadState": "loaded", "UnitFileState": "static"}, nil},
	} {
		got, err := c.spec.verbs(c.is)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%+v of %v: got %v, %v, want %v", c.spec, c.is, got, err, c.want)
		}
	}
	if _, err := (Service{Unit: "no.service", State: Started}).verbs(
		map[string]string{"LoadState": "not-found"},
	); err == nil {
		t.Error("a unit that systemd does not know is no error")
	}
}

func TestPlanRow(t *testing.T) {
	row := []Package{
		{Names: []string{"nginx", "curl"}},
		{Names: []string{"ftp"}, State: Absent},
		{Names: []string{"bash"}, State: Latest},
	}
	installed := map[string]string{"curl": "1", "ftp": "2", "bash": "3"}
	plan, err := planRow(row, installed, map[string]string{"nginx": "9", "bash": "4"})
	if err != nil || !slices.Equal(plan.arguments, []string{"nginx", "ftp-", "bash"}) ||
		!reflect.DeepEqual(plan.Shown, []string{"install nginx 9", "purge ftp 2", "install bash 4"}) {
		t.Errorf("got %+v, %v", plan, err)
	}
	_, err = planRow(
		[]Package{{Names: []string{"nginx", "no-such"}}, {Names: []string{"nor-such"}}},
		nil,
		map[string]string{"nginx": "9"},
	)
	if err == nil || !strings.Contains(err.Error(), "no-such, nor-such") || strings.Contains(err.Error(), "nginx,") {
		t.Errorf("got %v, want an error that names the two", err)
	}
}

func TestTruthy(t *testing.T) {
	for answer, want := range map[string]bool{
		"":        false,
		"0":       false,
		"NULL":    false,
		"1":       true,
		"2\tx\n0": true,
		"0\t1":    false,
		"x":       true,
	} {
		if truthy(answer) != want {
			t.Errorf("%q: got %v", answer, !want)
		}
	}
}

func TestParsePolicy(t *testing.T) {
	policy := parsePolicy(
		"nginx:\n  Installed: (none)\n  Candidate: 1.26\n  Version table:\nmysql-server:\n  Candidate: (none)\n",
	)
	if !reflect.DeepEqual(policy, map[string]string{"nginx": "1.26"}) {
		t.Errorf("policy: %v", policy)
	}
}

// The client gets each byte of the statements, and leaves it as it is.
func TestStatementsReachTheClientAsTheyAre(t *testing.T) {
	for statements, binary := range map[string]bool{
		"SELECT 'K\xf8ge';\n":                false,
		"SELECT _binary '\xff\xd8\x00';\n":   true,
		"INSERT INTO t VALUES ('a\r\nb');\n": true,
	} {
		var got Program
		m := Machine{Run: func(_ context.Context, p Program) (string, error) {
			got = p
			return "", nil
		}}
		c, err := SQL{Statements: statements}.Check(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Apply(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if got.Stdin != statements || slices.Contains(got.Argv, "--binary-mode") != binary {
			t.Errorf("%q: the client got %q, by %q", statements, got.Stdin, got.Argv)
		}
	}
}

// A seed may have any size; what is told of it has not.
func TestLargeStatementsAreCounted(t *testing.T) {
	c, err := SQL{Statements: strings.Repeat("x", diffLimit+1)}.Check(t.Context(), Machine{})
	if err != nil || c.String() != "65537 bytes of SQL" {
		t.Errorf("%v, %.100q", err, c)
	}
}
