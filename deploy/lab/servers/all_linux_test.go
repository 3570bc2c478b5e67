package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain runs the test program once more as one that starts every server and is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("EGOVMON_SERVERS_IN"); dir != "" {
		n, err := startAll(context.Background(), dir, os.Stderr)
		fmt.Printf("started %d %v\n", n, err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	os.Exit(m.Run())
}

// startAll starts each server in a Place of its own on loopback, and returns how many there are.
func startAll(ctx context.Context, dir string, log io.Writer) (int, error) {
	n := 0
	place := func() Place {
		n++
		p := Loopback(filepath.Join(dir, fmt.Sprint(n)), netip.MustParseAddr("127.0.0.1"), log)
		_ = os.Mkdir(p.Dir, 0o755)
		return p
	}
	pki, err := NewPKI(filepath.Join(dir, "pki"), PKIConfig{Now: time.Now()})
	if err != nil {
		return 0, err
	}
	names, err := StartNames(ctx, place(), NamesConfig{Zones: labZones()})
	if err != nil {
		return n, err
	}
	sites := []SiteConfig{{Name: "tuky.lab", Kind: PortalSite, Title: "Tứ Kỳ"}, {Name: "motcua.lab", Kind: OneStopSite, Title: "Một cửa"}}
	for _, start := range []func(p Place) error{
		func(p Place) error { _, err := StartResolver(ctx, p, ResolverFor(names)); return err },
		func(p Place) error { _, err := StartPortals(ctx, p, PortalsConfig{PKI: pki, Sites: sites}); return err },
		func(p Place) error {
			_, err := StartCaptive(ctx, p, CaptiveConfig{PKI: pki, Host: "wifi.lab"})
			return err
		},
		func(p Place) error { _, err := StartRevocation(ctx, p, RevocationConfig{PKI: pki}); return err },
		func(p Place) error { _, err := StartTSA(ctx, p, TSAConfig{PKI: pki}); return err },
		func(p Place) error { _, err := StartClock(ctx, p, ClockConfig{}); return err },
		func(p Place) error { _, err := StartSNMP(ctx, p, SNMPConfig{Community: "public"}); return err },
		func(p Place) error { _, err := StartPrinter(ctx, p, PrinterConfig{}); return err },
		func(p Place) error { _, err := StartSignService(ctx, p, SignServiceConfig{}); return err },
		func(p Place) error {
			server, err := pki.Server([]string{"mpki.test"}, p.IP)
			if err == nil {
				_, err = StartMobilePKI(ctx, p, MobilePKIConfig{PKI: pki, Server: server})
			}
			return err
		},
		func(p Place) error { _, err := StartVictoria(ctx, p); return err },
		func(p Place) error {
			_, err := StartAlertmanager(ctx, p, AlertmanagerConfig{Hook: "http://127.0.0.1:1", SMTP: "127.0.0.1:1", Wait: time.Second})
			return err
		},
		func(p Place) error {
			_, err := StartPrometheus(ctx, p, PrometheusConfig{Collector: "127.0.0.1:1", TokenFile: filepath.Join(p.Dir, "none"), Alertmanager: "127.0.0.1:1", Every: time.Second})
			return err
		},
		func(p Place) error { _, err := StartMessages(ctx, p, MessagesConfig{}); return err },
		func(p Place) error {
			if os.Getuid() != 0 {
				return nil
			}
			key, err := NewDKIMKey()
			if err == nil {
				_, err = StartMail(ctx, p, MailConfig{PKI: pki, Host: "mail.lab", Domains: []string{"tuky.lab"}, Boxes: map[string]string{"a@tuky.lab": "b"}, DKIM: key})
			}
			return err
		},
	} {
		if err := start(place()); err != nil {
			return n, err
		}
	}
	return n, nil
}

// needAll skips a test where a program of any server is missing.
func needAll(t *testing.T) {
	t.Helper()
	need(t, "nginx", "named", "dnssec-keygen", "dnssec-signzone", "unbound", "openssl", "faketime", "chronyd", "snmpd")
	need(t, MetricsPrograms()...)
	if os.Getuid() == 0 {
		need(t, "/usr/lib/postfix/sbin/master", "dovecot", "/usr/lib/dovecot/imap", "opendkim")
	}
}

// livesIn lists the processes that work below a folder.
func livesIn(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	for _, link := range must[[]string](t)(filepath.Glob("/proc/[0-9]*/cwd")) {
		if cwd, err := os.Readlink(link); err == nil && strings.HasPrefix(cwd, dir+"/") {
			name, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "comm"))
			found = append(found, strings.TrimSpace(string(name)))
		}
	}
	return found
}

// gone waits until nobody works below a folder.
func gone(t *testing.T, dir string) {
	t.Helper()
	err := until(context.Background(), nil, "nobody left", func() error {
		if left := livesIn(t, dir); len(left) > 0 {
			return fmt.Errorf("%d processes: %s", len(left), strings.Join(left, " "))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// All servers run beside one another, and all of them end with their context.
func TestAllTogether(t *testing.T) {
	needAll(t)
	dir := localhost(t).Dir
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begin := time.Now()
	n, err := startAll(ctx, dir, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d servers started within %s", n, time.Since(begin).Round(time.Millisecond))
	if len(livesIn(t, dir)) < 5 {
		t.Errorf("only %v run", livesIn(t, dir))
	}
	cancel()
	gone(t, dir)
}

// Nothing is left of the servers when the program that started them is killed.
func TestKilled(t *testing.T) {
	needAll(t)
	dir := localhost(t).Dir
	self := must[string](t)(os.Executable())
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "EGOVMON_SERVERS_IN="+dir)
	out := must[io.ReadCloser](t)(cmd.StdoutPipe())
	in := must[io.WriteCloser](t)(cmd.StdinPipe())
	defer in.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	running := livesIn(t, dir)
	killErr := cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil || !strings.HasSuffix(line, "<nil>\n") || len(running) < 5 || killErr != nil {
		t.Errorf("%q %v, running %v", line, errors.Join(err, killErr), running)
	}
	gone(t, dir)
}
