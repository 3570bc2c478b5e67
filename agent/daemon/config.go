package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"egovmon/agent/host"
	"egovmon/agent/plan"
	"egovmon/agent/push"
)

// ConfigFile is the configuration's name in the data folder.
const ConfigFile = "agent.yaml"

const maxConfig = 64 << 10

// A Config is all about this installation that is not in the plan. Every key may be left out.
type Config struct {
	// Listen is where /metrics and /probe are answered. Default 127.0.0.1:19100; "-" for nowhere.
	Listen string `yaml:"listen"`
	// WebConfig is a file in the format of Prometheus' exporter-toolkit, for TLS and basic authentication on Listen.
	// Default none. A relative name is looked for beside the configuration.
	WebConfig string `yaml:"web_config"`
	// NodeMetrics offers node_* names of the machine in /metrics, as node_exporter does. Default true; switch it off
	// where node_exporter runs.
	NodeMetrics *bool `yaml:"node_metrics"`
	// Proxy is the office's way out, where the collector is not reached without one. Default none: what the environment
	// names is not taken.
	Proxy ProxyConfig `yaml:"proxy"`
	// Alarm says on this machine that the collector is gone.
	Alarm AlarmConfig `yaml:"alarm"`
}

// A ProxyConfig names an HTTP proxy that opens connections by CONNECT.
type ProxyConfig struct {
	// URL is http://host:port, or "environment" for what https_proxy and no_proxy name.
	URL string `yaml:"url"`
	// User is the name for Basic authentication, where the proxy asks for one.
	User string `yaml:"user"`
	// Password is a reference, {secret: NAME}, to a file in the folder secrets of the data folder.
	Password *SecretRef `yaml:"password"`
}

// A SecretRef names a secret of this machine.
type SecretRef struct {
	Secret string `yaml:"secret"`
}

// proxy returns what the configuration says; secret reads a secret.
func (c ProxyConfig) proxy(secret func(name string) (string, error)) (push.Proxy, error) {
	var p push.Proxy
	switch {
	case c.URL == "" && (c.User != "" || c.Password != nil):
		return p, errors.New("proxy: user and password without url: write url: http://host:port")
	case c.User == "" && c.Password != nil:
		return p, errors.New("proxy: a password without user")
	case c.User != "" && c.Password == nil:
		return p, errors.New("proxy: a user without password: write password: {secret: NAME}, and keep the value in the folder secrets")
	case c.URL == "":
		return p, nil
	case c.URL == "environment" && c.User == "":
		return push.Proxy{Environment: true}, nil
	case c.URL == "environment":
		return p, errors.New("proxy: the environment brings its own user and password")
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "http" || u.Hostname() == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		return p, fmt.Errorf("proxy: url %.80q: write it as http://host:port", strings.ReplaceAll(c.URL, "@", "…"))
	case u.User != nil:
		return p, errors.New("proxy: a user or password in url: use user, and password: {secret: NAME}")
	case strings.ContainsFunc(c.User, func(r rune) bool { return r == ':' || r < ' ' || r == 0x7f }) || len(c.User) > 256:
		return p, fmt.Errorf("proxy: user %.80q: at most 256 bytes, without colon and control characters (RFC 7617)", c.User)
	}
	p = push.Proxy{Address: u.Host, User: c.User}
	if c.Password != nil {
		name := c.Password.Secret
		if !host.IsSecretName(name) {
			return p, fmt.Errorf("proxy: password: secret %.80q is no name", name)
		}
		p.Password = func() (string, error) { return secret(name) }
	}
	return p, nil
}

// Dial returns what opens connections to the collector from this installation, with the secrets of the data folder dir.
// The configuration is one that LoadConfig has read.
func (c Config) Dial(dir string) push.Dial {
	p, err := c.Proxy.proxy(func(name string) (string, error) { return host.Secret(dir, name) })
	if err != nil {
		return func(context.Context, string, string) (net.Conn, error) { return nil, err }
	}
	return p.Dial(nil)
}

// DefaultListen is the address for /metrics and /probe.
const DefaultListen = "127.0.0.1:19100"

// LoadConfig reads a configuration: the named file, or agent.yaml in the data folder, which may be missing.
func LoadConfig(dir, file string) (Config, error) {
	c := Config{Listen: DefaultListen, Alarm: AlarmConfig{After: alarmAfter}}
	path := file
	if path == "" {
		path = filepath.Join(dir, ConfigFile)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && file == "" {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	switch {
	case err != nil:
		return c, fmt.Errorf("configuration %s: %w", path, err)
	case len(text) > maxConfig:
		return c, fmt.Errorf("configuration %s: more than %d bytes: this is no agent.yaml", path, maxConfig)
	case len(bytes.TrimSpace(text)) == 0:
		return c, nil
	}
	if err := plan.Settings(path, text, &c); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if _, err := c.Proxy.proxy(nil); err != nil {
		return c, fmt.Errorf("configuration %s: %w", path, err)
	}
	if err := c.Alarm.check(); err != nil {
		return c, fmt.Errorf("configuration %s: %w", path, err)
	}
	if c.WebConfig != "" && !filepath.IsAbs(c.WebConfig) {
		c.WebConfig = filepath.Join(filepath.Dir(path), c.WebConfig)
	}
	return c, nil
}

// ShowNode reports whether node_* names are offered.
func (c Config) ShowNode() bool { return c.NodeMetrics == nil || *c.NodeMetrics }
