package alert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// A SirenConfig runs a program on the collector's machine for critical incidents: a sound, a lamp, a window.
type SirenConfig struct {
	// Command is the program and its arguments, without a shell. It gets the message's text on standard input, and in the
	// environment EGOVMON_TITLE and EGOVMON_EVENT.
	Command []string `yaml:"command"`
}

const sirenTimeout = 30 * time.Second

type siren struct{ command []string }

func newSiren(c SirenConfig) (*siren, error) {
	if len(c.Command) == 0 {
		return nil, errors.New("alert: siren: command: name a program, as [\"/usr/bin/paplay\", \"/usr/share/sounds/alarm.oga\"]")
	}
	if _, err := exec.LookPath(c.Command[0]); err != nil {
		return nil, fmt.Errorf("alert: siren: command: %w", err)
	}
	return &siren{c.Command}, nil
}

// send returns nil once the program has ended well.
func (s *siren) send(ctx context.Context, _ string, c Content) error {
	ctx, cancel := context.WithTimeout(ctx, sirenTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	event := ""
	if len(c.Items) > 0 {
		event = c.Items[0].Event
	}
	cmd.Env = append(cmd.Environ(), "EGOVMON_TITLE="+c.Subject, "EGOVMON_EVENT="+event)
	cmd.Stdin = bytes.NewReader([]byte(c.Text))
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("siren: %s: %w", s.command[0], err)
	}
	return nil
}
