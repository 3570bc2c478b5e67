package intake

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/wire"
)

// sealRaw makes the next batch with this body, whatever it holds.
func (a *agent) sealRaw(t testing.TB, body []byte, raw, records int) journal.Batch {
	t.Helper()
	h := a.header()
	sum := sha256.Sum256(body)
	h.Body, h.Stored, h.Raw, h.Records = hex.EncodeToString(sum[:]), len(body), raw, records
	n, err := note.Sign(&note.Note{Text: h.Text()}, a.signer)
	if err != nil {
		t.Fatal(err)
	}
	b := journal.Batch{Note: n, Body: body}
	a.seq, a.previous = a.seq+1, b.Hash()
	return b
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name   string
		make   func(t *testing.T, a *agent) []byte
		status int
		why    string // counted as; "" for nothing
		head   uint64 // of the agent's journal afterwards, which began with 1
		want   uint64
	}{
		{"nothing", func(*testing.T, *agent) []byte { return nil }, 200, "", 1, 0},
		{"next", func(t *testing.T, a *agent) []byte { return frames(a.seal(t, result(start))) }, 200, "", 2, 0},
		{"unsigned", func(t *testing.T, a *agent) []byte {
			b := a.seal(t, result(start))
			text, _, _ := strings.Cut(string(b.Note), "\n\n")
			return wire.AppendBatch(nil, []byte(text+"\n\n"), b.Body)
		}, 403, RefusedSignature, 1, 0},
		{"wrong key of the right name", func(t *testing.T, a *agent) []byte {
			skey, _, err := note.GenerateKey(rand.Reader, a.signer.Name())
			if err != nil {
				t.Fatal(err)
			}
			if a.signer, err = note.NewSigner(skey); err != nil {
				t.Fatal(err)
			}
			return frames(a.seal(t, result(start)))
		}, 403, RefusedSignature, 1, 0},
		{"a header changed by one byte", func(t *testing.T, a *agent) []byte {
			b := a.seal(t, result(start))
			return wire.AppendBatch(nil, bytes.Replace(b.Note, []byte("seq 2"), []byte("seq 3"), 1), b.Body)
		}, 403, RefusedSignature, 1, 0},
		{"another machine's batch", func(t *testing.T, a *agent) []byte {
			b := a.centre.agent(t, "quang-khai")
			return frames(b.seal(t, begin(start)))
		}, 403, RefusedSignature, 1, 0},
		{"another body", func(t *testing.T, a *agent) []byte {
			b := a.seal(t, result(start))
			b.Body[len(b.Body)-1] ^= 1
			return frames(b)
		}, 409, RefusedBody, 1, 0},
		{"gap", func(t *testing.T, a *agent) []byte {
			a.seal(t, result(start))
			return frames(a.seal(t, result(start.Add(time.Minute))))
		}, 409, RefusedGap, 1, 2},
		{"a journal that does not begin", func(t *testing.T, a *agent) []byte {
			a.fresh(t)
			a.seal(t, begin(start))
			return frames(a.seal(t, result(start)))
		}, 409, RefusedGap, 1, 1},
		{"fork at the head", func(t *testing.T, a *agent) []byte {
			a.seq, a.previous = 0, journal.NoPrevious
			return frames(a.seal(t, begin(start.Add(time.Second))))
		}, 409, RefusedFork, 1, 0},
		{"fork behind the head", func(t *testing.T, a *agent) []byte {
			a.previous = strings.Repeat("ab", 32)
			return frames(a.seal(t, result(start)))
		}, 409, RefusedFork, 1, 0},
		{"good, then a fork", func(t *testing.T, a *agent) []byte {
			b := a.seal(t, result(start))
			a.previous = strings.Repeat("ab", 32)
			return frames(b, a.seal(t, result(start)))
		}, 409, RefusedFork, 2, 0},
		{"good, then cut short", func(t *testing.T, a *agent) []byte {
			b := frames(a.seal(t, result(start)))
			c := frames(a.seal(t, result(start)))
			return append(b, c[:len(c)-1]...)
		}, 400, RefusedFrame, 2, 0},
		{"two journals", func(t *testing.T, a *agent) []byte {
			b := frames(a.seal(t, result(start)))
			a.fresh(t)
			return append(b, frames(a.seal(t, begin(start)))...)
		}, 400, RefusedFrame, 2, 0},
		{"65 batches", func(t *testing.T, a *agent) []byte {
			var b []byte
			for range wire.MaxBatches + 1 {
				b = append(b, frames(a.seal(t, result(start)))...)
			}
			return b
		}, 413, RefusedSize, 1 + wire.MaxBatches, 0},
		{"oversize header", func(*testing.T, *agent) []byte {
			return wire.AppendBatch(nil, make([]byte, wire.MaxHeader+1), []byte("x"))
		}, 413, RefusedSize, 1, 0},
		{"oversize body", func(*testing.T, *agent) []byte {
			return wire.AppendBatch(nil, []byte("x"), make([]byte, wire.MaxBody+1))
		}, 413, RefusedSize, 1, 0},
		{"a length without end", func(*testing.T, *agent) []byte { return bytes.Repeat([]byte{0xff}, 20) }, 400, RefusedFrame, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCentre(t, Limits{})
			a := c.agent(t, "an-thanh")
			id := a.journal
			if code, ans := a.push(t, a.seal(t, a.opening(t)...)); code != http.StatusOK {
				t.Fatal(code, ans)
			}
			body := tt.make(t, a)
			size := c.log.Size()
			code, ans := a.post(t, body)
			if code != tt.status || ans.Head != (wire.Head{Journal: id, Seq: tt.head}) {
				t.Errorf("%d %+v, want %d and head %d", code, ans, tt.status, tt.head)
			}
			if (ans.Want == nil) != (tt.want == 0) || ans.Want != nil && ans.Want.Seq != tt.want {
				t.Errorf("want %+v, want %d", ans.Want, tt.want)
			}
			if (code == http.StatusOK) != (ans.Error == "") || ans.Checkpoint == "" || ans.Time == "" || ans.Plan == "" {
				t.Errorf("answer %+v", ans)
			}
			if got := c.log.Size() - size; got != int64(tt.head)-1 {
				t.Errorf("%d leaves more, want %d", got, tt.head-1)
			}
			var n int64
			for _, st := range c.Status() {
				if st.Machine == a.id.Machine && tt.why != "" {
					n = st.Refused[tt.why]
				}
			}
			if (n == 1) != (tt.why != "") {
				t.Errorf("%q counted %d times", tt.why, n)
			}
		})
	}
}

