//go:build acceptance

package chromium

import (
	"bufio"
	_ "embed"
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

// Browser is a Chromium of the test's own, driven by the DevTools protocol through a pipe: it ends when the pipe does,
// so also when the test is killed. It has no way to anywhere: no name resolves, and its proxy is a port that nobody
// listens on.
type Browser struct {
	// T is the test that is under way.
	T        testing.TB
	commands *os.File
	messages chan message
	next     int
	session  string
	// Requests are the URLs that the page requested, and Complaints the browser's messages about it, since it was
	// opened.
	Requests, Complaints []string
}

type message struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// Start starts a browser, which ends with the test.
func Start(t testing.TB) *Browser {
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
	cmd := exec.Command(
		"chromium",
		"--headless=new",
		"--no-sandbox",
		"--remote-debugging-pipe",
		"--user-data-dir="+filepath.Join(home, "profile"),
		"--disable-background-networking",
		"--disable-component-update",
		"--disable-domain-reliability",
		"--disable-sync",
		"--disable-extensions",
		"--disable-default-apps",
		"--disable-breakpad",
		"--disable-gpu",
		"--disable-dev-shm-usage",
		"--no-first-run",
		"--no-pings",
		"--hide-scrollbars",
		"--host-resolver-rules=MAP * ~NOTFOUND",
		"--proxy-server=127.0.0.1:9",
		"--proxy-bypass-list=<-loopback>",
		"about:blank",
	)
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
	b := &Browser{T: t, commands: commands, messages: make(chan message, 1000)}
	t.Cleanup(func() {
		commands.Close()
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
			t.Errorf("end Chromium: %v", err)
		}
		_ = cmd.Wait() // killed
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
func (b *Browser) listen(r *bufio.Reader) {
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
func (b *Browser) call(method string, params, result any) {
	b.T.Helper()
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
		b.T.Fatal(err)
	}
	if _, err := b.commands.Write(append(text, 0)); err != nil {
		b.T.Fatalf("%s: %v", method, err)
	}
	answer := b.wait(method, func(m message) bool { return m.ID == b.next })
	if answer.Error != nil {
		b.T.Fatalf("%s: %s", method, answer.Error.Message)
	}
	if result != nil {
		if err := json.Unmarshal(answer.Result, result); err != nil {
			b.T.Fatalf("%s: %v: %s", method, err, answer.Result)
		}
	}
}

// wait takes messages until the wanted one, and keeps what those between say.
func (b *Browser) wait(what string, wanted func(message) bool) message {
	b.T.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case m, ok := <-b.messages:
			if !ok {
				b.T.Fatalf("%s: Chromium ended", what)
			}
			b.note(m)
			if wanted(m) {
				return m
			}
		case <-deadline:
			b.T.Fatalf("%s: no answer within a minute", what)
		}
	}
}

func (b *Browser) note(m message) {
	switch m.Method {
	case "Network.requestWillBeSent":
		var sent struct{ Request struct{ URL string } }
		if err := json.Unmarshal(m.Params, &sent); err != nil {
			b.T.Fatal(err)
		}
		b.Requests = append(b.Requests, sent.Request.URL)
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Audits.issueAdded":
		b.Complaints = append(b.Complaints, fmt.Sprintf("%s %s", m.Method, m.Params))
	}
}

// Open shows a file in a window of some width and a colour scheme, or as it is printed. The window is as high as the
// page.
func (b *Browser) Open(file string, width int, scheme string) {
	b.T.Helper()
	b.Requests, b.Complaints = nil, nil
	media := map[string]any{
		"media":    "screen",
		"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}},
	}
	if scheme == "print" {
		media = map[string]any{
			"media":    "print",
			"features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}},
		}
	}
	b.call("Emulation.setEmulatedMedia", media, nil)
	b.size(width, 800)
	b.call("Page.navigate", map[string]any{"url": "file://" + file}, nil)
	b.wait("open "+file, func(m message) bool { return m.Method == "Page.loadEventFired" })
	var height int
	b.Evaluate("document.documentElement.scrollHeight", &height)
	b.size(width, height)
}

func (b *Browser) size(width, height int) {
	b.T.Helper()
	b.call(
		"Emulation.setDeviceMetricsOverride",
		map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false},
		nil,
	)
}

