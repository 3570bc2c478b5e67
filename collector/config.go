package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"egovmon/agent/plan"
	"egovmon/collector/alert"
	"egovmon/collector/profile"
	"egovmon/collector/retention"
	"egovmon/collector/series"
	"egovmon/collector/stamp"
)

// Names and defaults of an installation.
const (
	configFile    = "collector.yaml"
	defaultListen = "127.0.0.1:19090"
	defaultAgents = "127.0.0.1:19443"
	maxConfig     = 256 << 10
)

// A config is all about this installation; the district is in the profile. Every key may be left out.
type config struct {
	// Listen is where board, PromQL API and /metrics are answered. Default 127.0.0.1:19090.
	Listen string `yaml:"listen"`
	// Agents is where agents come in. Default 127.0.0.1:19443.
	Agents string `yaml:"agents"`
	// Names are the host names and addresses by which agents reach this machine, for its certificate, and by which
	// people reach the board, for the Host header. Loopback and the machine's own name are always among them.
	Names []string `yaml:"names"`
	// WebConfig is a file in the format of Prometheus' exporter-toolkit, for TLS and basic authentication on Listen.
	WebConfig string `yaml:"web_config"`
	// Profile is the folder of the district's profile. Default: the sample profile tu-ky-2023 in the program.
	Profile string `yaml:"profile"`
	// Public are the services, by their ids in the profile, whose name, state and announced suspensions anybody may see at
	// /status without signing in. None, the default: there is no such page.
	Public []string `yaml:"public"`
	// NodeMetrics offers node_* names of this machine in /metrics. Default true.
	NodeMetrics *bool `yaml:"node_metrics"`
	// Series bounds the embedded time series database.
	Series seriesConfig `yaml:"series"`
	// Alert says how people are told of incidents: a mail relay, webhooks. Without it incidents are shown on the board only.
	Alert alert.Config `yaml:"alert"`
	// Incidents says how long things must last. Every key may be left out.
	Incidents incidentConfig `yaml:"incidents"`
	// Nomad is asked which machines run an agent, for `collector fleet`. Without addresses there is none.
	Nomad nomadConfig `yaml:"nomad"`
	// Certificates says whom to ask whether certificates of the register were revoked. Without it nobody is asked.
	Certificates certsConfig `yaml:"certificates"`
	// TimeStamps names an authority that stamps the log once a day (RFC 3161). Without it there are no time stamps.
	TimeStamps stamp.Config `yaml:"time_stamps"`
	// Retention says how long bodies of batches are kept, and what is held beyond that.
	Retention retention.Config `yaml:"retention"`
	// Report names the body that issues reports, where nothing else is said of one. Default: the district's committee.
	Report reportConfig `yaml:"report"`
	// RemoteWrite sends every sample on to other systems that speak Prometheus remote write.
	RemoteWrite []remoteWrite `yaml:"remote_write"`
}

type incidentConfig struct {
	// FlapWindow is how soon after its closing a fault comes back as the same trouble, whose incident then takes longer to
	// close. Default 1h; a drill, in which one fault follows another, takes a shorter one. From 10s to 24h.
	FlapWindow time.Duration `yaml:"flap_window"`
	// Silence is how long ago the latest result of a unit must have begun before its silence is an incident. Default two
	// rounds of its checks, and no less than results may be on their way: 2 min 10 s where checks run and lines gather for a
	// minute. From 10s to 24h.
	Silence time.Duration `yaml:"silence"`
}

func (c incidentConfig) check() error {
	for name, d := range map[string]time.Duration{"flap_window": c.FlapWindow, "silence": c.Silence} {
		if d != 0 && (d < 10*time.Second || d > 24*time.Hour) {
			return fmt.Errorf("configuration: incidents.%s %s: want 10s to 24h", name, d)
		}
	}
	return nil
}

type reportConfig struct {
	// Parent is the body above the issuing one, e.g. Ủy ban nhân dân huyện Tứ Kỳ.
	Parent string `yaml:"parent"`
	// Body is the issuing body, e.g. Phòng Văn hóa và Thông tin.
	Body string `yaml:"body"`
	// Symbol stands behind the number. Default BC-VHTT.
	Symbol string `yaml:"symbol"`
	// Signer is the signer's title, e.g. Trưởng phòng.
	Signer string `yaml:"signer"`
	// Recipients are the lines of Nơi nhận before the file copy; at most 40.
	Recipients []string `yaml:"recipients"`
}

type seriesConfig struct {
	// Retention is how long raw series are kept. Default 1080h (45 days).
	Retention time.Duration `yaml:"retention"`
	// MaxBytes bounds them on disk. Default 20000000000.
	MaxBytes int64 `yaml:"max_bytes"`
}

type remoteWrite struct {
	Name         string            `yaml:"name"`          // in metrics and logs, [a-z0-9_-]{1,32}
	URL          string            `yaml:"url"`           // e.g. https://metrics.example/api/v1/write
	Headers      map[string]string `yaml:"headers"`       // sent along, e.g. X-Scope-OrgID
	User         string            `yaml:"user"`          // for basic authentication
	PasswordFile string            `yaml:"password_file"` // holds the password
	BearerFile   string            `yaml:"bearer_file"`   // holds a bearer token, instead of user and password
	CAFile       string            `yaml:"ca_file"`       // PEM certificates to trust instead of the system's
	MaxBytes     int64             `yaml:"max_bytes"`     // most that waits on disk; default 1 GiB
}

// loadConfig reads a configuration: the named file, or collector.yaml in the data folder, which may be missing.
func loadConfig(dir, file string) (config, error) {
	c := config{}
	path := file
	if path == "" {
		path = filepath.Join(dir, configFile)
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
		return c, fmt.Errorf("configuration %s: more than %d bytes: this is no collector.yaml", path, maxConfig)
	case len(bytes.TrimSpace(text)) == 0:
		return c, nil
	}
	if err := plan.Settings(path, text, &c); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if err := c.Incidents.check(); err != nil {
		return c, err
	}
	if _, err := c.Retention.Policy(profile.ParseDays); err != nil {
		return c, fmt.Errorf("configuration %s: %w", path, err)
	}
	if err := c.Certificates.check(); err != nil {
		return c, err
	}
	for _, p := range []*string{&c.WebConfig, &c.Profile, &c.TimeStamps.Roots, &c.Certificates.Roots, &c.Certificates.Intermediates} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	return c, nil
}

func (c config) showNode() bool { return c.NodeMetrics == nil || *c.NodeMetrics }

func (c config) receivers() []series.RemoteWrite {
	var out []series.RemoteWrite
	for _, r := range c.RemoteWrite {
		out = append(out, series.RemoteWrite{Name: r.Name, URL: r.URL, Headers: r.Headers, User: r.User,
			PasswordFile: r.PasswordFile, BearerFile: r.BearerFile, CAFile: r.CAFile, MaxBytes: r.MaxBytes})
	}
	return out
}