// A batch far behind the head is not called a duplicate when nobody can tell.
func TestReplayOfOldBatches(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	all := []journal.Batch{a.seal(t, a.opening(t)...)}
	for range 2 * recent {
		all = append(all, a.seal(t, result(start)))
	}
	for len(all) > 0 {
		n := min(len(all), wire.MaxBatches)
		if code, ans := a.push(t, all[:n]...); code != http.StatusOK {
			t.Fatal(code, ans)
		}
		if code, _ := a.push(t, all[:n]...); code != http.StatusOK {
			t.Errorf("the last request again: %d", code)
		}
		if len(all) == n {
			break
		}
		first := all[0]
		all = all[n:]
		if code, _ := a.push(t, all[0]); code != http.StatusOK {
			t.Fatal(code)
		}
		code, ans := a.push(t, first)
		if code != http.StatusConflict || ans.Want == nil || ans.Want.Seq != ans.Head.Seq-recent+1 {
			t.Fatalf("a batch that nobody remembers: %d %+v", code, ans)
		}
		all = all[1:]
	}
}

func TestRefusedCalls(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	good := frames(a.seal(t, begin(start)))
	for _, tt := range []struct {
		name, method, path string
		header             []string
		body               []byte
		status             int
	}{
		{"another type", http.MethodPost, wire.PathBatches, []string{"Content-Type", "application/json"}, good, 400},
		{"gzip", http.MethodPost, wire.PathBatches, []string{"Content-Type", wire.TypeBatches, "Content-Encoding", "gzip"}, good, 400},
		{"GET", http.MethodGet, wire.PathBatches, nil, nil, 405},
		{"no such path", http.MethodGet, "/agent/v1/secrets", nil, nil, 404},
		{"goodbye without JSON", http.MethodPost, wire.PathGoodbye, nil, []byte("bye"), 400},
		{"goodbye without end", http.MethodPost, wire.PathGoodbye, nil, bytes.Repeat([]byte(" "), wire.MaxEnrol+10), 413},
		{"enrol with rubbish", http.MethodPost, wire.PathEnrol, nil, []byte(`{"token":"a.b","csr":"AA=="}`), 401},
		{"renew without a key", http.MethodPost, wire.PathRenew, nil, []byte(`{}`), 400},
	} {
		if res, body := a.call(t, tt.method, tt.path, tt.body, tt.header...); res.StatusCode != tt.status {
			t.Errorf("%s: %s %s, want %d", tt.name, res.Status, body, tt.status)
		}
	}
	if err := c.reg.Revoke(t.Context(), a.id.Machine, "test"); err != nil {
		t.Fatal(err)
	}
	if code, _ := a.call(t, http.MethodPost, wire.PathBatches, good, "Content-Type", wire.TypeBatches); code.StatusCode != http.StatusForbidden {
		t.Errorf("a revoked machine on an open connection: %s", code.Status)
	}
	conf := a.id.TLSConfig(a.now)
	conf.Certificates = nil
	tr := &http.Transport{TLSClientConfig: conf}
	defer tr.CloseIdleConnections()
	a.client = &http.Client{Transport: tr}
	for _, path := range []string{wire.PathPlan, wire.PathCheckpoint} {
		if res, body := a.call(t, http.MethodGet, path, nil); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a certificate: %s %s", path, res.Status, body)
		}
	}
}

