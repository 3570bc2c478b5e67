//go:build browser

package onestop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

const (
	maxMessage = 32 << 20               // bytes of one message of the browser
	maxMemory  = 1 << 30                // bytes that the browser and all its processes may have to themselves; a page of a portal takes a third
	weighEvery = 250 * time.Millisecond // between two looks at that
)

// A browser is a Chromium that is spoken to over a pipe by the DevTools protocol: it opens no port, and its folder is new.
type browser struct {
	cmd     *exec.Cmd
	folder  string
	to      *os.File
	from    *os.File
	in      *bufio.Reader
	n       int
	session string
	release func() bool
	ended   chan struct{} // closed when the browser is stopped
	weighed chan struct{} // closed when nobody looks at its memory any more
	heavy   atomic.Bool   // it was ended because it took too much memory

	allows  func(address string) bool
	status  int    // of the last document
	loaded  bool   // the page has come since it was last cleared
	frame   string // the main frame
	refused string // a host of a document that was not allowed
}

// A message is what either side says. https://chromedevtools.github.io/devtools-protocol/
type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// findBrowser looks for Chromium under its usual names.
func findBrowser() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// startBrowser starts a browser in a process group of its own. Certificates with these keys, hashed, hold for it whoever issued them.
func startBrowser(ctx context.Context, program string, keys []string) (*browser, *reach.Fault) {
	if program == "" {
		if program = findBrowser(); program == "" {
			return nil, reach.Failf(check.NotSupported, "no Chromium on this machine: apt-get install chromium")
		}
	}
	folder, err := os.MkdirTemp("", "egovmon-browser-")
	if err != nil {
		return nil, reach.Failf(check.Internal, "no folder for the browser: %v", err)
	}
	b := &browser{folder: folder, ended: make(chan struct{}), weighed: make(chan struct{})}
	args := []string{"--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-extensions", "--disable-breakpad", "--disable-crash-reporter", "--mute-audio", "--hide-scrollbars", "--window-size=1024,768", "--remote-debugging-pipe", "--user-data-dir=" + folder}
	if len(keys) > 0 {
		args = append(args, "--ignore-certificate-errors-spki-list="+strings.Join(keys, ","))
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // root cannot have one
	}
	b.cmd = exec.Command(program, append(args, "about:blank")...)
	b.cmd.Env = append(os.Environ(), "HOME="+folder)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	theirIn, ourOut, err := os.Pipe()
	if err == nil {
		var ourIn, theirOut *os.File
		if ourIn, theirOut, err = os.Pipe(); err == nil {
			b.cmd.ExtraFiles = []*os.File{theirIn, theirOut}
			b.to, b.from = ourOut, ourIn
			err = b.cmd.Start()
			theirOut.Close()
		}
		theirIn.Close()
	}
	if err != nil {
		close(b.weighed)
		b.stop()
		return nil, reach.Failf(check.NotSupported, "the browser cannot be started: %v", err)
	}
	go b.weigh(maxMemory)
	b.in = bufio.NewReaderSize(b.from, 64<<10)
	if end, ok := ctx.Deadline(); ok {
		b.until(end.Add(-min(time.Until(end)/10, 2*time.Second))) // what is left is for the picture
	}
	b.release = context.AfterFunc(ctx, func() { b.until(time.Unix(1, 0)) })
	return b, nil
}

func (b *browser) until(t time.Time) {
	_ = b.from.SetReadDeadline(t)
	_ = b.to.SetWriteDeadline(t)
}

// grace gives the browser a little more time for the picture; the end of the run still ends it.
func (b *browser) grace() { b.until(time.Now().Add(10 * time.Second)) }

// weigh ends the browser when its processes have more memory to themselves than they may.
func (b *browser) weigh(most int64) {
	defer close(b.weighed)
	tick := time.NewTicker(weighEvery)
	defer tick.Stop()
	for {
		select {
		case <-b.ended:
			return
		case <-tick.C:
		}
		if memoryOf(b.cmd.Process.Pid) > most {
			b.heavy.Store(true)
			_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
			return
		}
	}
}

