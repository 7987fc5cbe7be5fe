package mysql

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/mysqlsetup"
)

// described is the description that first boot reads in the image.
func described(t *testing.T, flavor string, config map[string]any) imagespec.Description {
	t.Helper()
	dir := t.TempDir()
	_, fragment := file(t, playOf(t, flavor, config), instance.DescriptionDir+"/mysql.json")
	if err := os.WriteFile(
		filepath.Join(dir, "mysql.json"),
		[]byte(contentOf(t, fragment.Content)),
		0o644,
	); err != nil {
		t.Fatal(err)
	}
	d, err := imagespec.Read(dir, instance.KindData)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDescriptionSaysWhatIsBaked(t *testing.T) {
	d := described(
		t,
		"mariadb",
		map[string]any{"seed": seedFile, "database": "shop", "username": "clerk", "port": 3307},
	)
	var settings mysqlsetup.Settings
	if err := json.Unmarshal(d.Setup.Settings, &settings); err != nil {
		t.Fatal(err)
	}
	want := mysqlsetup.Settings{
		Flavor:   "mariadb",
		Config:   "/etc/mysql/mariadb.conf.d/z-goldsmith.cnf",
		DropDir:  "/etc/mysql/mariadb.conf.d",
		Database: "shop",
		Username: "clerk",
		Bind:     true,
	}
	if settings != want || d.Setup.Name != mysqlsetup.Name {
		t.Errorf("got the settings %+v of %s, want %+v", settings, d.Setup.Name, want)
	}
	if want := []imagespec.Unit{{Name: "mariadb.service", Clients: true}}; !reflect.DeepEqual(d.Units, want) {
		t.Errorf("got the units %+v", d.Units)
	}
	if want := []imagespec.Port{
		{Name: "mysql", Port: 3307, Address: imagespec.InstanceAddress},
	}; !reflect.DeepEqual(d.Ports, want) {
		t.Errorf("got the ports %+v", d.Ports)
	}
	if want := []imagespec.Log{
		{Name: "mysql", Unit: "mariadb.service", Path: "/var/log/mysql/error.log"},
	}; !reflect.DeepEqual(d.Logs, want) {
		t.Errorf("got the logs %+v", d.Logs)
	}
	settings = mysqlsetup.Settings{}
	d = described(t, "mysql", map[string]any{"bind_address": "10.0.2.10"})
	if err := json.Unmarshal(d.Setup.Settings, &settings); err != nil || settings.Bind ||
		d.Ports[0].Address != "10.0.2.10" {
		t.Errorf("an address of its own: got %+v, %+v, %v", settings, d.Ports, err)
	}
}

// TestProbesCompareAnswers runs each probe as first boot does, with a client that answers so, and with one that does
// not.
func TestProbesCompareAnswers(t *testing.T) {
	for _, bind := range []string{"instance", "10.0.2.10"} {
		good := map[string]string{
			"sql":          "1",
			"bind-address": "10.0.2.10",
			"tls":          "/run/goldsmith/tls/db.crt",
			"account":      "1",
			"seed":         "1",
		}
		for _, probe := range described(t, "mariadb", map[string]any{"seed": seedFile, "bind_address": bind}).Probes {
			want, ok := good[probe.Name]
			if !ok {
				t.Errorf("there is a probe %s", probe.Name)
			}
			delete(good, probe.Name)
			if out, passes := ask(t, probe, want); !passes {
				t.Errorf("%s does not take %s: %s", probe.Name, want, out)
			}
			if out, passes := ask(t, probe, "0"); passes {
				t.Errorf("%s takes another answer: %s", probe.Name, out)
			}
		}
		if len(good) > 0 {
			t.Errorf("there are no probes %v", good)
		}
	}
	for _, probe := range described(t, "mysql", nil).Probes {
		if probe.Name == "seed" {
			t.Error("a seed that nobody gave is asked for")
		}
	}
}

func ask(t *testing.T, probe imagespec.Probe, answer string) (string, bool) {
	t.Helper()
	dir := t.TempDir()
	client := "#!/bin/sh\ncase \"$*\" in *--protocol=socket*--execute=SELECT*) echo '" + answer +
		"';; *) exit 9;; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "mariadb"), []byte(client), 0o755); err != nil {
		t.Fatal(err)
	}
	argv := probe.Argv
	if probe.Shell != "" {
		argv = []string{"/bin/sh", "-eu", "-c", probe.Shell}
	} else {
		argv = append([]string{filepath.Join(dir, argv[0])}, argv[1:]...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + dir, "GOLDSMITH_ADDRESS=10.0.2.10"}
	out, err := cmd.Output()
	return string(out), err == nil && regexp.MustCompile(probe.Output).MatchString(strings.TrimSpace(string(out)))
}
