package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"egovmon/agent/plan"
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
}

// DefaultListen is the address for /metrics and /probe.
const DefaultListen = "127.0.0.1:19100"

// LoadConfig reads a configuration: the named file, or agent.yaml in the data folder, which may be missing.
func LoadConfig(dir, file string) (Config, error) {
	c := Config{Listen: DefaultListen}
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
	if c.WebConfig != "" && !filepath.IsAbs(c.WebConfig) {
		c.WebConfig = filepath.Join(filepath.Dir(path), c.WebConfig)
	}
	return c, nil
}

// ShowNode reports whether node_* names are offered.
func (c Config) ShowNode() bool { return c.NodeMetrics == nil || *c.NodeMetrics }
