package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/deploy/profiles"
)

// withService returns a copy of the sample profile with one more service, which this machine watches.
func withService(t *testing.T, service string) string {
	t.Helper()
	sample, err := profiles.Embedded(profiles.Default)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "profile")
	if err := os.CopyFS(dir, sample); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "services.yaml")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(text, service...), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// trial is a service of one TCP port, which this machine watches.
func trial(address string) string {
	return fmt.Sprintf(`
  - id: thu
    name: {vi: Dịch vụ thử, en: Trial service}
    operator: huyen
    owner: VHTT
    valid_from: 2023-01-01
    valid_to:
    source: "test"
    verified: false
    season:
    hours: 24x7
    severity: critical
    depends: []
    quorum: {units: 1, carriers: 1}
    watch: role:collector
    checks:
      - {id: tcp, kind: tcp, every: 10s, timeout: 2s, confirm: 0, path: lan, decides: true, with: {address: %q}}
`, address)
}

// TestAChangeReachesPeople closes a real port and follows the one Result that sees it: from the machine's journal into the
// log, PromQL, the board and the figures. It prints how long that took after the result was recorded; nothing hangs on
// the time.
func TestAChangeReachesPeople(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	prof := withService(t, trial(l.Addr().String()))
	c := start(t, filepath.Join(t.TempDir(), "state"), "--profile", prof)
	if code, _ := c.get(c.link, false); code != http.StatusOK {
		t.Fatalf("the link answers %d", code)
	}
	state := func() (string, string) {
		_, body := c.get(c.base()+"/api/board", false)
		var v struct {
			Cells []struct{ Service, Unit, State, Reason string }
		}
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}
		for _, cell := range v.Cells {
			if cell.Service == "thu" && cell.Unit == "" {
				return cell.State, cell.Reason
			}
		}
		return "", ""
	}
	const id = "may-chu-huyen thu.tcp"
	eventually(t, "the service is up in PromQL", func() bool { return c.query("egovmon_check_success")[id] == "1" })
	eventually(t, "the service is up on the board", func() bool { s, _ := state(); return s == "up" })

	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var inPromQL, onBoard time.Time
	eventually(t, "the change in PromQL and on the board", func() bool {
		if inPromQL.IsZero() && c.query(`egovmon_check_reason{reason="connect_refused"}`)[id] == "1" {
			inPromQL = time.Now()
		}
		if s, r := state(); onBoard.IsZero() && s == "down" && r == "connect_refused" {
			onBoard = time.Now()
		}
		return !inPromQL.IsZero() && !onBoard.IsZero()
	})
	// The detail tells when the result was made; it was recorded within the tick after that.
	_, body := c.get(c.base()+"/api/check/may-chu-huyen/thu.tcp", false)
	var d struct {
		Entries []struct {
			Result *struct {
				Start  time.Time
				Took   float64 `json:"took_s"`
				Reason string
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatalf("%v in %.300s", err, body)
	}
	for _, e := range d.Entries {
		if e.Result != nil && e.Result.Reason == "connect_refused" {
			t.Logf("made at %s; in PromQL %.1f s and on the board %.1f s after it", e.Result.Start.Format("15:04:05.000"),
				inPromQL.Sub(e.Result.Start).Seconds(), onBoard.Sub(e.Result.Start).Seconds())
		}
	}
	if len(d.Entries) == 0 {
		t.Errorf("the board knows no result of the check: %.300s", body)
	}
	// The board's own page says it in words.
	if _, page := c.get(c.base()+"/", false); !strings.Contains(page, "Máy chủ từ chối kết nối") {
		t.Error("the page does not say why")
	}
}
