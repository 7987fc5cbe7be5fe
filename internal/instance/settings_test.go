package instance

import (
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func TestSettingsTravelInUserData(t *testing.T) {
	for _, s := range []Settings{
		{Stack: "golden", Tier: "db", Parameters: "/goldsmith/golden", ClientCIDR: "10.0.1.0/24"},
		{Stack: "blue-2", Tier: "web", Parameters: "/goldsmith/blue-2", DatabaseHost: "10.0.2.10", DatabasePort: 3306},
	} {
		text, err := s.UserData("")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "#cloud-config\n") {
			t.Errorf("cloud-init would not take %q", text)
		}
		var config map[string]any
		if err := yaml.Unmarshal(text, &config); err != nil || !maps.Equal(config, map[string]any{"disable_ec2_metadata": false}) {
			t.Errorf("to cloud-init %q is %v, %v: one thing is due, and without effect", text, config, err)
		}
		got, err := ParseSettings(text)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("got %+v, %v, want %+v", got, err, s)
		}
	}
}

func TestUserDataThatIsRefused(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no settings", "#cloud-config\n{}\n", ErrNotConfigured.Error()},
		{"empty", "", ErrNotConfigured.Error()},
		{"no JSON", "#goldsmith: {", "#goldsmith line"},
		{"no tier", `#goldsmith: {"stack":"a","parameters":"/x"}`, "tier"},
		{"stack with a path", `#goldsmith: {"stack":"../a","tier":"web","parameters":"/x","database_host":"h"}`, "stack"},
		{"range with a host name", `#goldsmith: {"stack":"a","tier":"db","parameters":"/x","client_cidr":"everywhere"}`, "client_cidr"},
		{"web without a database", `#goldsmith: {"stack":"a","tier":"web","parameters":"/x"}`, "database_host"},
		{"parameters", `#goldsmith: {"stack":"a","tier":"web","parameters":"x/","database_host":"h"}`, "parameters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseSettings([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if errors.Is(err, ErrNotConfigured) != (c.want == ErrNotConfigured.Error()) {
				t.Errorf("%v: is it that there are no settings?", err)
			}
		})
	}
}

func TestFindReport(t *testing.T) {
	const first, second = `GOLDSMITH-READY {"ready":false,"checks":[]}`, `GOLDSMITH-READY {"ready":true,"instance_id":"i-1","checks":[]}`
	for _, c := range []struct {
		name, console string
		found, ready  bool
	}{
		{"none", "Debian GNU/Linux 13\n", false, false},
		{"the last one counts", "boot\n" + first + "\r\nmore\n" + second + "\r\nlogin:", true, true},
		{"cut off", "boot\n" + second[:30], false, false},
		{"not ended", second, false, false},
		{"no JSON", "GOLDSMITH-READY soon\n", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			report, found := FindReport([]byte(c.console))
			if found != c.found || report.Ready != c.ready {
				t.Errorf("got %+v, %v", report, found)
			}
		})
	}
}

func TestImageDescriptionsComeBack(t *testing.T) {
	dir := t.TempDir()
	if image, err := ReadImage(dir); err != nil || image.MySQL != nil || image.Nginx != nil || image.Webapp != nil {
		t.Fatalf("an empty directory describes %+v, %v", image, err)
	}
	writeDescription(t, dir, "mysql", MySQLImage{Flavor: "mariadb", Port: 3306, BindAddress: "instance"})
	image, err := ReadImage(dir)
	if err != nil || image.MySQL == nil || *image.MySQL != (MySQLImage{Flavor: "mariadb", Port: 3306, BindAddress: "instance"}) || image.Nginx != nil {
		t.Errorf("got %+v, %v", image, err)
	}
}

func TestFindWaiting(t *testing.T) {
	console := "boot\nGOLDSMITH-WAITING unit a (failed)\r\nmore\nGOLDSMITH-WAITING unit b (activating)\r\nend\n"
	if got := FindWaiting([]byte(console)); got != "unit b (activating)" {
		t.Errorf("got %q", got)
	}
	if got := FindWaiting([]byte("boot\n")); got != "" {
		t.Errorf("got %q of a console that says nothing", got)
	}
}
