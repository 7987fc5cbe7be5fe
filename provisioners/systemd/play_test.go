package systemd

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// prepared is the play of these units for this machine.
func prepared(t *testing.T, config map[string]any, facts task.Facts) task.Play {
	t.Helper()
	p := &Provisioner{}
	if err := p.Prepare(config); err != nil {
		t.Fatal(err)
	}
	play, err := p.config.play(facts, task.Bytes([]byte("agent")))
	if err != nil {
		t.Fatal(err)
	}
	if err := play.Validate(); err != nil {
		t.Fatal(err)
	}
	return play
}

// content is the content of the unit or drop-in file that the play writes.
func content(t *testing.T, play task.Play, name, dropIn string) string {
	t.Helper()
	for _, each := range play.Tasks {
		unit, ok := each.Spec.(task.Unit)
		if !ok || unit.Unit != name || unit.DropIn != dropIn {
			continue
		}
		r, err := unit.Content.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	t.Fatalf("the play writes no %s %s", name, dropIn)
	return ""
}

func TestContentStaysAsItIs(t *testing.T) {
	const text = "[Service]\nExecStart=/usr/bin/docker ps --format {{.Names}} %n\n"
	play := prepared(t, units(map[string]any{"name": "a.service", "content": text}), render.SampleFacts())
	if got := content(t, play, "a.service", ""); got != text {
		t.Errorf("got %q, want %q", got, text)
	}
}

func TestTemplateKnowsTheMachine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.service.tmpl")
	if err := os.WriteFile(
		path,
		[]byte("[Service]\nEnvironment=A={{ .vars.a }} ARCH={{ .facts.arch }}\n"),
		0o644,
	); err != nil {
		t.Fatal(err)
	}
	config := units(map[string]any{"name": "a.service", "template": path})
	config["vars"] = map[string]string{"a": "1"}
	play := prepared(t, config, task.Facts{Arch: "arm64"})
	if got, want := content(t, play, "a.service", ""), "[Service]\nEnvironment=A=1 ARCH=arm64\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	delete(config, "vars")
	if err := new(
		Provisioner,
	).Prepare(config); err == nil || !strings.Contains(err.Error(), `unit[0] "a.service": template:`) ||
		!strings.Contains(err.Error(), "a.service.tmpl:2") {
		t.Errorf("without the variable: %v", err)
	}
}

// TestAgentOnlyWhereItIsNeeded puts the first boot into an image only for a unit that waits for it.
func TestAgentOnlyWhereItIsNeeded(t *testing.T) {
	plain := units(map[string]any{"name": "a.service", "content": "[Unit]"})
	if play := prepared(t, plain, render.SampleFacts()); len(play.Tasks) != 1 {
		t.Errorf("a unit alone makes %+v", play.Tasks)
	}
	play := prepared(
		t,
		units(map[string]any{"name": "a.service", "content": "[Unit]", "after_first_boot": true}),
		render.SampleFacts(),
	)
	place := map[string]int{}
	for i, each := range play.Tasks {
		place[each.Name] = i + 1
	}
	if place[instance.FirstBootUnit] == 0 || place[instance.FirstBootUnit] > place["a.service"] {
		t.Errorf("the first boot's unit does not come before the one that waits for it: %v", place)
	}
	drop := content(t, play, "a.service", "10-goldsmith.conf")
	if !strings.Contains(drop, "Requires="+instance.FirstBootUnit) ||
		!strings.Contains(drop, "After="+instance.FirstBootUnit) {
		t.Errorf("the unit does not wait:\n%s", drop)
	}
}

// TestEnabledIsThreeValued tells off from left alone.
func TestEnabledIsThreeValued(t *testing.T) {
	for _, c := range []struct {
		enabled any
		want    []bool
	}{{nil, nil}, {true, []bool{true}}, {false, []bool{false}}} {
		unit := map[string]any{"name": "a.service", "content": "[Unit]"}
		if c.enabled != nil {
			unit["enabled"] = c.enabled
		}
		var got []bool
		for _, each := range prepared(t, units(unit), render.SampleFacts()).Tasks {
			if service, ok := each.Spec.(task.Service); ok {
				got = append(got, *service.Enabled)
				if service.State != "" {
					t.Errorf("enabled = %v also makes the unit %s", c.enabled, service.State)
				}
			}
		}
		if len(got) != len(c.want) || len(got) == 1 && got[0] != c.want[0] {
			t.Errorf("enabled = %v: got %v, want %v", c.enabled, got, c.want)
		}
	}
}

// TestEachUnitIsVerified has systemd read what changed, each under its own name.
func TestEachUnitIsVerified(t *testing.T) {
	play := prepared(t, units(map[string]any{"name": "a.service", "content": "[Unit]"},
		map[string]any{"name": "a.service", "drop_in": "50-a.conf", "content": "[Unit]"}), render.SampleFacts())
	for i, handler := range play.Handlers {
		command, ok := handler.Spec.(task.Command)
		if !ok || strings.Join(command.Argv, " ") != "systemd-analyze verify a.service" {
			t.Errorf("handler %d is %+v", i, handler)
		}
		if notify := play.Tasks[i].Notify; len(notify) != 1 || notify[0] != handler.Name {
			t.Errorf("task %d notifies %v, and its handler is %q", i, notify, handler.Name)
		}
	}
}

func TestEveryFaultAtOnce(t *testing.T) {
	err := new(
		Provisioner,
	).Prepare(units(map[string]any{"name": "a.service"}, map[string]any{"name": "b.service", "template": "/no/such"}))
	for _, want := range []string{`unit[0] "a.service": content`, `unit[1] "b.service": template`, "/no/such"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

// TestFaultsCountTheUsersBlocks names the block by its own place, whatever the play has before it.
func TestFaultsCountTheUsersBlocks(t *testing.T) {
	for want, unit := range map[string]map[string]any{
		`unit[1] "b": unit:`:            {"name": "b", "content": "[Unit]"},
		`unit[1] "": unit:`:             {"name": "", "content": "[Unit]"},
		`unit[1] "b.service": drop_in:`: {"name": "b.service", "drop_in": "limits", "content": "[Unit]"},
	} {
		err := new(
			Provisioner,
		).Prepare(units(map[string]any{"name": "a.service", "content": "[Unit]", "after_first_boot": true}, unit))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "task[") {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