func TestQuota(t *testing.T) {
	c := newCentre(t, Limits{Results: 50, Bytes: 1 << 20, Journals: 6})
	a := c.agent(t, "an-thanh")
	one := func() journal.Batch {
		var recs []journal.Record
		for range 40 {
			recs = append(recs, result(start))
		}
		return a.seal(t, recs...)
	}
	if code, ans := a.push(t, a.seal(t, a.opening(t)...), one()); code != http.StatusOK {
		t.Fatal(code, ans)
	}
	b := []journal.Batch{one(), one()}
	res, _ := a.call(t, http.MethodPost, wire.PathBatches, frames(b...), "Content-Type", wire.TypeBatches)
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Fatalf("beyond the quota: %s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
	}
	if st := c.Status()[0]; st.Head.Seq != 3 || st.Refused[RefusedQuota] != 1 {
		t.Errorf("what fits the quota is taken: %+v", st)
	}
	c.set(c.now().Add(time.Minute))
	if code, ans := a.push(t, b...); code != http.StatusOK || ans.Head.Seq != 4 {
		t.Errorf("a minute later: %d %+v", code, ans)
	}
	for i := range 60 {
		a.fresh(t)
		code, _ := a.push(t, a.seal(t, begin(start)))
		if code == http.StatusTooManyRequests {
			if i < 20 {
				t.Errorf("refused the journal %d already", i)
			}
			return
		}
	}
	t.Error("60 new journals at once")
}

