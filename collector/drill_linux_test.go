package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"egovmon/agent/words"
	"egovmon/collector/alert/alerttest"
	"egovmon/collector/profile"
	"egovmon/deploy/profiles"
)

// TestTheDrill is the drill of the guides, with the profile that it uses: Debian's mail server is stopped, the office is told,
// somebody acknowledges, it is started again, and there is one all-clear. The outage stands in PromQL, in the figures, in the
// workbook and in what an auditor works out offline.
func TestTheDrill(t *testing.T) {
	t.Parallel()
	mail := alerttest.Start(t)
	office := newOffice(t)
	shipped, err := profiles.Embedded("dien-tap")
	if err != nil {
		t.Fatal(err)
	}
	prof, dir, out := filepath.Join(t.TempDir(), "dien-tap"), filepath.Join(t.TempDir(), "drill"), t.TempDir()
	if err := os.CopyFS(prof, shipped); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(prof, "parameters.yaml"), "127.0.0.1:25", mail.Addr)
	edit(t, filepath.Join(prof, "offices.yaml"), "http://127.0.0.1:19099/", office.url)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, configFile), []byte("alert: {webhook: {}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, dir, "--profile", prof)
	const id = "may-dien-tap mail.smtp"
	eventually(t, "the mail server is up", func() bool { return c.query("egovmon_check_success")[id] == "1" })

	mail.Stop()
	stopped := time.Now()
	eventually(t, "the office is told", func() bool { return office.count("opened mail connect_refused") > 0 })
	t.Logf("told %s after the server was stopped", time.Since(stopped).Round(time.Second))
	acknowledge(t, c)
	mail.Again(t)
	eventually(t, "the all-clear", func() bool { return office.count("closed mail") > 0 })
	if office.count("opened") != 1 || office.count("closed") != 1 {
		t.Errorf("%d messages of the opening and %d all-clears, want one of each", office.count("opened"), office.count("closed"))
	}

	if got := c.query("min_over_time(egovmon_check_success[10m])")[id]; got != "0" {
		t.Errorf("PromQL says that success was never below %q", got)
	}
	do := func(args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, &stdout, &stderr); code != exitDone {
			t.Fatalf("collector %s exits %d: %s%s", strings.Join(args, " "), code, stdout.String(), stderr.String())
		}
		return stdout.String()
	}
	quarter := quarterOf(t, time.Now())
	book, zip, figures := filepath.Join(out, "q.xlsx"), filepath.Join(out, "audit.zip"), filepath.Join(out, "q.json")
	do("report", "--data", dir, "--period", quarter, "--format", "xlsx", "--out", book)
	do("report", "--data", dir, "--period", quarter, "--format", "json", "--out", figures)
	do("audit", "export", "--data", dir, "--period", quarter, "--out", zip)
	why := words.Reason(words.VI, "connect_refused").Title
	if !inWorkbook(t, book, why) {
		t.Errorf("the workbook does not name the outage: %q", why)
	}
	verdict := do("audit", "verify", "--figures", figures, zip)
	if !strings.Contains(verdict, "- gián đoạn từ ") || !strings.Contains(verdict, why) || !strings.Contains(verdict, "khác nhau 0 điểm") {
		t.Errorf("an auditor sees no such outage, or other figures:\n%s", verdict)
	}
	if code, page := c.get(c.base()+"/", false); code != http.StatusOK || !strings.Contains(page, "24 giờ qua (1)") {
		t.Errorf("the board answers %d and does not show the one incident that is over", code)
	}
}

// quarterOf names the reporting quarter that a time lies in.
func quarterOf(t *testing.T, at time.Time) string {
	t.Helper()
	for k := range 5 {
		p := fmt.Sprintf("%d-Q%d", at.Year()+k/4, k%4+1)
		from, to, err := profile.ParsePeriod(p, false)
		if err != nil {
			t.Fatal(err)
		}
		if !at.Before(from) && at.Before(to) {
			return p
		}
	}
	t.Fatalf("no quarter holds %s", at)
	return ""
}

// inWorkbook reports whether a cell of a workbook holds the text.
func inWorkbook(t *testing.T, name, text string) bool {
	t.Helper()
	f, err := excelize.OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, sheet := range f.GetSheetList()[1:2] { // of the outages
		rows, err := f.GetRows(sheet)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if strings.Contains(strings.Join(r, "\t"), text) {
				return true
			}
		}
	}
	return false
}
