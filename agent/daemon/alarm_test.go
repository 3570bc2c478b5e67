package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/push"
)

func TestWatch(t *testing.T) {
	start := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	type look struct {
		minute, success int // of the last success; -1 for none
		want            string
	}
	tests := map[string][]look{
		"answers":               {{0, 0, ""}, {10, 10, ""}, {24, 10, ""}, {26, 26, ""}},
		"gone once, back once":  {{0, 0, ""}, {14, 0, ""}, {15, 0, collectorGone}, {16, 0, ""}, {600, 0, ""}, {601, 601, collectorBack}, {602, 602, ""}, {616, 602, ""}, {617, 602, collectorGone}},
		"never heard":           {{0, -1, ""}, {14, -1, ""}, {15, -1, collectorGone}, {20, 20, collectorBack}},
		"the clock was set far": {{0, 0, ""}, {1, 5000, ""}, {14, 5000, ""}, {16, 5000, collectorGone}},
	}
	for name, looks := range tests {
		var w watch
		for _, l := range looks {
			var success time.Time
			if l.success >= 0 {
				success = at(l.success)
			}
			if got := w.look(at(l.minute), success, 15*time.Minute); got != l.want {
				t.Errorf("%s: in minute %d %q, want %q", name, l.minute, got, l.want)
			}
		}
	}
}

func TestAlarmRunsItsProgram(t *testing.T) {
	out := filepath.Join(t.TempDir(), "said")
	c := AlarmConfig{Command: []string{"/bin/sh", "-c", `cat >"$0"; echo "$EGOVMON_EVENT" >>"$0"`, out}}
	if err := c.check(); err != nil {
		t.Skip(err)
	}
	if c.After != alarmAfter {
		t.Errorf("after %v, want %v", c.After, alarmAfter)
	}
	now := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
	d := &Daemon{log: slog.New(slog.DiscardHandler), o: Options{Config: Config{Alarm: c}, Now: func() time.Time { return now }}}
	for event, want := range map[string][]string{
		collectorGone: {"Từ 07:30", "không liên lạc được", "Since 07:30", collectorGone},
		collectorBack: {"đã liên lạc lại", "answers again", collectorBack},
	} {
		d.alarm(t.Context(), event, push.Stats{LastSuccess: now.Add(-30 * time.Minute)})
		b, err := os.ReadFile(out)
		for _, s := range want {
			if err != nil || !strings.Contains(string(b), s) {
				t.Errorf("%s: %q lacks %q (%v)", event, b, s, err)
			}
		}
	}
	d.alarm(t.Context(), collectorGone, push.Stats{})
	if b, _ := os.ReadFile(out); !strings.Contains(string(b), "chưa lần nào") {
		t.Errorf("never heard: %q", b)
	}
	for _, bad := range []AlarmConfig{{After: time.Second}, {Command: []string{"/none/x"}}} {
		if err := bad.check(); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
