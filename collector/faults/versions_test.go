package faults

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/agent/host"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
	"egovmon/collector/history/index"
)

// TestNewerFormats shows every reader what a later version may write: it refuses, and says that it is newer.
func TestNewerFormats(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.open()
		a := w.enrol(machine)
		w.plan(machine, 1)
		a.start()
		time.Sleep(time.Hour)
		a.stop(false)
		w.close()
		bump := func(path, from, to string) {
			b, err := os.ReadFile(path)
			w.must(err)
			if !bytes.Contains(b, []byte(from)) {
				w.Fatalf("%s does not hold %q", filepath.Base(path), from)
			}
			w.must(os.WriteFile(path, bytes.Replace(b, []byte(from), []byte(to), 1), 0o600))
		}
		for _, tt := range []struct {
			name string
			read func() error
			says string
		}{
			{"plan", func() error {
				_, err := plan.Parse([]byte("plan: p\nformat: 2\nsomething: else\nchecks: []\n"), w.kinds)
				return err
			}, "format 2"},
			{"batch", func() error {
				_, err := journal.ParseHeader(strings.Replace(journal.Header{Machine: machine, Journal: strings.Repeat("0", 32), Seq: 1,
					Previous: journal.NoPrevious, Body: journal.NoPrevious, Sealed: opening}.Text(), journal.Version, "egovmon-batch/9", 1))
				return err
			}, "egovmon-batch/9"},
			{"leaf", func() error { _, err := evidence.ParseLeaf([]byte("egovmon-leaf/9 batch\nmachine m\n")); return err }, "newer version"},
			{"type of leaf", func() error { _, err := evidence.ParseLeaf([]byte("egovmon-leaf/1 wonder\nmachine m\n")); return err }, "newer version"},
			{"segment of the log", func() error {
				path := filepath.Join(w.state, "evidence", "segment-00000000")
				b, err := os.ReadFile(path)
				w.must(err)
				// The first frame: kind, length, checksum of these and what follows, and the header.
				b = bytes.Replace(b, []byte("egovmon-segment/2"), []byte("egovmon-segment/9"), 1)
				end := 9 + binary.BigEndian.Uint32(b[1:])
				sum := crc32.MakeTable(crc32.Castagnoli)
				binary.BigEndian.PutUint32(b[5:], crc32.Update(crc32.Checksum(b[:5], sum), sum, b[9:end]))
				w.must(os.WriteFile(path, b, 0o600))
				return tryOpen(w)
			}, "segment/9"},
			{"open batch of the journal", func() error {
				path := filepath.Join(a.dir, "journal", "open")
				b, err := os.ReadFile(path)
				w.must(err)
				// The first frame: length and checksum of what follows, kind and header.
				b = bytes.Replace(b, []byte("egovmon-open/1"), []byte("egovmon-open/9"), 1)
				end := 8 + binary.LittleEndian.Uint32(b)
				binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:end], crc32.MakeTable(crc32.Castagnoli)))
				w.must(os.WriteFile(path, b, 0o600))
				signer, err := a.id.JournalSigner()
				w.must(err)
				_, _, err = journal.OpenJournal(journal.Options{Dir: filepath.Join(a.dir, "journal"), Machine: machine, Signer: signer, Now: a.now, Log: w.log("reader")})
				return err
			}, "egovmon-open/9"},
			{"history", func() error {
				db, err := sql.Open("sqlite", filepath.Join(w.dir, "newer.db"))
				w.must(err)
				_, err = db.Exec("PRAGMA user_version = 99")
				w.must(err)
				w.must(db.Close())
				_, err = index.Open(filepath.Join(w.dir, "newer.db"))
				return err
			}, "version 99"},
			{"identity", func() error {
				bump(filepath.Join(a.dir, "identity.json"), `"version": 1`, `"version": 9`)
				_, err := host.LoadIdentity(a.dir)
				return err
			}, "version 9"},
		} {
			if err := tt.read(); err == nil || !strings.Contains(err.Error(), tt.says) {
				w.Errorf("%s: %v, want an error that says %q", tt.name, err, tt.says)
			}
		}
	})
}

// TestNeighbours lets an agent work with a collector of the version before, which knows no dictionaries, and with one of
// the version after, whose messages say more than it understands; and a collector with agents of the version after.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	more := func(text []byte) []byte {
		var m map[string]any
		if json.Unmarshal(text, &m) != nil {
			return text
		}
		m["x_later"] = map[string]any{"a": []any{1, "b", nil}}
		b, err := json.Marshal(m)
		if err != nil {
			return text
		}
		return b
	}
	for name, change := range map[string]func(h http.Handler) http.Handler{
		"a collector of the version before": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, wire.PathDictionary) {
					http.NotFound(rw, r)
					return
				}
				rec, _ := answered(h, r)
				for k, v := range rec.Result().Header {
					if slices.Contains([]string{"Content-Type", "Etag", "Retry-After", wire.HeaderProof, wire.HeaderLeaf, wire.HeaderLeafText, wire.HeaderCheckpoint}, k) {
						rw.Header()[k] = v
					}
				}
				rw.WriteHeader(rec.Code)
				_, _ = rw.Write(rec.Body.Bytes())
			})
		},
		"both of the version after": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.Header.Get("Content-Type"), "json") {
					b, err := wire.ReadAll(r.Body, 1<<20)
					if err != nil {
						http.Error(rw, "", http.StatusBadRequest)
						return
					}
					b = more(b)
					r.Body, r.ContentLength = http.MaxBytesReader(nil, newBody(b), int64(len(b))), int64(len(b))
				}
				r.Header.Set("Egovmon-Later", "1")
				rec, _ := answered(h, r)
				maps.Copy(rw.Header(), rec.Result().Header)
				rw.Header().Set("Egovmon-Later", "1")
				rw.WriteHeader(rec.Code)
				_, _ = rw.Write(more(rec.Body.Bytes()))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			disturb(t, func(w *world) { w.every = time.Minute; w.wrap = change }, func(r *rig) {
				r.a.stop(false)
				if bye := r.centre.Status()[0].Goodbye; bye.IsZero() {
					r.Error("the agent's goodbye is not understood")
				}
				r.a.start()
			}, atLeastMeasured(0.95))
		})
	}
}

// atLeastMeasured asks for a share of the seconds.
func atLeastMeasured(share float64) func(*rig, *story, *story, float64) {
	return func(r *rig, _, s *story, got float64) {
		r.Helper()
		if got < share {
			r.Errorf("%.4f of the seconds were measured, want %.4f at least: %v", got, share, s.totals)
		}
	}
}

type body struct{ *bytes.Reader }

func (body) Close() error { return nil }

func newBody(b []byte) body { return body{bytes.NewReader(b)} }
