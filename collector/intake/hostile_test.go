package intake

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/journal"
	"egovmon/agent/wire"
)

// endless gives one byte over and over, and counts how much was taken.
type endless struct {
	b     byte
	taken atomic.Int64 // the transport may still read when the answer is there
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.b
	}
	e.taken.Add(int64(len(p)))
	return len(p), nil
}

// A request of 100 MB, of whatever bytes, costs the collector a few MiB and no other machine its turn.
func TestHugeRequests(t *testing.T) {
	const huge = 100 << 20
	for name, first := range map[string][]byte{
		"zeros":              {0},
		"ones":               {0xff},
		"a header of 100 MB": {0x80, 0x80, 0x80, 0x32},
		"a body of 100 MB":   append(wire.AppendBatch(nil, []byte("h"), nil)[:2], 0x80, 0x80, 0x80, 0x32),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCentre(t, Limits{})
			a := c.agent(t, "an-thanh")
			body := &endless{b: first[0]}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url+wire.PathBatches,
				io.LimitReader(io.MultiReader(bytes.NewReader(first), body), huge))
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = huge
			req.Header.Set("Content-Type", wire.TypeBatches)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			res, err := a.client.Do(req)
			runtime.ReadMemStats(&after)
			// The collector answers, or hangs up on who goes on sending.
			if err == nil {
				if res.Body.Close(); res.StatusCode != http.StatusRequestEntityTooLarge && res.StatusCode != http.StatusBadRequest && res.StatusCode != http.StatusForbidden {
					t.Errorf("%s", res.Status)
				}
			}
			if n := body.taken.Load(); n > huge/2 {
				t.Errorf("%d bytes of it were read", n)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 24<<20 {
				t.Errorf("%d bytes were allocated", got)
			}
			a.client.CloseIdleConnections()
			if code, ans := a.push(t, a.seal(t, a.opening(t)...)); code != http.StatusOK {
				t.Errorf("what comes next: %d %+v", code, ans)
			}
		})
	}
}

// Lines that the journal package would never write enter no figure and reach no page, and those beside them do.
func TestHostileLines(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	at := slot(a.id.Machine, start)
	line := func(detail, facts string) string {
		return fmt.Sprintf(`{"attempts":1,"check":"s.tcp"%s%s,"reason":"ok","slot":%q,"start":%q,"state":"up","t":"result","took_s":0.003}`+"\n",
			detail, facts, at.Format(time.RFC3339), at.Format("2006-01-02T15:04:05.000Z"))
	}
	z, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true))
	if err != nil {
		t.Fatal(err)
	}
	if code, ans := a.push(t, a.seal(t, a.opening(t)...)); code != http.StatusOK {
		t.Fatal(code, ans)
	}
	bad := map[string]string{
		"NaN":             line("", `,"facts":{"rtt_avg_s":NaN}`),
		"infinity":        line("", `,"facts":{"rtt_avg_s":1e999}`),
		"control":         line(`,"detail":"a\u0007b"`, ""),
		"raw control":     line(",\"detail\":\"a\x1b[31mb\"", ""),
		"newline":         line(`,"detail":"a\nb"`, ""),
		"bidirectional":   line(`,"detail":"a\u202eb"`, ""),
		"raw right left":  line(",\"detail\":\"a\u202eb\"", ""),
		"isolate":         line(",\"detail\":\"a\u2066b\"", ""),
		"no UTF-8":        line(",\"detail\":\"a\xffb\"", ""),
		"too long":        line(`,"detail":"`+strings.Repeat("x", 300)+`"`, ""),
		"twice the key":   line(`,"detail":"a","detail":"b"`, ""),
		"an unknown key":  line(`,"html":"<script>"`, ""),
		"a fact in words": line("", `,"facts":{"rtt_avg_s":"1"}`),
	}
	n := 1
	for name, l := range bad {
		code, ans := a.push(t, a.sealRaw(t, z.EncodeAll([]byte(l), nil), len(l), 1))
		if code != http.StatusOK {
			t.Fatalf("%s: %d %+v", name, code, ans)
		}
		a.flush(t)
		got := c.accepted()[n]
		if n++; len(got.Events) != 0 || got.Rejected[RejectedUnreadable] != 1 {
			t.Errorf("%s: %d events, rejected %v", name, len(got.Events), got.Rejected)
		}
	}
	if st := c.Status()[0]; st.Rejected[RejectedUnreadable] != int64(len(bad)) {
		t.Errorf("shown as rejected: %v, want %d", st.Rejected, len(bad))
	}
	good := line(`,"detail":"được"`, `,"facts":{"rtt_avg_s":0.5}`)
	if code, ans := a.push(t, a.sealRaw(t, z.EncodeAll([]byte(good), nil), len(good), 1)); code != http.StatusOK {
		t.Fatal(code, ans)
	}
	a.flush(t)
	if got := c.accepted()[n]; len(got.Events) != 1 || len(got.Rejected) != 0 {
		t.Errorf("a good line: %+v", got)
	}
}

// A bomb that is signed, next, and compressed with a dictionary that the log has.
func TestBombWithDictionary(t *testing.T) {
	c := newBusyCentre(t, Limits{})
	b := c.busy(t, "an-thanh", true)
	name := b.offered(t)
	b.takes(t, name)
	z, err := zstd.NewWriter(nil, zstd.WithEncoderDictRaw(0, b.dict), zstd.WithSingleSegment(true))
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []int{100, wire.MaxRaw} {
		body := z.EncodeAll(make([]byte, wire.MaxRaw), nil)
		h := b.header()
		sum := sha256.Sum256(body)
		h.Dictionary, h.Body, h.Stored, h.Raw, h.Records = name, hex.EncodeToString(sum[:]), len(body), raw, 9
		n, err := note.Sign(&note.Note{Text: h.Text()}, b.signer)
		if err != nil {
			t.Fatal(err)
		}
		x := journal.Batch{Note: n, Body: body}
		b.seq, b.previous = b.seq+1, x.Hash()
		if code, _ := b.sends(t, x); code != http.StatusOK {
			t.Fatalf("what is signed and next is archived: %d", code)
		}
	}
	if st := c.Status()[0]; st.Rejected[RejectedUnreadable] < 10 {
		t.Errorf("rejected %v", st.Rejected)
	}
	seen := len(c.accepted())
	b.sends(t, b.measures(t, time.Minute))
	if got := c.accepted()[seen:]; len(got) != 1 || len(got[0].Events) != 20 {
		t.Errorf("the good batch behind them: %d", len(got))
	}
}
