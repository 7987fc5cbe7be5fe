package daemon

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/manners"
)

// TestSetManners switches the manners of a cloud that is up, as the command does.
func TestSetManners(t *testing.T) {
	ownRoots(t)
	config, err := hostConfig("polite")
	if err != nil {
		t.Fatal(err)
	}
	if err = os.MkdirAll(config.RunDir, 0o700); err != nil {
		t.Fatal(err)
	}
	d := &daemon{log: slog.New(slog.DiscardHandler)}
	listener, err := net.Listen("unix", controlPath(config.RunDir))
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: d.control()}
	done := make(chan error)
	go func() { done <- web.Serve(listener) }()
	defer func() {
		web.Close()
		if ended := <-done; !errors.Is(ended, http.ErrServerClosed) {
			t.Error(ended)
		}
	}()
	setting := manners.Setting{EC2: true, Time: 0.1, Seed: 7}
	if err = SetManners(t.Context(), "polite", setting); err == nil || !strings.Contains(err.Error(), "not up yet") {
		t.Errorf("before it is up: %v", err)
	}
	if err = d.ready.begin(config.RunDir, Running{Manners: "none"}); err != nil {
		t.Fatal(err)
	}
	if err = SetManners(t.Context(), "polite", setting); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(readyPath(config.RunDir))
	var told Running
	if err == nil {
		err = json.Unmarshal(content, &told)
	}
	if err != nil || told.Manners != "ec2,time=0.1,seed=7" || d.manners.Setting() != setting {
		t.Errorf("it has %v and tells %+v, %v", d.manners.Setting(), told, err)
	}
}
