package firstboot

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

func TestStrongPasswords(t *testing.T) {
	for password, want := range map[string]string{
		"Kx7-vR2mXz94pLs8":          "",
		"Kx7-vR2mXz94":              "14 characters",
		"":                          "14 characters",
		"kx7-vr2mxz94pls8":          "a capital letter",
		"KX7-VR2MXZ94PLS8":          "a small letter",
		"Kxa-vRamXzaapLsa":          "a digit",
		"Kx7avR2mXz94pLs8":          "a character of another kind",
		"KX7AVR2MXZ94PLS8":          "a character of another kind and a small letter",
		"Kx7-Clerk-vR2mXz94":        "the account's name",
		"Kx7-vR2mXz94pLs8\n":        "a control character",
		"Kx7'vR2\"mXz\\94`p$L%s#8ä": "",
	} {
		err := strong(password, "clerk")
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || password != "" && strings.Contains(err.Error(), password)) {
			t.Errorf("%q: got %v, want %q", password, err, want)
		}
	}
}

// TestServerErrorsHideTheStatement: MariaDB's client repeats a statement that failed, with the password in it.
func TestServerErrorsHideTheStatement(t *testing.T) {
	const password = "Kx7-vR2mXz94pLs8"
	for _, c := range []struct{ stderr, want string }{
		{"--------------\nALTER USER 'app'@'h' IDENTIFIED VIA ed25519 USING PASSWORD('" + password + "')\n--------------\n\nERROR 1819 (HY000) at line 4: Your password does not satisfy the current policy requirements\n",
			"ERROR 1819 (HY000) at line 4: Your password does not satisfy the current policy requirements"},
		{"ERROR 1064 (42000) at line 2: You have an error in your SQL syntax; check the manual for the right syntax to use near '" + password + "' at line 1\n",
			"ERROR 1064 (42000) at line 2: You have an error in your SQL syntax; check the manual for the right syntax to use"},
		{password, ""},
	} {
		if got := serverErrors(c.stderr); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// TestPasswordIsSetAtEachBoot: no policy for people's passwords may stand in its way.
func TestPasswordIsSetAtEachBoot(t *testing.T) {
	for flavor, want := range map[string]string{
		"mysql":   "REQUIRE SSL PASSWORD EXPIRE NEVER PASSWORD HISTORY 0 PASSWORD REUSE INTERVAL 0 DAY;\n",
		"mariadb": "REQUIRE SSL PASSWORD EXPIRE NEVER;\n",
	} {
		got := accountStatements(instance.MySQLImage{Flavor: flavor, Database: "app", Username: "app"}, "h", "p", nil)
		if strings.Count(got, want) != 2 {
			t.Errorf("%s: %q is not in both statements of\n%s", flavor, want, got)
		}
	}
}

func TestWrongClockIsNamed(t *testing.T) {
	fault := errors.New("it is valid from tomorrow")
	for _, c := range []struct {
		ahead time.Duration
		want  string
	}{
		{0, "it is valid from tomorrow"},
		{time.Minute, "it is valid from tomorrow"},
		{24*time.Hour + 300*time.Millisecond, "it is valid from tomorrow; the clock of this machine is 24h0m0s behind AWS's"},
		{-time.Hour, "it is valid from tomorrow; the clock of this machine is 1h0m0s ahead of AWS's"},
	} {
		err := (&cloud{ahead: c.ahead}).withClock(fault)
		if err.Error() != c.want || !errors.Is(err, fault) {
			t.Errorf("%s: got %q, want %q", c.ahead, err, c.want)
		}
		if (&cloud{ahead: c.ahead}).withClock(nil) != nil {
			t.Error("a clock alone is no error")
		}
	}
}

// TestClockADayOff: the certificates of an instance whose clock is a day behind, or ahead, are valid where it is right.
func TestClockADayOff(t *testing.T) {
	c, err := certificateFor(identity{InstanceID: "i-1", Private: "10.0.1.5"})
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []time.Duration{-24 * time.Hour, 0, 24 * time.Hour} {
		if there := time.Now().Add(off); there.Before(c.NotBefore) || there.After(c.NotAfter) {
			t.Errorf("with a clock off by %s it is not valid", off)
		}
	}
	if c.NotAfter.Sub(c.NotBefore) > 398*24*time.Hour {
		t.Errorf("browsers refuse %s", c.NotAfter.Sub(c.NotBefore))
	}
}

func TestLastErrorsOfALog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "error.log")
	text := "[Note] a\n" + strings.Repeat("[ERROR] early\n", 5) + "[Warning] b\n[ERROR] Disk is full\n[ERROR] Aborting\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := lastErrors(path), "[ERROR] early\n[ERROR] early\n[ERROR] early\n[ERROR] Disk is full\n[ERROR] Aborting"; got != want {
		t.Errorf("got %q", got)
	}
	if got := lastErrors(path + ".none"); got != "" {
		t.Errorf("of no log: %q", got)
	}
}

func TestLetInWantsARange(t *testing.T) {
	if err := letIn(t.Context(), "mysql.service", "everywhere"); err == nil || !strings.Contains(err.Error(), "client_cidr") {
		t.Errorf("got %v", err)
	}
}

// TestClockOfTheAPI: how far the clock here is off is read from the API's answer.
func TestClockOfTheAPI(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(24*time.Hour).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Write([]byte(`{"Parameters":[{"Name":"/x/db/ca","Value":"text"}],"InvalidParameters":[]}`))
	}))
	t.Cleanup(server.Close)
	c := &cloud{secrets: secretsAt(server.URL)}
	if _, err := c.parameters(t.Context(), []string{"/x/db/ca"}, nil); err != nil {
		t.Fatal(err)
	}
	if c.ahead < 23*time.Hour || c.ahead > 25*time.Hour {
		t.Errorf("the API's clock is a day ahead, and it is taken for %s", c.ahead)
	}
}