// memoryOf is what the processes of a group have to themselves, in bytes (proc_pid_stat(5), proc_pid_status(5)).
func memoryOf(group int) (sum int64) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The name in brackets may hold anything; after it stand the state, the parent and the group.
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(f) < 3 || f[2] != strconv.Itoa(group) {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			name, value, _ := strings.Cut(line, ":")
			if name != "RssAnon" && name != "RssShmem" {
				continue
			}
			if kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 40); err == nil {
				sum += kb << 10
			}
		}
	}
	return sum
}

// stop ends the browser with all that it has started, and removes its folder.
func (b *browser) stop() {
	if b.release != nil {
		b.release()
	}
	close(b.ended)
	<-b.weighed // the number of the group may be another's once the browser is waited for
	if b.cmd.Process != nil {
		_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
		_ = b.cmd.Wait()
	}
	for _, f := range []*os.File{b.to, b.from} {
		if f != nil {
			f.Close()
		}
	}
	for range 20 { // its children may still be writing
		if os.RemoveAll(b.folder) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// open makes the one page.
func (b *browser) open() *reach.Fault {
	var target struct{ TargetID string }
	if bad := b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target); bad != nil {
		return bad
	}
	var attached struct{ SessionID string }
	if bad := b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); bad != nil {
		return bad
	}
	b.session, b.frame = attached.SessionID, target.TargetID
	for _, one := range []struct {
		method string
		params map[string]any
	}{{"Page.enable", nil}, {"Inspector.enable", nil}, {"Network.enable", nil}, {"Fetch.enable", map[string]any{"patterns": []map[string]any{{"urlPattern": "*"}}}},
		{"Browser.setDownloadBehavior", map[string]any{"behavior": "deny"}}} {
		if bad := b.call(one.method, one.params, nil); bad != nil {
			return bad
		}
	}
	return nil
}

// navigate opens an address.
func (b *browser) navigate(address string) *reach.Fault {
	var said struct{ ErrorText string }
	bad := b.call("Page.navigate", map[string]any{"url": address}, &said)
	if bad == nil && said.ErrorText != "" {
		bad = b.netFault(said.ErrorText)
	}
	return bad
}

// netFault gives an error of Chromium's network its reason.
func (b *browser) netFault(text string) *reach.Fault {
	if b.refused != "" {
		return reach.Failf(check.HTTPRedirect, "led to another site, %s: list it under hosts", b.refused)
	}
	for _, one := range []struct {
		part   string
		reason check.Reason
	}{{"NAME_NOT_RESOLVED", check.DNSNXDomain}, {"DNS_TIMED_OUT", check.DNSTimeout}, {"CONNECTION_REFUSED", check.ConnectRefused}, {"CONNECTION_TIMED_OUT", check.ConnectTimeout},
		{"ADDRESS_UNREACHABLE", check.ConnectUnreachable}, {"INTERNET_DISCONNECTED", check.ConnectUnreachable}, {"CONNECTION_RESET", check.ConnectReset},
		{"CONNECTION_CLOSED", check.ConnectReset}, {"EMPTY_RESPONSE", check.ConnectReset}, {"CERT_DATE_INVALID", check.TLSExpired}, {"CERT_COMMON_NAME_INVALID", check.TLSName},
		{"CERT_REVOKED", check.TLSRevoked}, {"CERT_", check.TLSUntrusted}, {"SSL_VERSION", check.TLSProtocol}, {"SSL_", check.TLSHandshake}, {"TOO_MANY_REDIRECTS", check.HTTPRedirect},
		{"TIMED_OUT", check.Timeout}, {"CONTENT_LENGTH_MISMATCH", check.Truncated}, {"INCOMPLETE", check.Truncated}} {
		if strings.Contains(text, one.part) {
			return reach.Failf(one.reason, "the browser says %s", text)
		}
	}
	return reach.Failf(check.Protocol, "the browser says %s", text)
}

// await waits until the page has come.
func (b *browser) await() *reach.Fault {
	for !b.loaded {
		m, bad := b.read()
		if bad != nil {
			return bad
		}
		b.hear(m)
		if b.refused != "" {
			return b.netFault("")
		}
	}
	return nil
}

// wait lets scripts work for a while.
func (b *browser) wait(ctx context.Context, d time.Duration) *reach.Fault {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return reach.Failf(check.Classify(check.StepExchange, ctx.Err()), "the page does not become as it must be")
	}
}

