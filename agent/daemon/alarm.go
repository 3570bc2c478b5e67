package daemon

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"egovmon/agent/push"
	"egovmon/agent/words"
)

// An AlarmConfig is how this machine says by itself that the collector is gone: who else would, when the centre is away?
type AlarmConfig struct {
	// Command is a program with its arguments, run without a shell. It gets the text on standard input, Vietnamese first, and
	// the event in EGOVMON_EVENT: collector-gone or collector-back. Default none: the agent's log says it alone.
	Command []string `yaml:"command"`
	// After is how long the collector must have been silent, at least 1m. Default 15m.
	After time.Duration `yaml:"after"`
}

const (
	alarmAfter   = 15 * time.Minute
	alarmLeast   = time.Minute
	alarmEvery   = 15 * time.Second
	alarmTimeout = 30 * time.Second
)

// The events of an alarm.
const (
	collectorGone = "collector-gone"
	collectorBack = "collector-back"
)

// check fills in the default.
func (c *AlarmConfig) check() error {
	if c.After == 0 {
		c.After = alarmAfter
	}
	if c.After < alarmLeast {
		return fmt.Errorf("alarm: after: %v is less than %v", c.After, alarmLeast)
	}
	if len(c.Command) > 0 {
		if _, err := exec.LookPath(c.Command[0]); err != nil {
			return fmt.Errorf("alarm: command: %w", err)
		}
	}
	return nil
}

// A watch judges whether the collector is gone. Its zero value begins with the first look.
type watch struct {
	heard  time.Time // the success that was seen last
	since  time.Time // when it was first seen
	raised bool
}

// look takes in when the collector last answered, and returns the event that this makes, "" for none. now is monotonic: a
// clock that is set, or a machine that was asleep, raises no alarm.
func (w *watch) look(now, success time.Time, after time.Duration) string {
	if w.since.IsZero() || !success.Equal(w.heard) {
		first := w.since.IsZero()
		w.heard, w.since = success, now
		if w.raised && !first {
			w.raised = false
			return collectorBack
		}
		return ""
	}
	if !w.raised && now.Sub(w.since) >= after {
		w.raised = true
		return collectorGone
	}
	return ""
}

// watchCollector raises the alarm until ctx ends.
func (d *Daemon) watchCollector(ctx context.Context) error {
	t := time.NewTicker(alarmEvery)
	defer t.Stop()
	var w watch
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			s := d.pusher.Stats()
			if event := w.look(now, s.LastSuccess, d.o.Config.Alarm.After); event != "" {
				d.alarm(ctx, event, s)
			}
		}
	}
}

// alarm tells of an event in the log and by the configured program.
func (d *Daemon) alarm(ctx context.Context, event string, s push.Stats) {
	if event == collectorBack {
		d.log.Info("the collector answers again")
	} else {
		d.log.Error("the collector has been silent for long: measuring goes on, and nothing is lost; tell the office in charge by telephone", "last", s.LastSuccess, "err", s.LastError)
	}
	command := d.o.Config.Alarm.Command
	if len(command) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, alarmTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(cmd.Environ(), "EGOVMON_EVENT="+event)
	cmd.Stdin = strings.NewReader(alarmText(event, s, d.o.Now()))
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		d.log.Error("the alarm's program failed", "command", command[0], "err", err)
	}
}

// alarmText says what happened, in both languages.
func alarmText(event string, s push.Stats, now time.Time) string {
	var b strings.Builder
	for _, l := range []words.Lang{words.VI, words.EN} {
		switch {
		case event == collectorBack:
			fmt.Fprintln(&b, words.Tell(l, "alarm.back"))
		case s.LastSuccess.IsZero():
			fmt.Fprintln(&b, words.Tell(l, "alarm.never"))
		default:
			fmt.Fprintln(&b, words.Tell(l, "alarm.gone", words.At(l, s.LastSuccess, now)))
		}
	}
	return b.String()
}