// A machine that sends more bytes than its share waits, whatever they say; another one does not.
func TestQuotaOfBytes(t *testing.T) {
	c := newCentre(t, Limits{Bytes: 4000})
	a, other := c.agent(t, "an-thanh"), c.agent(t, "quang-khai")
	if code, ans := a.push(t, a.seal(t, a.opening(t)...)); code != http.StatusOK {
		t.Fatal(code, ans)
	}
	refused := 0
	for range 40 {
		res, _ := a.call(t, http.MethodPost, wire.PathBatches, bytes.Repeat([]byte{0xff}, 300), "Content-Type", wire.TypeBatches)
		if res.StatusCode != http.StatusTooManyRequests {
			continue
		}
		if refused++; res.Header.Get("Retry-After") == "" {
			t.Error("beyond the quota, without Retry-After")
		}
	}
	if refused < 10 {
		t.Errorf("%d of 40 requests were refused, of 12,000 bytes where 8,000 may come at once", refused)
	}
	next := a.seal(t, result(start))
	if code, _ := a.push(t, next); code != http.StatusTooManyRequests {
		t.Errorf("what comes next at once: %d", code)
	}
	if code, ans := other.push(t, other.seal(t, other.opening(t)...)); code != http.StatusOK {
		t.Errorf("another machine: %d %+v", code, ans)
	}
	c.set(c.now().Add(2 * time.Minute))
	if code, ans := a.push(t, next); code != http.StatusOK || ans.Head.Seq != 2 {
		t.Errorf("two minutes later: %d %+v", code, ans)
	}
}

// While one request of a machine is under way another one waits, whatever the order in which they come.
func TestOneRequestOfAMachine(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	b := a.seal(t, a.opening(t)...)
	m := c.lookup(a.id.Machine)
	m.busy.Lock()
	if code, _ := a.push(t, b); code != http.StatusTooManyRequests {
		t.Errorf("a second request: %d", code)
	}
	m.busy.Unlock()
	if code, _ := a.push(t, b); code != http.StatusOK {
		t.Errorf("afterwards: %d", code)
	}
}

