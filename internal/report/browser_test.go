//go:build acceptance

package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// browser is a Chromium of the test's own, driven by the DevTools protocol through a pipe: it ends when the pipe does, so
// also when the test is killed. It has no way to anywhere: no name resolves, and its proxy is a port that nobody listens on.
type browser struct {
	t        *testing.T
	commands *os.File
	messages chan message
	next     int
	session  string
	// requests and complaints are what pages asked for, and what the browser said of them, since the last page was opened.
	requests, complaints []string
}

type message struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	theirCommands, commands, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	messages, theirMessages, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	var log strings.Builder
	cmd := exec.Command("chromium", "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--user-data-dir="+filepath.Join(home, "profile"),
		"--disable-background-networking", "--disable-component-update", "--disable-domain-reliability", "--disable-sync", "--disable-extensions",
		"--disable-default-apps", "--disable-breakpad", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-pings", "--hide-scrollbars",
		"--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>", "about:blank")
	cmd.ExtraFiles = []*os.File{theirCommands, theirMessages}
	cmd.Env = append(os.Environ(), "HOME="+home)
	cmd.Stderr = &log
	// A group of its own has all of its processes, so that all of them can be ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start Chromium: %v\nhint: scripts/deps --test", err)
	}
	theirCommands.Close()
	theirMessages.Close()
	b := &browser{t: t, commands: commands, messages: make(chan message, 1000)}
	t.Cleanup(func() {
		commands.Close()
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
			t.Errorf("end Chromium: %v", err)
		}
		cmd.Wait()
		messages.Close()
		if t.Failed() {
			t.Logf("Chromium said:\n%s", log.String())
		}
	})
	go b.listen(bufio.NewReaderSize(messages, 1<<20))
	var target struct{ TargetID, SessionID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network", "Audits"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// listen reads messages, each of which a zero byte ends.
func (b *browser) listen(r *bufio.Reader) {
	defer close(b.messages)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) == nil {
			b.messages <- m
		}
	}
}

// call has the browser do something, and waits for its answer.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.next++
	call := map[string]any{"id": b.next, "method": method}
	if params != nil {
		call["params"] = params
	}
	if b.session != "" {
		call["sessionId"] = b.session
	}
	text, err := json.Marshal(call)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.commands.Write(append(text, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	answer := b.wait(method, func(m message) bool { return m.ID == b.next })
	if answer.Error != nil {
		b.t.Fatalf("%s: %s", method, answer.Error.Message)
	}
	if result != nil {
		if err := json.Unmarshal(answer.Result, result); err != nil {
			b.t.Fatalf("%s: %v: %s", method, err, answer.Result)
		}
	}
}

// wait takes messages until the wanted one, and keeps what those between say.
func (b *browser) wait(what string, wanted func(message) bool) message {
	b.t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case m, ok := <-b.messages:
			if !ok {
				b.t.Fatalf("%s: Chromium ended", what)
			}
			b.note(m)
			if wanted(m) {
				return m
			}
		case <-deadline:
			b.t.Fatalf("%s: no answer within a minute", what)
		}
	}
}

func (b *browser) note(m message) {
	switch m.Method {
	case "Network.requestWillBeSent":
		var sent struct{ Request struct{ URL string } }
		if err := json.Unmarshal(m.Params, &sent); err != nil {
			b.t.Fatal(err)
		}
		b.requests = append(b.requests, sent.Request.URL)
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Audits.issueAdded":
		b.complaints = append(b.complaints, fmt.Sprintf("%s %s", m.Method, m.Params))
	}
}

// open shows a file in a window of some width and a colour scheme, or as it is printed. The window is as high as the page.
func (b *browser) open(file string, width int, scheme string) {
	b.t.Helper()
	b.requests, b.complaints = nil, nil
	media := map[string]any{"media": "screen", "features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}
	if scheme == "print" {
		media = map[string]any{"media": "print", "features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}}
	}
	b.call("Emulation.setEmulatedMedia", media, nil)
	b.size(width, 800)
	b.call("Page.navigate", map[string]any{"url": "file://" + file}, nil)
	b.wait("open "+file, func(m message) bool { return m.Method == "Page.loadEventFired" })
	var height int
	b.evaluate("document.documentElement.scrollHeight", &height)
	b.size(width, height)
}

func (b *browser) size(width, height int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// evaluate is what an expression is in the page.
func (b *browser) evaluate(expression string, result any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("evaluate: %s", answer.ExceptionDetails)
	}
	if result != nil {
		if err := json.Unmarshal(answer.Result.Value, result); err != nil {
			b.t.Fatalf("evaluate: %v: %s", err, answer.Result.Value)
		}
	}
}

// screenshot writes a picture of the whole page.
func (b *browser) screenshot(file string) {
	b.t.Helper()
	var shot struct{ Data []byte }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	if err := os.WriteFile(file, shot.Data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
