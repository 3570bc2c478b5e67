package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/agent/daemon/daemontest"
	"egovmon/agent/host"
)

var onWine = flag.Bool("wine", false, "build the agent for Windows and run it under Wine; about a minute")

// A windowsPC is a Wine prefix of its own.
type windowsPC struct {
	*testing.T
	wine, prefix, agent string
}

// TestWine runs the agent that is built for Windows. Wine has neither a Security Center, Defender, BitLocker, access lists,
// event logs nor accounts: the README lists what only a real Windows shows.
func TestWine(t *testing.T) {
	if !*onWine {
		t.Skip("the agent for Windows is run under Wine with `go test ./agent -run TestWine -wine`")
	}
	pc := newWindowsPC(t)
	t.Run("start", pc.starts)
	t.Run("controls", pc.flips)
	t.Run("kinds", pc.looks)
	t.Run("doctor", pc.doctor)
	t.Run("secret", pc.seals)
	t.Run("service", pc.serves)
}

func findWine() string {
	for _, name := range []string{"wine64", "wine", "/usr/lib/wine/wine64"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func newWindowsPC(t *testing.T) *windowsPC {
	wine := findWine()
	if wine == "" || runtime.GOARCH != "amd64" {
		t.Skip("no wine64 for amd64 here: apt-get install wine64")
	}
	pc := &windowsPC{T: t, wine: wine, prefix: filepath.Join(t.TempDir(), "prefix"), agent: filepath.Join(t.TempDir(), "agent.exe")}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", pc.agent, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=windows", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Everything of the prefix ends with its server, when the folder goes.
	t.Cleanup(pc.ends)
	if out, code := pc.run("wineboot", "-i"); code != 0 {
		t.Fatalf("wineboot: %d\n%s", code, out)
	}
	library := filepath.Join(pc.prefix, "drive_c", "windows", "system32", "bcryptprimitives.dll")
	if _, err := os.Stat(library); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(library, randomLibrary(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Its service manager gives up a service that is not there within 10 s, and reads how long once, when it starts.
	pc.done("reg", "add", `HKLM\SYSTEM\CurrentControlSet\Control`, "/v", "ServicesPipeTimeout", "/t", "REG_SZ", "/d", "100000", "/f")
	pc.ends()
	pc.stays()
	return pc
}

func (pc *windowsPC) env() []string {
	return append(os.Environ(), "WINEPREFIX="+pc.prefix, "WINEARCH=win64", "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree,mshtml=", "DISPLAY=")
}

// ends stops all that runs in the prefix.
func (pc *windowsPC) ends() {
	server := "/usr/lib/wine/wineserver"
	if path, err := exec.LookPath("wineserver"); err == nil {
		server = path
	}
	for _, how := range []string{"-k", "-w"} {
		end := exec.Command(server, how)
		end.Env = pc.env()
		_ = end.Run()
	}
}

// stays keeps a program open in the prefix, so that its services are not started anew for every command.
func (pc *windowsPC) stays() {
	hold := exec.CommandContext(pc.Context(), pc.wine, "cmd")
	hold.Env = pc.env()
	in, err := hold.StdinPipe()
	if err == nil {
		err = hold.Start()
	}
	if err != nil {
		pc.Fatal(err)
	}
	pc.Cleanup(func() { _ = in.Close(); _ = hold.Wait() })
}

// run runs a program of Windows to its end, bounded.
func (pc *windowsPC) run(args ...string) (out string, code int) {
	pc.Helper()
	ctx, cancel := context.WithTimeout(pc.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, pc.wine, args...)
	cmd.Env = pc.env()
	// A file, not a pipe: what Wine starts in the background keeps it open.
	to, err := os.CreateTemp(pc.TempDir(), "out")
	if err != nil {
		pc.Fatal(err)
	}
	defer to.Close()
	cmd.Stdout, cmd.Stderr = to, to
	err = cmd.Run()
	b, err2 := os.ReadFile(to.Name())
	if err2 != nil {
		pc.Fatal(err2)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(b), exit.ExitCode()
	}
	if err != nil {
		pc.Fatal(err)
	}
	return string(b), 0
}

// done is run that must succeed.
func (pc *windowsPC) done(args ...string) string {
	pc.Helper()
	out, code := pc.run(args...)
	if code != 0 {
		pc.Fatalf("%s: exit code %d\n%.600s", strings.Join(args, " "), code, out)
	}
	return out
}

func (pc *windowsPC) with(t *testing.T) *windowsPC {
	return &windowsPC{T: t, wine: pc.wine, prefix: pc.prefix, agent: pc.agent}
}

func (pc *windowsPC) starts(t *testing.T) {
	pc = pc.with(t)
	if out := pc.done(pc.agent, "version"); !strings.Contains(out, "egovmon ") {
		t.Errorf("version: %.200s", out)
	}
	if out := pc.done(pc.agent, "kinds", "control"); !strings.Contains(out, "m26") {
		t.Errorf("kinds control: %.200s", out)
	}
	if out, code := pc.run(pc.agent, "nonsense"); code != exitUsage {
		t.Errorf("a word that is none: exit code %d\n%.200s", code, out)
	}
}

// measured are the controls of a machine that need no address.
func measured() []string {
	return strings.Fields("m01 m02 m03 m04 m05 m06 m08 m09 m10 m11 m12 m13 m14 m15 m16 m17 m18 m21 m22 m23 m26")
}

// controls runs all of them once and returns their reasons.
func (pc *windowsPC) controls() map[string]string {
	pc.Helper()
	var b strings.Builder
	b.WriteString("plan: wine\nversion: 1\nissued: 2026-11-23T01:00:00Z\nchecks:\n")
	for _, id := range measured() {
		extra := ""
		if id == "m06" {
			extra = `, os_ends: ["windows 7601=2030-01-01"]`
		}
		fmt.Fprintf(&b, "  - {id: c.%s, service: c, kind: control, every: 5m, timeout: 120s, confirm: 0, path: lan, with: {id: %s%s}}\n", id, id, extra)
	}
	file := filepath.Join(pc.TempDir(), "plan.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		pc.Fatal(err)
	}
	reasons := map[string]string{}
	for line := range strings.Lines(pc.done(pc.agent, "check", "--plan", file, "--json")) {
		var r struct{ Check, Reason, Detail string }
		if !strings.HasPrefix(line, "{") {
			continue // a word of Wine's
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			pc.Fatalf("%v: %.200s", err, line)
		}
		id := strings.TrimPrefix(r.Check, "c.")
		reasons[id] = r.Reason
		pc.Logf("%s %s %.160s", id, r.Reason, r.Detail)
	}
	if len(reasons) != len(measured()) {
		pc.Fatalf("%d results, want %d", len(reasons), len(measured()))
	}
	return reasons
}

// A setting is one value of the registry below HKEY_LOCAL_MACHINE, or with an empty kind none.
type setting struct{ key, name, kind, value string }

func (pc *windowsPC) set(list ...setting) {
	pc.Helper()
	for _, s := range list {
		if s.kind == "" {
			pc.done("reg", "delete", `HKLM\`+s.key, "/v", s.name, "/f", "/reg:64")
			continue
		}
		pc.done("reg", "add", `HKLM\`+s.key, "/v", s.name, "/t", s.kind, "/d", s.value, "/f", "/reg:64")
	}
}

// fileTime is a time as Windows keeps it in eight bytes, in hex.
func fileTime(at time.Time) string {
	return fmt.Sprintf("%x", binary.LittleEndian.AppendUint64(nil, fileTimeOf(at)))
}

func fileTimeOf(at time.Time) uint64 { return uint64(at.UnixNano()/100 + 116444736000000000) }

// flips changes one setting after the other in the registry of the prefix: exactly its control must change.
func (pc *windowsPC) flips(t *testing.T) {
	pc = pc.with(t)
	const (
		services = `SYSTEM\CurrentControlSet\Services\`
		wall     = services + `SharedAccess\Parameters\FirewallPolicy\`
		internet = `SOFTWARE\Microsoft\Windows\CurrentVersion\Internet Settings`
		update   = `SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages\Package_for_KB5031988~31bf3856ad364e35~amd64~~19041.3562.1.1`
		names    = `SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\`
	)
	now := time.Now()
	dword := func(key, name string, v uint64) setting {
		return setting{key, name, "REG_DWORD", fmt.Sprintf("0x%x", v&0xffffffff)}
	}
	brought := func(age time.Duration) setting {
		return setting{`SOFTWARE\Microsoft\Windows Defender\Signature Updates`, "SignaturesLastUpdated", "REG_BINARY", fileTime(now.Add(-age))}
	}
	patched := func(age time.Duration) []setting {
		at := fileTimeOf(now.Add(-age))
		return []setting{dword(update, "CurrentState", 0x70), dword(update, "InstallTimeHigh", at>>32), dword(update, "InstallTimeLow", at)}
	}
	was := pc.controls()
	for id, reason := range was {
		if reason == "internal" {
			t.Errorf("%s is internal", id)
		}
	}
	for _, tt := range []struct {
		name, id, want string
		set            []setting
	}{
		{"signatures of today", "m02", "ok", []setting{brought(time.Hour)}},
		{"signatures of nine days ago", "m02", "control_fail", []setting{brought(9 * 24 * time.Hour)}},
		{"firewall on", "m04", "ok", []setting{dword(wall+"DomainProfile", "EnableFirewall", 1), dword(wall+"StandardProfile", "EnableFirewall", 1), dword(wall+"PublicProfile", "EnableFirewall", 1)}},
		{"firewall off for public networks", "m04", "control_partial", []setting{dword(wall+"PublicProfile", "EnableFirewall", 0)}},
		{"patched", "m05", "ok", patched(48 * time.Hour)},
		{"patched long ago", "m05", "control_fail", patched(90 * 24 * time.Hour)},
		{"LLMNR off", "m08", "ok", []setting{dword(`SOFTWARE\Policies\Microsoft\Windows NT\DNSClient`, "EnableMulticast", 0)}},
		{"SMBv1 on", "m08", "control_fail", []setting{dword(services+`LanmanServer\Parameters`, "SMB1", 1)}},
		{"Remote Desktop on", "m09", "control_fail", []setting{dword(`SYSTEM\CurrentControlSet\Control\Terminal Server`, "fDenyTSConnections", 0)}},
		{"autorun off", "m14", "ok", []setting{dword(`SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\Explorer`, "NoDriveTypeAutoRun", 255)}},
		{"clock set by nobody", "m16", "control_fail", []setting{dword(services+"W32Time", "Start", 4), {services + `W32Time\Parameters`, "Type", "REG_SZ", "NoSync"}}},
		{"hosts file elsewhere", "m21", "not_supported", []setting{{services + `Tcpip\Parameters`, "DataBasePath", "REG_SZ", `nowhere\etc`}}},
		{"hosts file where it belongs", "m21", "ok", []setting{{services + `Tcpip\Parameters`, "DataBasePath", "REG_EXPAND_SZ", `%SystemRoot%\System32\drivers\etc`}}},
		{"proxy for all", "m22", "control_fail", []setting{dword(internet, "ProxyEnable", 1), {internet, "ProxyServer", "REG_SZ", "10.20.0.1:8080"}}},
		{"proxy off", "m22", was["m22"], []setting{dword(internet, "ProxyEnable", 0)}},
		{"a program to break licences", "m23", "control_fail", []setting{{names + "Kẻ gian", "DisplayName", "REG_SZ", "KMSpico bẻ khóa"}}},
		{"a value of another type", "m14", "not_supported", []setting{{`SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\Explorer`, "NoDriveTypeAutoRun", "REG_SZ", "255"}}},
	} {
		t.Run(tt.id+" "+tt.name, func(t *testing.T) {
			pc := pc.with(t)
			pc.set(tt.set...)
			is := pc.controls()
			var changed []string
			for id := range is {
				if is[id] != was[id] {
					changed = append(changed, id)
				}
			}
			if is[tt.id] != tt.want || !slices.Equal(changed, []string{tt.id}) {
				t.Errorf("%s is %s, want %s; changed: %v", tt.id, is[tt.id], tt.want, changed)
			}
			maps.Copy(was, is)
		})
	}
}

func (pc *windowsPC) doctor(t *testing.T) {
	pc = pc.with(t)
	out, code := pc.run(pc.agent, "doctor", "--lang", "en", "--data", pc.inside("doctor"))
	if code == exitUsage || !strings.Contains(out, "not_configured") || strings.Contains(out, "panic") {
		t.Errorf("exit code %d\n%.600s", code, out)
	}
}

// inside makes a folder of drive C: and returns its path as Windows has it.
func (pc *windowsPC) inside(name string) string {
	if err := os.MkdirAll(filepath.Join(pc.prefix, "drive_c", name), 0o700); err != nil {
		pc.Fatal(err)
	}
	return `C:\` + name
}

// seals lets a check read a secret that a person wrote: it works, and the file is sealed by the machine's key then.
func (pc *windowsPC) seals(t *testing.T) {
	pc = pc.with(t)
	const password = "mật khẩu rất dài"
	given := make(chan string, 16)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, p, _ := r.BasicAuth()
		select {
		case given <- p:
		default:
		}
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	data := pc.inside("Dữ liệu của tôi")
	file := filepath.Join(pc.prefix, "drive_c", "Dữ liệu của tôi", "secrets", "may-do")
	plan := filepath.Join(t.TempDir(), "plan.yaml")
	text := fmt.Sprintf("plan: wine\nversion: 1\nissued: 2026-11-23T01:00:00Z\nchecks:\n  - {id: a.http, service: a, kind: http, every: 5m, timeout: 120s, path: lan, with: {url: 'http://%s/', user: u, password: {secret: may-do}}}\n", l.Addr())
	if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(password+"\r\n"), 0o600), os.WriteFile(plan, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"as a person wrote it", "sealed"} {
		out := pc.done(pc.agent, "check", "--plan", plan, "--data", data, "--json")
		select {
		case p := <-given:
			if p != password {
				t.Errorf("%s: the server was given %q", how, p)
			}
		default:
			t.Fatalf("%s: the server was not asked: %.400s", how, out)
		}
		if b, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(b, []byte("egovmon-sealed/1 dpapi\n")) || bytes.Contains(b, []byte("kh")) {
			t.Errorf("%s: the file holds %.40q, %v", how, b, err)
		}
	}
}

// serves installs the service, sees it measure, push and answer, restarts and removes it.
func (pc *windowsPC) serves(t *testing.T) {
	pc = pc.with(t)
	c, err := daemontest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	address := freeAddress(t)
	c.SetPlan(machine, 1, fmt.Sprintf("plan: wine\nfor: %s\nversion: 1\nseal: 5s\nchecks:\n  - {id: a.tcp, kind: tcp, every: 10s, timeout: 4s, confirm: 0, with: {address: '%s'}}\n", machine, peer.Addr()))
	data := pc.inside("egovmon data")
	folder := filepath.Join(pc.prefix, "drive_c", "egovmon data")
	if err := os.WriteFile(filepath.Join(folder, "agent.yaml"), []byte("listen: "+address+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pc.done(pc.agent, "enrol", "--collector", c.URL, "--token", c.Token(machine), "--data", data)
	pc.done(pc.agent, "service", "install", "--data", data)
	shown := func() bool {
		resp, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
		return strings.Contains(string(b), `egovmon_check_success{check="a.tcp"} 1`)
	}
	pc.await("the check in /metrics", folder, shown)
	pc.await("a result at the collector", folder, func() bool { return len(c.Results()) > 0 })
	status := func() string { return pc.done(pc.agent, "service", "status", "--json") }
	// Whether it starts with the machine is in what Wine cannot tell of a service.
	if out := status(); !strings.Contains(out, `"running":true`) {
		t.Errorf("status: %.200s", out)
	}
	// It ends when the manager says so, and goes on with the journal it has.
	before := len(c.Results())
	pc.done("net", "stop", host.ServiceName)
	pc.done("net", "start", host.ServiceName)
	pc.await("a result after a restart", folder, func() bool { return len(c.Results()) > before })
	pc.done(pc.agent, "service", "remove")
	if out := status(); !strings.Contains(out, `"installed":false`) {
		t.Errorf("status after it was removed: %.200s", out)
	}
	if out, code := pc.run(pc.agent, "service", "remove"); code == 0 {
		t.Errorf("removed twice: %.200s", out)
	}
	pc.done(pc.agent, "journal", "verify", "--data", data)
	if p := c.Problems(); len(p) > 0 {
		t.Errorf("the collector refused: %.300s", strings.Join(p, "; "))
	}
}

func (pc *windowsPC) await(what, folder string, ok func() bool) {
	pc.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(folder, "agent.log"))
			pc.Fatalf("waited in vain for %s; the log: %.800s", what, log)
		}
	}
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// randomLibrary is bcryptprimitives.dll for a Wine that has none: a library without code, whose one function, ProcessPrng, is
// SystemFunction036 of advapi32.dll (PE format: a section of exports, with a forwarder).
func randomLibrary() []byte {
	const align, sectionAt, base = 0x200, 0x1000, 0x180000000
	le := binary.LittleEndian
	names := []byte("bcryptprimitives.dll\x00ProcessPrng\x00advapi32.SystemFunction036\x00")
	const functionsAt, namesAt, ordinalsAt, textAt = 40, 44, 48, 50
	rva := func(at int) uint32 { return uint32(sectionAt + at) }
	exports := make([]byte, 0, align)
	for _, v := range []uint32{0, 0, 0, rva(textAt), 1, 1, 1, rva(functionsAt), rva(namesAt), rva(ordinalsAt)} {
		exports = le.AppendUint32(exports, v)
	}
	exports = le.AppendUint32(exports, rva(textAt+bytes.Index(names, []byte("advapi32")))) // within the exports: a forwarder
	exports = le.AppendUint32(exports, rva(textAt+bytes.Index(names, []byte("ProcessPrng"))))
	exports = append(le.AppendUint16(exports, 0), names...)

	b := append(make([]byte, 0, 2*align), "MZ"...)
	b = append(b, make([]byte, 0x3a)...)
	b = le.AppendUint32(b, 0x40) // where the next line stands
	b = append(b, "PE\x00\x00"...)
	put16 := func(list ...uint16) {
		for _, v := range list {
			b = le.AppendUint16(b, v)
		}
	}
	put32 := func(list ...uint32) {
		for _, v := range list {
			b = le.AppendUint32(b, v)
		}
	}
	put16(0x8664, 1) // for amd64, one section
	put32(0, 0, 0)
	put16(240, 0x2022) // a library for large addresses
	put16(0x20b, 0)
	put32(0, align, 0, 0, sectionAt)
	b = le.AppendUint64(b, base)
	put32(sectionAt, align)
	put16(6, 0, 0, 0, 6, 0)
	put32(0, 2*sectionAt, align, 0)
	put16(3, 0x100) // console, no code in data
	for _, v := range []uint64{0x100000, 0x1000, 0x100000, 0x1000} {
		b = le.AppendUint64(b, v)
	}
	put32(0, 16, sectionAt, uint32(len(exports)))
	b = append(b, make([]byte, 15*8)...)
	b = append(b, ".edata\x00\x00"...)
	put32(uint32(len(exports)), sectionAt, align, align, 0, 0, 0, 0x40000040)
	b = append(b, make([]byte, align-len(b))...)
	b = append(b, exports...)
	return append(b, make([]byte, 2*align-len(b))...)
}
