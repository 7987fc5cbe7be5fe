package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	return mux
}

// AddBase makes a base image launchable in a cloud that is up; if it has to be made first, progress tells.
func AddBase(ctx context.Context, name, base string, progress func(string)) error {
	config, err := hostConfig(name)
	if err != nil {
		return fmt.Errorf("add base image %.60q: %w", base, err)
	}
	path := controlPath(config.RunDir)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://cloud/bases/"+url.PathEscape(base), nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("add base image %s to cloud %s: it needs root\nhint: run it with sudo", base, name)
	}
	if err != nil {
		return fmt.Errorf("add base image %s to cloud %s: %w", base, name, err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if reason, ok := strings.CutPrefix(lines.Text(), failed); ok {
			return fmt.Errorf("add base image %s to cloud %s: %s", base, name, reason)
		}
		progress(lines.Text())
	}
	return lines.Err()
}
