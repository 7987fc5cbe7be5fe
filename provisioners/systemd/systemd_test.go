package systemd

import (
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

func units(all ...map[string]any) map[string]any {
	var list []any
	for _, u := range all {
		list = append(list, u)
	}
	return map[string]any{"unit": list}
}

func TestPrepareNamesTheUnit(t *testing.T) {
	for _, c := range []struct {
		config map[string]any
		want   string
	}{
		{map[string]any{}, "unit"},
		{units(map[string]any{"name": "a.service"}), `unit[0] "a.service": content`},
		{units(map[string]any{"name": "a.service", "content": "x", "template": "y"}), "content"},
		{units(map[string]any{"name": "a.service", "template": "/no/such"}), "template"},
		{units(map[string]any{"name": "a", "content": "x"}), "unit"},
		{units(map[string]any{"name": "a.service", "drop_in": "x", "content": "x"}), "drop_in"},
	} {
		if err := new(Provisioner).Prepare(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want an error with %q", c.config, err, c.want)
		}
	}
}

func TestPlayVerifiesEachUnit(t *testing.T) {
	p := &Provisioner{}
	if err := p.Prepare(
		units(
			map[string]any{"name": "a.service", "content": "[Unit]", "enabled": true, "after_first_boot": true},
			map[string]any{"name": "nginx.service", "drop_in": "50-a.conf", "content": "[Service]"},
		),
	); err != nil {
		t.Fatal(err)
	}
	play, err := p.config.play(render.SampleFacts(), task.Bytes([]byte("agent")))
	if err != nil || len(play.Handlers) != 2 {
		t.Errorf("%v: handlers %+v", err, play.Handlers)
	}
	if err := play.Validate(); err != nil {
		t.Error(err)
	}
}
