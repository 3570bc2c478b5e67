package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/collector/profile"
	"egovmon/collector/report"
)

// TestWitnessAndIssuedReport walks the way of an inspectorate: it signs a running collector's log, a report is issued, and
// the export is proven by the inspectorate's own key.
func TestWitnessAndIssuedReport(t *testing.T) {
	t.Parallel()
	dir, office, out := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "office"), t.TempDir()
	c := start(t, dir)
	do := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, &stdout, &stderr); code != want {
			t.Fatalf("collector %s exits %d: %s%s", strings.Join(args, " "), code, stdout.String(), stderr.String())
		}
		return stdout.String() + stderr.String()
	}
	eventually(t, "results", func() bool { return c.query("egovmon_check_success")["may-chu-huyen thu_thap.tcp"] == "1" })
	const name = "egovmon/huyen-tu-ky/witness/thanh-tra"
	key := strings.TrimSpace(do(exitDone, "witness", "init", "--data", office, "--name", name))
	do(exitFailed, "witness", "init", "--data", office, "--name", name)
	do(exitFailed, "witness", "accept", "--data", dir, "nonsense")
	do(exitDone, "witness", "accept", "--data", dir, key)
	witnesses := func() (a witnessAnswer) {
		t.Helper()
		if err := json.Unmarshal([]byte(do(exitDone, "witness", "list", "--data", dir, "--json")), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	logKey, agents := witnesses().LogKey, c.agent
	if said := do(exitDone, "witness", "run", "--data", office, "--collector", agents, "--log-key", logKey, "--once"); !strings.Contains(said, "Đã đồng ký") {
		t.Errorf("the witness says %q", said)
	}
	do(exitFailed, "witness", "run", "--data", office, "--collector", agents, "--log-key", logKey, "--once", "--pin", strings.Repeat("a", 52))
	eventually(t, "the round in the log", func() bool { return witnesses().Round.Leaf >= 0 })
	if said := do(exitDone, "witness", "list", "--data", dir); !strings.Contains(said, name) || !strings.Contains(said, "đã ký lúc") {
		t.Errorf("the list says:\n%s", said)
	}

	this := profile.DateOf(time.Now()).String()[:7]
	last := time.Now().In(profile.Zone()).AddDate(0, 0, -time.Now().In(profile.Zone()).Day()).Format("2006-01")
	reports := func(want int, what, period string, more ...string) (a reportsAnswer) {
		t.Helper()
		said := do(want, append([]string{"report", what, "--data", dir, "--period", period, "--calendar-period", "--json"}, more...)...)
		if want == exitDone {
			if err := json.Unmarshal([]byte(said), &a); err != nil {
				t.Fatal(err)
			}
		}
		return a
	}
	reports(exitFailed, "issue", last)
	drafts := reports(exitDone, "draft", last).Drafts
	if len(drafts) == 0 {
		t.Fatal("no draft")
	}
	reports(exitFailed, "issue", last)
	// The command acts as one person: another one reviews what it made and issues.
	reviewed := report.Scope{Period: last, Calendar: true}
	reports(exitDone, "review", last, "--sha256", drafts[len(drafts)-1].SHA256)
	reports(exitFailed, "issue", last)
	other := report.NewDesk(filepath.Join(dir, reportsDir), nil, time.Now)
	d, ok, err := other.Draft(reviewed)
	if err != nil || !ok {
		t.Fatal(err, ok)
	}
	m, err := report.Read(bytes.NewReader(d.Model))
	if err == nil {
		d, err = other.Put(reviewed, m, report.Program)
	}
	if err == nil {
		_, err = other.Review(reviewed, d.SHA256, "minh.tv")
	}
	if err != nil {
		t.Fatal(err)
	}
	issued := reports(exitDone, "issue", last).Issued
	if len(issued) != 1 || !strings.HasSuffix(issued[0].By, "@local") {
		t.Fatalf("issued: %+v", issued)
	}
	now := reports(exitDone, "draft", this).Drafts
	reports(exitDone, "review", this, "--sha256", now[len(now)-1].SHA256)
	reports(exitFailed, "issue", this) // it has not ended

	c.stop()
	var files [2][]byte
	for i := range files {
		path := filepath.Join(out, "issued.docx")
		do(exitDone, "report", "--issued", "--data", dir, "--period", last, "--calendar-period", "--out", path)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = b
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("an issued report has other bytes when it is made again")
	}
	zip, figures := filepath.Join(out, "audit.zip"), filepath.Join(out, "issued.json")
	do(exitDone, "report", "--issued", "--data", dir, "--period", last, "--calendar-period", "--format", "json", "--out", figures)
	do(exitDone, "audit", "export", "--data", dir, "--period", last, "--calendar-period", "--out", zip)
	trust := filepath.Join(out, "trust")
	if err := os.WriteFile(trust, []byte("egovmon-trust/1\nlog "+logKey+"\nwitness "+key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := do(exitDone, "audit", "verify", zip, "--trust", trust, "--figures", figures); !strings.Contains(said, "được bảo vệ trước chính người vận hành nhật ký") {
		t.Errorf("with the witness's key:\n%s", said)
	}
	if said := do(exitDone, "audit", "verify", zip, "--key", logKey); !strings.Contains(said, "chưa được bảo vệ trước chính người vận hành") {
		t.Errorf("with the log's key alone:\n%s", said)
	}
	if err := os.WriteFile(trust, []byte("egovmon-trust/1\ncheckpoint "+strings.SplitN(logKey, "+", 2)[0]+" 3 "+strings.Repeat("00", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	do(exitFailed, "audit", "verify", zip, "--trust", trust)
}
