package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/manners"
)

// What the daemon does on request while it is up is asked for over a socket that only root may open.

func controlPath(runDir string) string { return filepath.Join(runDir, "control.sock") }

// failed begins the last line of an answer on the control socket if the work failed.
const failed = "error: "

// control answers with lines of progress while it works.
func (d *daemon) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /bases/{name}", func(w http.ResponseWriter, r *http.Request) {
		var one sync.Mutex
		say := func(line string) {
			one.Lock()
			defer one.Unlock()
			fmt.Fprintln(w, strings.ReplaceAll(line, "\n", "; "))
			http.NewResponseController(w).Flush()
		}
		if err := d.addBase(r.Context(), r.PathValue("name"), say); err != nil {
			say(failed + err.Error())
		}
	})
	mux.HandleFunc("PUT /manners", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(io.LimitReader(r.Body, 1000))
		if err == nil {
			err = d.setManners(string(text))
		}
		if err != nil {
			fmt.Fprintln(w, failed+strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	})
	return mux
}

// setManners switches the cloud's manners, and tells all who look.
func (d *daemon) setManners(text string) error {
	setting, err := manners.Parse(text)
	if err != nil {
		return err
	}
	return d.ready.change(func(r *Running) {
		d.manners.Set(setting)
		r.Manners = setting.String()
		d.log.Info("manners", "are", r.Manners)
	})
}

// SetManners switches the manners of a cloud that is up.
func SetManners(ctx context.Context, name string, setting manners.Setting) error {
	err := command(ctx, name, http.MethodPut, "/manners", setting.String(), func(string) {})
	if err != nil {
		return fmt.Errorf("set the manners of cloud %s: %w", name, err)
	}
	return nil
}

// AddBase makes a base image launchable in a cloud that is up; if it has to be made first, progress tells.
func AddBase(ctx context.Context, name, base string, progress func(string)) error {
	if err := command(ctx, name, http.MethodPost, "/bases/"+url.PathEscape(base), "", progress); err != nil {
		return fmt.Errorf("add base image %.60q to cloud %s: %w", base, name, err)
	}
	return nil
}

// command has the daemon of a cloud do something.
func command(ctx context.Context, name, method, path, body string, progress func(string)) error {
	config, err := hostConfig(name)
	if err != nil {
		return err
	}
	socket := controlPath(config.RunDir)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, method, "http://cloud"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if errors.Is(err, os.ErrPermission) {
		return errors.New("it needs root\nhint: run it with sudo")
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New("the cloud was started by a version that does not know this\n" +
			"hint: take it down and up: goldsmith cloud down")
	}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if reason, ok := strings.CutPrefix(lines.Text(), failed); ok {
			return errors.New(reason)
		}
		progress(lines.Text())
	}
	return lines.Err()
}
