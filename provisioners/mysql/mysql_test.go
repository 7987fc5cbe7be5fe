package mysql

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

const (
	templateFile = "../../files/mysql/goldsmith.cnf.tmpl"
	dropInFile   = "../../files/mysql/hardening.conf.tmpl"
	seedFile     = "../../files/mysql/seed.sql"
)

func TestPrepareNamesTheAttribute(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name   string
		config map[string]any
		want   string
	}{
		{"flavor", map[string]any{"flavor": "oracle"}, "flavor"},
		{"bind address", map[string]any{"bind_address": "everywhere"}, "bind_address"},
		{"every address", map[string]any{"bind_address": "0.0.0.0"}, "bind_address"},
		{"port", map[string]any{"port": 70000}, "port"},
		{"database", map[string]any{"database": "a`b"}, "database"},
		{"the server's database", map[string]any{"database": "mysql"}, "database"},
		{"username", map[string]any{"username": "it's"}, "username"},
		{"root", map[string]any{"username": "root"}, "username"},
		{"no template", map[string]any{"config": dir + "/none"}, "config"},
		{"variable", map[string]any{"config": write("v", "bind-address = {{ .bind_adress }}\n")}, "bind_adress"},
		{"no bind-address", map[string]any{"config": write("n", "[mysqld]\n")}, "bind-address"},
		{"two", map[string]any{"config": write("2", "bind-address = {{ .bind_address }}\nbind-address = 1.2.3.4\n")},
			"bind-address"},
		{"one flavor's variable",
			map[string]any{
				"config": write("f",
					"bind-address = {{ .bind_address }}\n{{ if eq .flavor \"mysql\" }}{{ .oops }}{{ end }}\n"),
			},
			"oops"},
		{"no drop-in", map[string]any{"drop_in": dir + "/none"}, "drop_in"},
		{"drop-in's variable", map[string]any{"drop_in": write("d", "[Service]\nUMask={{ .unmask }}\n")}, "unmask"},
		{"seed", map[string]any{"seed": dir}, "seed"},
		{"unknown", map[string]any{"password": "x"}, "password"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.config["config"] == nil {
				c.config["config"] = templateFile
			}
			if c.config["drop_in"] == nil {
				c.config["drop_in"] = dropInFile
			}
			err := new(Provisioner).Prepare(c.config)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error that names %s", err, c.want)
			}
		})
	}
	if err := new(
		Provisioner,
	).Prepare(map[string]any{"config": templateFile, "drop_in": dropInFile, "seed": seedFile}); err != nil {
		t.Error(err)
	}
}

func TestChoose(t *testing.T) {
	has := func(packages ...string) task.Facts {
		f := task.Facts{Candidates: map[string]string{}}
		for _, p := range packages {
			f.Candidates[p] = "1"
		}
		return f
	}
	installed := has("mysql-server", "mariadb-server")
	installed.Database = &task.DatabaseFacts{Flavor: "mariadb", Version: "11.8.2"}
	for _, c := range []struct {
		wanted string
		facts  task.Facts
		server string
		fault  string
	}{
		{"auto", has("mysql-server", "mariadb-server"), "mysql-server", ""},
		{"auto", has("mariadb-server"), "mariadb-server", ""},
		{"mariadb", has("mysql-server", "mariadb-server"), "mariadb-server", ""},
		{"auto", installed, "mariadb-server", ""},
		{"mysql", installed, "", "11.8.2"},
		{"mysql", has("mariadb-server"), "", "mysql-server"},
		{"auto", has(), "", "neither"},
	} {
		_, server, err := choose(c.wanted, c.facts)
		if server != c.server || (err == nil) != (c.fault == "") ||
			err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s of %v: got %q, %v, want %q, %q", c.wanted, c.facts.Candidates, server, err, c.server, c.fault)
		}
	}
}

// TestPlay looks at the play for both servers: it is valid, has one handler, and says nothing of a password.
func TestPlay(t *testing.T) {
	for _, flavor := range []string{"mysql", "mariadb"} {
		p := &Provisioner{}
		if err := p.Prepare(
			map[string]any{"config": templateFile, "drop_in": dropInFile, "seed": seedFile},
		); err != nil {
			t.Fatal(err)
		}
		facts := render.SampleFacts()
		facts.Candidates = map[string]string{flavor + "-server": "1"}
		play, err := p.config.play(facts, task.Bytes([]byte("agent")))
		if err != nil {
			t.Fatal(err)
		}
		if err := play.Validate(); err != nil {
			t.Errorf("%s: %v", flavor, err)
		}
		masked := 0
		for _, each := range play.Tasks {
			if statement, ok := each.Spec.(task.SQL); ok && statement.Unless == "" {
				t.Errorf("%s: %q would run at each bake", flavor, each.Name)
			}
			if service, ok := each.Spec.(task.Service); ok && service.Masked != nil {
				masked++
			}
		}
		if want := map[string]int{"mysql": 0, "mariadb": 2}[flavor]; masked != want {
			t.Errorf("%s: %d units are masked, want %d", flavor, masked, want)
		}
	}
}
