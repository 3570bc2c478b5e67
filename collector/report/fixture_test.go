package report

import (
	"crypto/sha256"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/check"
	"egovmon/agent/wire"
	"egovmon/collector/history"
)

// day returns midnight in Vietnam.
func day(y int, m time.Month, d int) time.Time {
	return time.Date(y, m, d, 0, 0, 0, 0, time.FixedZone("", 7*3600)).UTC()
}

func counted(calendar string, a history.Account) history.Counted {
	return history.Counted{Calendar: calendar, Account: a, Figures: a.Figures()}
}

// logKey is a key made from a fixed seed, so that golden files stay as they are.
func logKey(t testing.TB) (note.Signer, string) {
	t.Helper()
	signer, key, err := note.GenerateKey(fixed{}, "egovmon/tu-ky/log/1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(signer)
	if err != nil {
		t.Fatal(err)
	}
	return s, key
}

// fixed is a source of the same bytes for ever.
type fixed struct{}

func (fixed) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

func checkpoint(t testing.TB, s note.Signer) []byte {
	t.Helper()
	tree := tlog.Tree{N: 1234, Hash: sha256.Sum256([]byte("root"))}
	cp, err := note.Sign(&note.Note{Text: wire.FormatCheckpoint(s.Name(), tree)}, s)
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

// sample is the third quarter of 2026 of a small district: a portal that was down, mail that met its targets, and a
// service of which nothing is known.
func sample(t testing.TB) Model {
	t.Helper()
	s, _ := logKey(t)
	from, to := day(2026, 6, 15), day(2026, 9, 15)
	const q = 92 * 86400
	outage := history.Outage{From: day(2026, 7, 2).Add(8*time.Hour + 30*time.Minute), To: day(2026, 7, 2).Add(11 * time.Hour), Down: 9000, Reason: check.ConnectRefused}
	portal := history.Account{Up: q - 9000 - 86400, Down: 9000, Unknown: 86400,
		Causes: map[check.Reason]int64{check.ConnectRefused: 9000, check.NoUplink: 80000, check.MissedStopped: 6400}}
	office := history.Account{Up: 1700000, Degraded: 1000, Down: 9000, Causes: map[check.Reason]int64{check.ConnectRefused: 9000, check.Slow: 1000}}
	silent := history.Account{Unknown: q, Causes: map[check.Reason]int64{check.NotConfigured: q}}
	mail := history.Account{Up: q - 100, Down: 100, Causes: map[check.Reason]int64{check.Timeout: 100}}
	m := Model{
		Version: Version, Period: "2026-Q3", Rule: "votes/1", From: from, To: to, Counted: to, Generated: to.Add(9 * time.Hour),
		Leaves: 1234, Root: "00ff", District: "Huyện Tứ Kỳ",
		Issuer: Issuer{Parent: "Ủy ban nhân dân huyện Tứ Kỳ", Body: "Phòng Văn hóa và Thông tin", Symbol: "BC-VHTT", Signer: "Trưởng phòng",
			Recipients: []string{"UBND huyện", "Sở Khoa học và Công nghệ"}},
		Rows: []Row{
			{Row: history.Row{Service: "cong_h", From: from, To: to, Outages: []history.Outage{outage},
				Calendars: []history.Counted{counted(history.Hours24x7, portal), counted(history.ServiceHours, office)}},
				Name: "Cổng TTĐT huyện"},
			{Row: history.Row{Service: "cong_h", Unit: "an-thanh", From: from, To: to, Outages: []history.Outage{outage},
				Calendars: []history.Counted{counted(history.Hours24x7, portal)}}, Name: "Cổng TTĐT huyện", UnitName: "Xã An Thanh"},
			{Row: history.Row{Service: "mail", From: from, To: to, Calendars: []history.Counted{counted(history.Hours24x7, mail)}}, Name: "Thư điện tử công vụ"},
			{Row: history.Row{Service: "kyso", From: from, To: to, Calendars: []history.Counted{counted(history.Hours24x7, silent)}}, Name: "Ký số"},
		},
		Changes: []Change{{Leaf: 17, Type: "plan", What: "pc-an-thanh-01 v2", After: day(2026, 7, 1), Before: day(2026, 7, 1).Add(time.Minute)},
			{Leaf: 18, Type: "target", What: "targets.yaml", After: day(2026, 7, 1)}},
		Log: Log{Origin: s.Name(), Key: "key", Checkpoint: string(checkpoint(t, s))},
	}
	for i := range m.Rows {
		for _, c := range m.Rows[i].Calendars {
			m.Rows[i].Targets = append(m.Rows[i].Targets, Target{c.Calendar, 0.995, "mục tiêu nội bộ", Judge(c.Figures, 0.995)})
		}
	}
	return m
}