// run evaluates a script in the page.
func (b *browser) run(script string, result any) *reach.Fault {
	var said struct {
		Result struct{ Value json.RawMessage }
		// What went wrong is not told: it may repeat what was filled in.
		ExceptionDetails json.RawMessage
	}
	bad := b.call("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true, "timeout": 5000}, &said)
	switch {
	case bad != nil:
		return bad
	case len(said.ExceptionDetails) > 0:
		return reach.Failf(check.Protocol, "a script of the check fails on the page")
	case result != nil && json.Unmarshal(said.Result.Value, result) != nil:
		return reach.Failf(check.Protocol, "the browser's answer to a script cannot be read")
	}
	return nil
}

// call sends a command and waits for its result.
func (b *browser) call(method string, params map[string]any, result any) *reach.Fault {
	id, bad := b.send(method, params)
	for bad == nil {
		var m message
		if m, bad = b.read(); bad != nil {
			break
		}
		if m.ID != id {
			b.hear(m)
			continue
		}
		if m.Error != nil {
			return reach.Failf(check.Protocol, "the browser refuses %s: %.80s", method, m.Error.Message)
		}
		if result != nil && json.Unmarshal(m.Result, result) != nil {
			return reach.Failf(check.Protocol, "the browser's answer to %s cannot be read", method)
		}
		return nil
	}
	return bad
}

func (b *browser) send(method string, params map[string]any) (id int, bad *reach.Fault) {
	b.n++
	m := message{ID: b.n, SessionID: b.session, Method: method}
	if strings.HasPrefix(method, "Browser.") {
		m.SessionID = ""
	}
	if params != nil {
		text, err := json.Marshal(params)
		if err != nil {
			return 0, reach.Failf(check.Internal, "%s cannot be written down", method)
		}
		m.Params = text
	}
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.to.Write(append(text, 0))
	}
	if err != nil {
		return 0, b.silent(err)
	}
	return b.n, nil
}

// silent says why nothing more comes from the browser.
func (b *browser) silent(err error) *reach.Fault {
	switch {
	case b.heavy.Load():
		return reach.Failf(check.TooLarge, "the page takes more than %d MB of memory in the browser, which was ended", maxMemory>>20)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reach.Failf(check.Timeout, "the browser or the page does not answer in time")
	}
	return reach.Failf(check.NotSupported, "the browser has ended: %v", err)
}

// read returns the next message.
func (b *browser) read() (m message, bad *reach.Fault) {
	var text []byte
	for {
		part, err := b.in.ReadSlice(0)
		text = append(text, part...)
		if err == nil {
			break
		}
		if len(text) > maxMessage {
			return m, reach.Failf(check.TooLarge, "a message of the browser has more than %d bytes", maxMessage)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return m, b.silent(err)
		}
	}
	if err := json.Unmarshal(bytes.TrimRight(text, "\x00"), &m); err != nil {
		return m, reach.Failf(check.Protocol, "a message of the browser cannot be read")
	}
	if m.Method == "Inspector.targetCrashed" {
		return m, reach.Failf(check.NotSupported, "the browser's process for the page has ended")
	}
	return m, nil
}

// hear takes note of an event.
func (b *browser) hear(m message) {
	var e struct {
		RequestID, FrameID, Type, ResourceType string
		Request                                struct{ URL string }
		Response                               struct{ Status int }
	}
	if m.Params != nil && json.Unmarshal(m.Params, &e) != nil {
		return
	}
	switch m.Method {
	case "Page.loadEventFired":
		b.loaded = true
	case "Network.responseReceived":
		if e.Type == "Document" && e.FrameID == b.frame {
			b.status = e.Response.Status
		}
	case "Page.javascriptDialogOpening":
		_, _ = b.send("Page.handleJavaScriptDialog", map[string]any{"accept": false})
	case "Fetch.requestPaused":
		if b.allows(e.Request.URL) {
			_, _ = b.send("Fetch.continueRequest", map[string]any{"requestId": e.RequestID})
			return
		}
		if e.ResourceType == "Document" && e.FrameID == b.frame {
			host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(e.Request.URL, "https://"), "http://"), "/")
			b.refused = fmt.Sprintf("%.80s", host)
		}
		_, _ = b.send("Fetch.failRequest", map[string]any{"requestId": e.RequestID, "errorReason": "BlockedByClient"})
	}
}
