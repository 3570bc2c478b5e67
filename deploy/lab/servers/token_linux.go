package servers

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// TokenConfig describes a signing token.
type TokenConfig struct {
	Label string    // as drivers show it
	PIN   string    // 4 to 255 characters
	Owner *Identity // whose key is on it
}

// A Token is a signing token in software: SoftHSM2, whose PKCS#11 module a program loads with SOFTHSM2_CONF set to Settings.
type Token struct {
	Module   string // path of the module
	Settings string // path of its configuration

	p Place
	c TokenConfig

	mu sync.Mutex
}

// NewToken makes a token with its owner's key on it.
func NewToken(ctx context.Context, p Place, c TokenConfig) (*Token, error) {
	if err := Require("softhsm2-util"); err != nil {
		return nil, err
	}
	t := &Token{Settings: filepath.Join(p.Dir, "softhsm2.conf"), p: p, c: c}
	modules, err := filepath.Glob("/usr/lib/*/softhsm/libsofthsm2.so")
	if err != nil || len(modules) == 0 {
		return nil, fmt.Errorf("SoftHSM2 without its module: %w", errors.Join(err, &MissingError{Programs: []string{"libsofthsm2.so"}, Packages: []string{"softhsm2"}}))
	}
	t.Module = modules[0]
	if err := os.MkdirAll(t.folder(), 0o700); err != nil {
		return nil, err
	}
	if err := replace(t.Settings, fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", t.folder()), 0o644); err != nil {
		return nil, err
	}
	if _, err := t.tool(ctx, "--init-token", "--free", "--label", c.Label, "--pin", c.PIN, "--so-pin", c.PIN); err != nil {
		return nil, err
	}
	_, err = t.tool(ctx, "--import", c.Owner.KeyFile, "--token", c.Label, "--label", c.Label, "--id", "01", "--pin", c.PIN)
	return t, err
}

func (t *Token) folder() string { return filepath.Join(t.p.Dir, "tokens") }

// tool runs SoftHSM2's own program.
func (t *Token) tool(ctx context.Context, args ...string) (string, error) {
	p := t.p
	p.Netns = ""
	cmd := Command(ctx, p, "softhsm2-util", args...)
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+t.Settings)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	r, err := Start(cmd)
	if err != nil {
		return "", err
	}
	<-r.Done()
	if err := r.Err(); err != nil {
		return "", fmt.Errorf("softhsm2-util %s: %w: %s", args[0], err, bytes.TrimSpace(out.Bytes()))
	}
	return out.String(), nil
}

// Present tells whether the token is plugged in, as programs see it.
func (t *Token) Present(ctx context.Context) (bool, error) {
	out, err := t.tool(ctx, "--show-slots")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "Label" && strings.TrimSpace(value) == t.c.Label {
			return true, nil
		}
	}
	return false, nil
}

// LogIn gives the token its PIN, as a person does at a desk: what counts the tries since a right one begins anew.
func (t *Token) LogIn(ctx context.Context) error {
	// SoftHSM2's program logs in before it finds that the number is taken.
	_, err := t.tool(ctx, "--import", t.c.Owner.KeyFile, "--token", t.c.Label, "--label", t.c.Label, "--id", "01", "--pin", t.c.PIN)
	if err != nil && strings.Contains(err.Error(), "already assigned") {
		return nil
	}
	return cmp.Or(err, errors.New("the token took a second key of the same number"))
}

// Unplug takes the token away, or puts it back.
func (t *Token) Unplug(on bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	away := t.folder() + ".unplugged"
	_, err := os.Stat(away)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case on == (err == nil):
		return nil
	case on:
		return errors.Join(os.Rename(t.folder(), away), os.Mkdir(t.folder(), 0o700))
	default:
		return errors.Join(os.Remove(t.folder()), os.Rename(away, t.folder()))
	}
}
