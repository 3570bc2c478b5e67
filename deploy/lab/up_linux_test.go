package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"egovmon/deploy/lab/stage"
	"egovmon/deploy/lab/town"
)

func TestOptions(t *testing.T) {
	good := options{dir: "/run/x/lab", listen: stage.DefaultListen, from: town.DefaultRange.String(), loopback: true}
	for _, c := range []struct {
		name   string
		change func(o *options)
		root   bool // only told to root
		want   string
	}{
		{"too many communes", func(o *options) { o.communes = 25 }, false, "from 1 to 24"},
		{"no range", func(o *options) { o.from = "ten" }, false, "want a network such as 10.213.0.0/16"},
		{"a board for everybody", func(o *options) { o.listen = "0.0.0.0:19190" }, false, "this machine's loopback"},
		{"a board at a name", func(o *options) { o.listen = "localhost:19190" }, false, "this machine's loopback"},
		{"a public range", func(o *options) { o.loopback, o.simple, o.from = false, true, "8.8.0.0/16" }, true, "private"},
		{"a folder of root's alone", func(o *options) { o.loopback, o.dir = false, filepath.Join(secret(t), "lab") }, true, "only its owner may enter"},
	} {
		o := good
		c.change(&o)
		if c.root {
			needRoot(t)
			if err := stage.Missing(); err != nil {
				t.Skip(err)
			}
		}
		if _, err := o.check(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", c.name, err, c.want)
		}
	}
	if _, err := good.check(); err != nil || good.communes != stage.LoopbackTowns {
		t.Errorf("defaults: %v, %d communes", err, good.communes)
	}
}

// secret makes a folder that only its owner may enter.
func secret(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "secret")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestHostNetworks(t *testing.T) {
	list, err := hostNetworks()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, p := range list {
		found = found || p.String() == "127.0.0.0/8"
	}
	if !found {
		t.Errorf("%v lacks 127.0.0.0/8", list)
	}
}

// TestFolderOfOthers names a folder that holds something else: nothing in it is touched.
func TestFolderOfOthers(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "luan-van.docx")
	if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"down", "--dir", dir}, {"up", "--dir", dir, "--loopback", "--bin", dir, "--listen", freeListen(t)}} {
		out, err := labProgram(t.Context(), t, args...).CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("luan-van.docx")) {
			t.Errorf("lab %s: %v, %.300s", args[0], err, out)
		}
		if _, err := os.Stat(mine); err != nil {
			t.Fatalf("lab %s has taken it away: %v", args[0], err)
		}
	}
}

// TestTakenAddress names an address for the board that is in use: nothing stays half built.
func TestTakenAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := filepath.Join(t.TempDir(), "lab")
	out, err := labProgram(t.Context(), t, "up", "--loopback", "--dir", dir, "--bin", built(t), "--listen", l.Addr().String()).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("--listen")) {
		t.Errorf("lab up: %v, %.500s", err, out)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}

// TestRefusals: what this machine lacks, or has already, is one line that says what to do, before anything is made.
func TestRefusals(t *testing.T) {
	needRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tmp := open(t)
	lab := filepath.Join(tmp, "lab")
	program, err := os.ReadFile(self) // a copy: others than root may not enter the folder of a test's program
	if err == nil {
		err = os.WriteFile(lab, program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	// A network in which the lab's range is taken.
	ns := fmt.Sprintf("egltest-%d", os.Getpid())
	for _, args := range [][]string{{"netns", "add", ns}, {"-n", ns, "addr", "add", "10.213.9.1/24", "dev", "lo"}} {
		if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %.300s", args, err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	up := []string{"up", "--dir", filepath.Join(tmp, "d"), "--listen", freeListen(t)}
	for _, c := range []struct {
		name string
		args []string
		do   func(cmd *exec.Cmd)
		want string
	}{
		{"no root", append([]string{lab}, up...), func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}, "sudo go run ./deploy/lab up"},
		{"missing packages", append([]string{lab}, up...), func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "PATH=/nonexistent") }, "apt-get install"},
		{"no Prometheus", append([]string{lab}, append(up, "--loopback", "--prometheus")...), func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "PATH=/nonexistent") },
			"missing on this machine: prometheus, prometheus-alertmanager, victoria-metrics: run as root: apt-get install"},
		{"a range in use", append([]string{"ip", "netns", "exec", ns, lab}, append(up, "--simple")...), nil, "name another one with --range"},
		{"an unknown option", append([]string{lab}, "up", "--communs", "3"), nil, "-communs"},
	} {
		cmd := exec.CommandContext(t.Context(), c.args[0], c.args[1:]...)
		cmd.Env = append(os.Environ(), within+"=1")
		if c.do != nil {
			c.do(cmd)
		}
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); err == nil || code != exitUsage || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: exit %d, want %d and %q: %.400s", c.name, code, exitUsage, c.want, out)
		}
		if c.name != "an unknown option" && strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: more than one line: %.400s", c.name, out)
		}
		if _, err := os.Stat(filepath.Join(tmp, "d")); err == nil {
			t.Errorf("%s: something was made", c.name)
		}
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, exitDone, "Phòng thử"},
		{[]string{"faults"}, exitDone, "line-cut"},
		{[]string{"drill", "--dir", "/nowhere"}, exitDone, "mat-dien"},
		{[]string{"drill", "--dir", "/nowhere", "xx"}, exitUsage, "dut-duong-truyen"},
		{[]string{"drill", "--dir", "/nowhere", "mat-dien"}, exitFailed, "no lab is running"},
		{[]string{"fault", "--dir", "/nowhere"}, exitUsage, "lab faults"},
		{[]string{"fault", "--dir", "/nowhere", "line-cot"}, exitUsage, "did you mean line-cut"},
		{[]string{"fault", "--dir", "/nowhere", "line-cut", "maybe"}, exitUsage, "on or off"},
		{[]string{"fault", "--dir", "/nowhere", "line-cut"}, exitFailed, "no lab is running"},
		{[]string{"status", "--dir", "/nowhere"}, exitFailed, "no lab is running"},
		{[]string{"score", "--dir", "/nowhere", "--only", "x"}, exitUsage, "did you mean"},
		{[]string{"score", "--dir", "/nowhere"}, exitFailed, "no lab is running"},
		{[]string{"down", "--dir", "/nowhere/at/all"}, exitDone, "there is no lab"},
		{[]string{"upp"}, exitUsage, "no command"},
		{[]string{"status", "x", "--dir", "/nowhere"}, exitUsage, "too much"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), c.args, strings.NewReader(""), &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("lab %s exits %d, want %d and %q: %.300s", strings.Join(c.args, " "), code, c.code, c.want, out.String())
		}
	}
}
