package wrongclock

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// child has the test program answer each line with the time, and with how much time has passed since its start.
const child = "EGOVMON_WRONGCLOCK_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(child) == "" {
		os.Exit(m.Run())
	}
	go func() { // one that reads the clock all the time
		for time.Now().Year() > 0 {
		}
	}()
	begin := time.Now()
	for sc := bufio.NewScanner(os.Stdin); sc.Scan(); {
		fmt.Println(time.Now().Unix(), int64(time.Since(begin).Seconds()))
	}
}

func TestShift(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), child+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	begin, lines := time.Now(), bufio.NewReader(out)
	read := func() (ahead, passed time.Duration) {
		t.Helper()
		if _, err := io.WriteString(in, "\n"); err != nil {
			t.Fatal(err)
		}
		line, err := lines.ReadString('\n')
		f := strings.Fields(line)
		if err != nil || len(f) != 2 {
			t.Fatalf("the child says %q, %v", line, err)
		}
		now, err1 := strconv.ParseInt(f[0], 10, 64)
		since, err2 := strconv.ParseInt(f[1], 10, 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("the child says %q", line)
		}
		return time.Until(time.Unix(now, 0)), time.Duration(since) * time.Second
	}
	for _, want := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute, -5 * time.Minute, 400 * 24 * time.Hour, 0, 0, time.Hour, 0} {
		if err := Shift(cmd.Process.Pid, want); err != nil {
			t.Fatal(err)
		}
		ahead, passed := read()
		if (ahead-want).Abs() > time.Since(begin)+2*time.Second || (ahead-want).Abs() > 30*time.Second {
			t.Errorf("ahead by %s, want %s", ahead, want)
		}
		if passed > time.Since(begin)+2*time.Second {
			t.Errorf("%s have passed, since the clock was set: only the time of day may change", passed)
		}
		if now := time.Now(); time.Until(now).Abs() > time.Minute || now.Sub(begin) > time.Hour {
			t.Fatal("this program's own clock was set, too")
		}
	}
}

func TestShiftRefuses(t *testing.T) {
	if err := Shift(1<<22+1, time.Minute); err == nil || !strings.Contains(err.Error(), "process 4194305") {
		t.Errorf("no such process: %v", err)
	}
}