func TestRejected(t *testing.T) {
	at := slot("pc-an-thanh-01", start)
	change := func(f func(r *check.Result)) journal.Record {
		r := result(at)
		f(r.Result)
		return r
	}
	tests := []struct {
		name string
		recs []journal.Record
		want map[string]int
	}{
		{"a good one", []journal.Record{result(at)}, nil},
		{"slot of 1970", []journal.Record{result(slot("pc-an-thanh-01", time.Unix(0, 0)))}, map[string]int{RejectedEarly: 1}},
		{"slot of 2100", []journal.Record{result(slot("pc-an-thanh-01", time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)))}, map[string]int{RejectedFuture: 1}},
		{"a slot 25 h before", []journal.Record{result(at.Add(-25 * time.Hour))}, map[string]int{RejectedEarly: 1}},
		{"a slot 23 h before", []journal.Record{result(at.Add(-23 * time.Hour))}, nil},
		{"a slot 3 min ahead", []journal.Record{result(at.Add(10 * time.Minute))}, map[string]int{RejectedFuture: 1}},
		{"off the grid", []journal.Record{result(at.Add(time.Second))}, map[string]int{RejectedGrid: 1}},
		{"twice", []journal.Record{result(at), result(at)}, map[string]int{RejectedTwice: 1}},
		{"out of order", []journal.Record{result(at.Add(time.Minute)), result(at), result(at.Add(time.Minute))}, map[string]int{RejectedTwice: 1}},
		{"another check", []journal.Record{change(func(r *check.Result) { r.Check = "s.http" })}, map[string]int{RejectedCheck: 1}},
		{"unknown fact", []journal.Record{change(func(r *check.Result) { r.Facts = check.Facts{{Name: "salary_vnd", Value: 1}} })}, map[string]int{RejectedFact: 1}},
		{"fact out of bounds", []journal.Record{change(func(r *check.Result) { r.Facts = check.Facts{{Name: "rtt_avg_s", Value: 61}} })}, map[string]int{RejectedBounds: 1}},
		{"fact without bounds", []journal.Record{change(func(r *check.Result) { r.Facts = check.Facts{{Name: "any_count", Value: 1e9}} })}, nil},
		{"unknown phase", []journal.Record{change(func(r *check.Result) { r.Phases = check.Phases{{Name: "egovmon_x", Took: 1}} })}, map[string]int{RejectedPhase: 1}},
		{"range of nothing", []journal.Record{{Range: &check.Range{Reason: check.MissedStopped, Check: "*", From: start, To: start}}}, map[string]int{RejectedRange: 1}},
		{"range into the future", []journal.Record{{Range: &check.Range{Reason: check.MissedStopped, Check: "*", From: start, To: start.AddDate(1, 0, 0)}}}, map[string]int{RejectedRange: 1}},
		{"range of no check", []journal.Record{{Range: &check.Range{Reason: check.MissedStopped, Check: "x", From: start, To: start.Add(time.Second)}}}, map[string]int{RejectedCheck: 1}},
		{"begin in 1970", []journal.Record{begin(time.Unix(0, 0).UTC())}, map[string]int{RejectedTime: 1}},
		{"end in 2100", []journal.Record{{End: &journal.End{At: start.AddDate(74, 0, 0), Cause: "stop"}}}, map[string]int{RejectedTime: 1}},
		{"a plan that nobody gave", []journal.Record{{Plan: &journal.PlanApplied{Version: 9, SHA256: strings.Repeat("cd", 32), At: start}}}, map[string]int{RejectedPlan: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCentre(t, Limits{})
			a := c.agent(t, "an-thanh")
			open := a.opening(t)
			c.set(start.Add(2 * time.Minute))
			if code, ans := a.push(t, a.seal(t, open...), a.seal(t, tt.recs...)); code != http.StatusOK {
				t.Fatal(code, ans)
			}
			a.flush(t)
			got := c.accepted()
			if len(got) != 2 || fmt.Sprint(got[1].Rejected) != fmt.Sprint(orEmpty(tt.want)) {
				t.Fatalf("rejected %v, want %v", got[1].Rejected, tt.want)
			}
			good := len(tt.recs)
			for why, n := range tt.want {
				good -= n
				if st := c.Status()[0]; st.Rejected[why] != int64(n) {
					t.Errorf("status counts %v", st.Rejected)
				}
			}
			if len(got[1].Events) != good {
				t.Errorf("%d events, want %d", len(got[1].Events), good)
			}
		})
	}
}

func orEmpty(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}
	return m
}

func TestHostileBodies(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	z, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true))
	if err != nil {
		t.Fatal(err)
	}
	bomb := z.EncodeAll(make([]byte, wire.MaxRaw), nil)
	bs := []journal.Batch{
		a.seal(t, a.opening(t)...),
		a.sealRaw(t, []byte("no zstd at all"), 100, 5),
		a.sealRaw(t, bomb, 100, 7),
		a.sealRaw(t, bomb, wire.MaxRaw, 1),
		a.sealRaw(t, z.EncodeAll([]byte("{}\n{\"t\":\"result\"}\n"), nil), 18, 2),
		a.seal(t, result(slot(a.id.Machine, start))),
	}
	if code, ans := a.push(t, bs...); code != http.StatusOK || ans.Head.Seq != uint64(len(bs)) {
		t.Fatalf("what is signed and next is archived: %d %+v", code, ans)
	}
	a.flush(t)
	got := c.accepted()
	for i, want := range []int{0, 5, 7, 1, 2, 0} {
		if got[i].Rejected[RejectedUnreadable] != want {
			t.Errorf("batch %d: rejected %v, want %d unreadable", i+1, got[i].Rejected, want)
		}
	}
	if len(got[5].Events) != 1 {
		t.Errorf("the good batch behind them: %+v", got[5])
	}
}