// Evaluate decodes the value of a JavaScript expression in the page into result.
func (b *Browser) Evaluate(expression string, result any) {
	b.T.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call(
		"Runtime.evaluate",
		map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true},
		&answer,
	)
	if answer.ExceptionDetails != nil {
		b.T.Fatalf("evaluate: %s", answer.ExceptionDetails)
	}
	if result != nil {
		if err := json.Unmarshal(answer.Result.Value, result); err != nil {
			b.T.Fatalf("evaluate: %v: %s", err, answer.Result.Value)
		}
	}
}

// Screenshot writes a picture of the whole page.
func (b *Browser) Screenshot(file string) {
	b.T.Helper()
	var shot struct{ Data []byte }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	if err := os.WriteFile(file, shot.Data, 0o644); err != nil {
		b.T.Fatal(err)
	}
}

//go:embed look.js
var look string

// Looked is the result of look.js on a page.
type Looked struct {
	// Wide is the number of pixels by which the page is wider than the window.
	Wide int
	// Pictures, Labels and Arrows are the numbers of those that are shown.
	Pictures, Labels, Arrows int
	// Overlaps are pairs of labels, Outside labels that are cut off, Faint those that can hardly be read, Small those
	// too small.
	Overlaps, Outside, Faint, Small []string
}

// Look looks at the pictures and labels of the page that is open.
func (b *Browser) Look() Looked {
	b.T.Helper()
	var l Looked
	b.Evaluate(look, &l)
	return l
}

// Axe has axe, whose source it is given, judge the page that is open; it returns what is wrong.
func (b *Browser) Axe(source string) []string {
	b.T.Helper()
	b.Evaluate(source+";0", nil)
	var found []string
	b.Evaluate(
		`axe.run(document, {preload: false, resultTypes: ["violations"]}).then(r => r.violations.map(v => v.id + ": `+
			`" + v.nodes.map(n => n.html + " " + n.failureSummary).join("\n")))`,
		&found,
	)
	return found
}

// Judge opens a page that has all that it needs in its file, and says of it what a reader could not read, what axe and
// the browser complain of, and what the page asks for besides.
func (b *Browser) Judge(file string, width int, scheme, axe string) Looked {
	b.T.Helper()
	b.Open(file, width, scheme)
	l := b.Look()
	if l.Wide > 0 {
		b.T.Errorf("the page is %d pixels wider than the window", l.Wide)
	}
	// Without a background of its own the page would be on the browser's, which may be dark where the text is too.
	var ground string
	b.Evaluate("getComputedStyle(document.body).backgroundColor", &ground)
	if !strings.HasPrefix(ground, "rgb(") {
		b.T.Errorf("the page's background is %s", ground)
	}
	for _, fault := range []struct {
		what   string
		labels []string
	}{
		{"over each other", l.Overlaps},
		{"cut off", l.Outside},
		{"hardly to be read", l.Faint},
		{"too small", l.Small},
	} {
		if n := len(fault.labels); n > 0 {
			b.T.Errorf("%d labels are %s: %q", n, fault.what, fault.labels[:min(5, n)])
		}
	}
	for _, violation := range b.Axe(axe) {
		b.T.Errorf("axe: %s", violation)
	}
	if len(b.Complaints) > 0 {
		b.T.Errorf("the browser complains: %s", strings.Join(b.Complaints, "\n"))
	}
	if len(b.Requests) != 1 || b.Requests[0] != "file://"+file {
		b.T.Errorf("the page asks for %q", b.Requests)
	}
	return l
}
