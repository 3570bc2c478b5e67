package servers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"egovmon/deploy/alertmanager"
	"egovmon/deploy/prometheus"
)

// Standard ports of what keeps series and passes alerts on.
const (
	portPrometheus   = 9090
	portAlertmanager = 9093
	portVictoria     = 8428
)

// MetricsPrograms are the programs of [StartPrometheus], [StartAlertmanager] and [StartVictoria].
func MetricsPrograms() []string {
	return []string{"prometheus", "prometheus-alertmanager", "victoria-metrics"}
}

// A Metrics is a Prometheus, an Alertmanager or a VictoriaMetrics.
type Metrics struct {
	p   Place
	std int
	d   *daemon
}

// Halt ends the program, or starts it again; what it has stored stays.
func (m *Metrics) Halt(on bool) error { return m.d.halt(on) }

// Stop ends it for good.
func (m *Metrics) Stop() error { return m.d.stop() }

// Addr is its host:port.
func (m *Metrics) Addr() string { return m.p.at(m.std) }

// URL is its address, without a slash at its end.
func (m *Metrics) URL() string { return "http://" + m.Addr() }

// startMetrics runs a program that listens at a standard port until it says at this path that it is ready.
func startMetrics(ctx context.Context, p Place, std int, path string, args ...string) (*Metrics, error) {
	if err := Require(args[0]); err != nil {
		return nil, err
	}
	m := &Metrics{p: p, std: std}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: p.DialContext}}
	ready := func(proc *Process) error {
		return until(ctx, proc, args[0]+" at "+m.Addr(), func() error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.URL()+path, nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return errors.New(resp.Status)
			}
			return nil
		})
	}
	var err error
	if m.d, err = startDaemon(ctx, p, ready, args...); err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = m.Stop() })
	return m, nil
}

// changed returns a shipped file with what differs here; a pair whose first part is not in it is an error.
func changed(name, text string, pairs ...string) ([]byte, error) {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			return nil, fmt.Errorf("%s as it is shipped has no %q", name, pairs[i])
		}
	}
	return []byte(strings.NewReplacer(pairs...).Replace(text)), nil
}

// seconds writes a time as Prometheus and Alertmanager read it.
func seconds(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// PrometheusConfig sets up a Prometheus with the configuration and the rules of deploy/prometheus, but for what stands here.
type PrometheusConfig struct {
	Collector    string        // host:port of the collector's board
	TokenFile    string        // that the collector wrote its local token to
	Alertmanager string        // host:port
	Every        time.Duration // from one scrape to the next, and of the rules
}

// StartPrometheus starts Debian's Prometheus at port 9090. It takes remote write, too.
func StartPrometheus(ctx context.Context, p Place, c PrometheusConfig) (*Metrics, error) {
	shipped := prometheus.Files()
	text, err := shipped.ReadFile("prometheus.yml")
	if err != nil {
		return nil, err
	}
	config, err := changed("prometheus.yml", string(text), "127.0.0.1:19090", c.Collector, "127.0.0.1:9090", p.at(portPrometheus),
		"127.0.0.1:9093", c.Alertmanager, "credentials_file: egovmon.token", "credentials_file: "+c.TokenFile,
		"scrape_interval: 30s", "scrape_interval: "+seconds(c.Every), "scrape_timeout: 25s", "scrape_timeout: "+seconds(c.Every),
		"evaluation_interval: 30s", "evaluation_interval: "+seconds(c.Every))
	if err != nil {
		return nil, err
	}
	rules, err := shipped.ReadFile("rules/egovmon.yml")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(p.Dir, "prometheus.yml")
	if err := errors.Join(os.MkdirAll(filepath.Join(p.Dir, "rules"), 0o755), replace(file, config, 0o600),
		replace(filepath.Join(p.Dir, "rules", "egovmon.yml"), rules, 0o644)); err != nil {
		return nil, err
	}
	return startMetrics(ctx, p, portPrometheus, "/-/ready", "prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(p.Dir, "data"),
		"--web.listen-address="+p.at(portPrometheus), "--web.enable-remote-write-receiver", "--query.lookback-delta=1h",
		// The first time, Alertmanager is not known yet: the next one would come after a minute.
		"--rules.alert.resend-delay="+seconds(c.Every))
}

// AlertmanagerConfig sets up an Alertmanager with the routes of deploy/alertmanager, but for what stands here.
type AlertmanagerConfig struct {
	Hook string        // URL, without a slash at its end, to which /it and /watchdog are added; they are called with alerts
	SMTP string        // host:port of a mail server
	Wait time.Duration // before and between the messages of a group
}

// StartAlertmanager starts Debian's Alertmanager at port 9093, without others beside it.
func StartAlertmanager(ctx context.Context, p Place, c AlertmanagerConfig) (*Metrics, error) {
	config, err := changed("alertmanager.yml", alertmanager.Config(), "http://127.0.0.1:9095", c.Hook, "127.0.0.1:25", c.SMTP,
		"group_wait: 30s", "group_wait: "+seconds(c.Wait), "group_interval: 5m", "group_interval: "+seconds(c.Wait))
	if err != nil {
		return nil, err
	}
	file := filepath.Join(p.Dir, "alertmanager.yml")
	if err := replace(file, config, 0o600); err != nil {
		return nil, err
	}
	return startMetrics(ctx, p, portAlertmanager, "/-/ready", "prometheus-alertmanager", "--config.file="+file, "--storage.path="+filepath.Join(p.Dir, "data"),
		"--web.listen-address="+p.at(portAlertmanager), "--cluster.listen-address=")
}

// VictoriaWrite is the URL at which a VictoriaMetrics of a Place takes Prometheus' remote write.
func VictoriaWrite(p Place) string { return "http://" + p.at(portVictoria) + "/api/v1/write" }

// PrometheusWrite is the URL at which a Prometheus of a Place takes remote write.
func PrometheusWrite(p Place) string { return "http://" + p.at(portPrometheus) + "/api/v1/write" }

// StartVictoria starts Debian's VictoriaMetrics at port 8428. It keeps a year, and shows what it took at once.
func StartVictoria(ctx context.Context, p Place) (*Metrics, error) {
	return startMetrics(ctx, p, portVictoria, "/health", "victoria-metrics", "-httpListenAddr="+p.at(portVictoria),
		"-storageDataPath="+filepath.Join(p.Dir, "data"), "-retentionPeriod=1y", "-memory.allowedBytes=64MiB", "-search.latencyOffset=0s")
}