// The journal package does not write such reasons; another program might.
func TestRejectedReason(t *testing.T) {
	for _, reason := range []check.Reason{check.MissedOverrun, check.Silent, "fine", ""} {
		c := newCentre(t, Limits{})
		a := c.agent(t, "an-thanh")
		at := slot(a.id.Machine, start)
		line := fmt.Sprintf(`{"attempts":1,"check":"s.tcp","reason":%q,"slot":%q,"start":%q,"state":"unknown","t":"result","took_s":0.003}`+"\n",
			reason, at.Format(time.RFC3339), at.Format("2006-01-02T15:04:05.000Z"))
		z, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true))
		if err != nil {
			t.Fatal(err)
		}
		if code, ans := a.push(t, a.seal(t, a.opening(t)...), a.sealRaw(t, z.EncodeAll([]byte(line), nil), len(line), 1)); code != http.StatusOK {
			t.Fatal(code, ans)
		}
		a.flush(t)
		if got := c.accepted()[1]; got.Rejected[RejectedReason]+got.Rejected[RejectedUnreadable] != 1 || len(got.Events) != 0 {
			t.Errorf("reason %q: rejected %v, %d events", reason, got.Rejected, len(got.Events))
		}
	}
}

// What a journal could not deliver comes in the next one, long after, and by the plan of its time.
func TestCarriedOver(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	if code, ans := a.push(t, a.seal(t, a.opening(t)...)); code != http.StatusOK {
		t.Fatal(code, ans)
	}
	old := slot(a.id.Machine, start.Add(time.Hour))
	now := start.Add(10 * 24 * time.Hour)
	c.set(now)
	text := planText(a.id.Machine, 2, "30s")
	if err := c.SetPlan(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	previous := a.journal
	a.fresh(t)
	b := begin(now)
	b.Begin.Cause, b.Begin.PreviousJournal = "fork", previous
	recs := []journal.Record{b, applies(t, text, now)}
	for i := range 100 {
		recs = append(recs, result(old.Add(time.Duration(i)*time.Minute)))
	}
	recs = append(recs, result(old)) // carried twice
	if code, ans := a.push(t, a.seal(t, recs...)); code != http.StatusOK {
		t.Fatal(code, ans)
	}
	a.flush(t)
	got := c.accepted()[1]
	if fmt.Sprint(got.Rejected) != fmt.Sprint(map[string]int{RejectedTwice: 1}) || len(got.Events) != 102 {
		t.Fatalf("rejected %v, %d events", got.Rejected, len(got.Events))
	}
	o := got.Events[2].Observation
	if o.Every != time.Minute || !o.From.Equal(old) || !o.To.Equal(old.Add(time.Minute)) {
		t.Errorf("a carried result speaks for %s to %s, every %s", o.From, o.To, o.Every)
	}
}

func TestClockUnproven(t *testing.T) {
	for _, tt := range []struct {
		name     string
		clock    *journal.Clock
		unproven bool
	}{
		{"never measured", nil, false},
		{"right", &journal.Clock{Offset: 30 * time.Second, Measured: start}, false},
		{"ahead", &journal.Clock{Offset: 31 * time.Second, Measured: start}, true},
		{"behind", &journal.Clock{Offset: -31 * time.Second, Measured: start}, true},
		{"measured long ago", &journal.Clock{Offset: 31 * time.Second, Measured: start.Add(-25 * time.Hour)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCentre(t, Limits{})
			a := c.agent(t, "an-thanh")
			h := a.header()
			h.Clock = tt.clock
			b, err := journal.Seal(h, append(a.opening(t), result(slot(a.id.Machine, start))), a.signer)
			if err != nil {
				t.Fatal(err)
			}
			if code, ans := a.push(t, b); code != http.StatusOK {
				t.Fatal(code, ans)
			}
			a.flush(t)
			if o := c.accepted()[0].Events[2].Observation; o.ClockUnproven != tt.unproven {
				t.Errorf("clock unproven: %t", o.ClockUnproven)
			}
		})
	}
}
