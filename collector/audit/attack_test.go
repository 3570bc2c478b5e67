package audit

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/check"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
	"egovmon/collector/report"
)

// A member is one file of a zip.
type member struct {
	name string
	data []byte
}

func unzip(t testing.TB, data []byte) []member {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var out []member
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, member{f.Name, b})
	}
	return out
}

func rezip(t testing.TB, ms []member) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, m := range ms {
		w, err := z.Create(m.name)
		if err == nil {
			_, err = w.Write(m.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// file returns the member whose name begins so.
func file(t testing.TB, ms []member, prefix string) *member {
	t.Helper()
	i := slices.IndexFunc(ms, func(m member) bool { return strings.HasPrefix(m.name, prefix) })
	if i < 0 {
		t.Fatalf("no %s in the zip", prefix)
	}
	return &ms[i]
}

// leafAt returns the index of the n-th leaf of a type, and the offset of its text in the entries.
func leafAt(t testing.TB, entries []byte, kind evidence.Type, n int) (index int64, offset int) {
	t.Helper()
	for at := 0; at < len(entries); index++ {
		size := int(binary.BigEndian.Uint16(entries[at:]))
		l, err := evidence.ParseLeaf(entries[at+2 : at+2+size])
		if err != nil {
			t.Fatal(err)
		}
		if l.Type() == kind {
			if n--; n < 0 {
				return index, at + 2
			}
		}
		at += 2 + size
	}
	t.Fatalf("no such %s", kind)
	return 0, 0
}

// attachedAt returns where the bytes attached to a leaf lie.
func attachedAt(data []byte, leaf int64) (from, to int) {
	at := 0
	for range leaf {
		at += 4 + int(binary.BigEndian.Uint32(data[at:]))
	}
	return at + 4, at + 4 + int(binary.BigEndian.Uint32(data[at:]))
}

// TestSpoiltExports changes the zip, which takes no key.
func TestSpoiltExports(t *testing.T) {
	w := new(world).build(t)
	whole := w.bytes()
	entries := file(t, unzip(t, whole), dirEntries).data
	batch, offset := leafAt(t, entries, evidence.Batch, 3)
	planLeaf, _ := leafAt(t, entries, evidence.Plan, 0)
	for _, c := range []struct {
		name  string
		spoil func(ms []member) []member
		code  Code
		leaf  int64
		what  string
	}{
		{"one leaf", func(ms []member) []member { file(t, ms, dirEntries).data[offset+40] ^= 1; return ms }, BadLeaf, batch, "is not the one that the log has"},
		{"one leaf and its tile", func(ms []member) []member {
			e := file(t, ms, dirEntries).data
			i := bytes.Index(e[offset:], []byte("received 2"))
			e[offset+i+len("received ")] = '1'
			size := int(binary.BigEndian.Uint16(e[offset-2:]))
			h := tlog.RecordHash(e[offset : offset+size])
			copy(file(t, ms, dirHashes).data[batch*tlog.HashSize:], h[:])
			return ms
		}, BadTree, -1, "leaves were changed"},
		{"one hash of a tile", func(ms []member) []member { file(t, ms, dirHashes).data[5] ^= 1; return ms }, BadExport, 0, "tile"},
		{"one byte of a body", func(ms []member) []member {
			d := file(t, ms, dirBodies).data
			from, _ := attachedAt(d, batch)
			d[from+9] ^= 1
			return ms
		}, BadBody, batch, "batch 4 of journal 00112233 of m-a-1"},
		{"one byte of a header", func(ms []member) []member {
			d := file(t, ms, dirBlobs).data
			from, _ := attachedAt(d, batch)
			d[from+20] ^= 1
			return ms
		}, BadBlob, batch, "batch 4"},
		{"one byte of a plan", func(ms []member) []member {
			d := file(t, ms, dirBlobs).data
			from, _ := attachedAt(d, planLeaf)
			d[from+20] ^= 1
			return ms
		}, BadBlob, planLeaf, "plan 1 of m-a-1"},
		{"a body left out", func(ms []member) []member {
			m := file(t, ms, dirBodies)
			from, to := attachedAt(m.data, batch)
			m.data = slices.Concat(m.data[:from-4], []byte{0, 0, 0, 0}, m.data[to:])
			return ms
		}, MissingBody, batch, "may speak of the period"},
		{"a header left out", func(ms []member) []member {
			m := file(t, ms, dirBlobs)
			from, to := attachedAt(m.data, batch)
			m.data = slices.Concat(m.data[:from-4], []byte{0, 0, 0, 0}, m.data[to:])
			return ms
		}, BadBlob, batch, "is missing"},
		{"a longer body", func(ms []member) []member {
			d := file(t, ms, dirBodies).data
			from, _ := attachedAt(d, batch)
			d[from-2]++
			return ms
		}, BadBody, batch, "where the leaf names"},
		{"bytes behind the last body", func(ms []member) []member { m := file(t, ms, dirBodies); m.data = append(m.data, 1); return ms }, BadExport, 0, "more in it"},
		{"bodies cut short", func(ms []member) []member { m := file(t, ms, dirBodies); m.data = m.data[:len(m.data)-3]; return ms }, BadBody, -2, "it ends after"},
		{"a file left out", func(ms []member) []member {
			return slices.DeleteFunc(ms, func(m member) bool { return strings.HasPrefix(m.name, dirBodies) })
		}, BadExport, 0, "is missing"},
		{"a file too many", func(ms []member) []member { return append(ms, member{"../../etc/passwd", []byte("x")}) }, BadExport, -1, "does not belong"},
		{"a bomb among the leaves", func(ms []member) []member {
			file(t, ms, dirEntries).data = bytes.Repeat([]byte{0}, 256*(2+evidence.MaxLeaf)+1)
			return ms
		}, BadLeaf, 0, ""},
		{"a bomb among the blobs", func(ms []member) []member {
			m := file(t, ms, dirBlobs)
			m.data = append(m.data, make([]byte, 64<<20)...)
			return ms
		}, BadExport, 0, "more in it"},
		{"the checkpoint of a longer log", func(ms []member) []member {
			signer, _ := keyPair(t, 1, "egovmon/d/log/1")
			msg, err := note.Sign(&note.Note{Text: wire.FormatCheckpoint(signer.Name(), tlog.Tree{N: w.store.Size() + 1})}, signer)
			if err != nil {
				t.Fatal(err)
			}
			file(t, ms, fileCheckpoint).data = msg
			return ms
		}, BadCheckpoint, -1, "leaves"},
		{"the checkpoint of another key", func(ms []member) []member {
			signer, _ := keyPair(t, 9, "egovmon/d/log/1")
			msg, err := note.Sign(&note.Note{Text: wire.FormatCheckpoint(signer.Name(), w.store.Tree())}, signer)
			if err != nil {
				t.Fatal(err)
			}
			file(t, ms, fileCheckpoint).data = msg
			return ms
		}, BadCheckpoint, -1, "not signed by the key"},
		{"another key in the export", func(ms []member) []member {
			_, key := keyPair(t, 9, "egovmon/d/log/1")
			file(t, ms, fileKey).data = []byte(key)
			return ms
		}, BadKey, -1, "another log, or forged"},
		{"a smaller size in the manifest", func(ms []member) []member {
			m := file(t, ms, fileManifest)
			var v manifest
			if err := json.Unmarshal(m.data, &v); err != nil {
				t.Fatal(err)
			}
			v.Size--
			m.data, _ = v.encode()
			return ms
		}, BadCheckpoint, -1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := w.verify(keep(t, rezip(t, c.spoil(unzip(t, whole)))), nil)
			if err != nil {
				t.Fatal(err)
			}
			found(t, r, c.code, c.leaf, c.what)
		})
	}
}

// found looks for a finding; leaf -2 is any leaf.
func found(t *testing.T, r Result, code Code, leaf int64, what string) {
	t.Helper()
	if r.OK() {
		t.Error("nothing was found")
	}
	if !slices.ContainsFunc(r.Findings, func(f Finding) bool {
		return f.Code == code && (leaf == -2 || f.Leaf == leaf) && strings.Contains(f.What, what)
	}) {
		t.Errorf("want %s at leaf %d with %q, found %+v", code, leaf, what, r.Findings)
	}
}

// TestUnreadableFiles has files that are no exports at all.
func TestUnreadableFiles(t *testing.T) {
	w := new(world).build(t)
	whole := w.bytes()
	with := func(f func(ms []member) []member) []byte { return rezip(t, f(unzip(t, whole))) }
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "no whole zip", nil},
		{"cut off", "no whole zip", whole[:len(whole)/2]},
		{"no zip", "no whole zip", []byte(strings.Repeat("no zip\n", 100))},
		{"another zip", "no export", rezip(t, []member{{"a.txt", []byte("a")}})},
		{"a file twice", "twice", with(func(ms []member) []member { return append(ms, ms[3]) })},
		{"a newer version", "newer", with(func(ms []member) []member {
			m := file(t, ms, fileManifest)
			m.data = bytes.Replace(m.data, []byte(Version), []byte("egovmon-audit/2"), 1)
			return ms
		})},
		{"a bomb as manifest", "zip bomb", with(func(ms []member) []member {
			file(t, ms, fileManifest).data = bytes.Repeat([]byte(" "), 50<<20)
			return ms
		})},
		{"a size that no log has", "leaves", with(func(ms []member) []member {
			m := file(t, ms, fileManifest)
			m.data = bytes.Replace(m.data, []byte(`"size": `), []byte(`"size": 99999999`), 1)
			return ms
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := w.verify(keep(t, c.data), nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	if _, err := w.verify("/nowhere/export.zip", nil); !os.IsNotExist(err) && err == nil {
		t.Errorf("no file: %v", err)
	}
}

// TestRewrittenLogs has an operator who holds the collector's key, and signs a log that is not what happened.
func TestRewrittenLogs(t *testing.T) {
	stranger, _ := keyPair(t, 7, "egovmon/d/journal/"+machine)
	for _, c := range []struct {
		name string
		w    world
		code Code
		what string
	}{
		{"a batch is dropped", world{skip: func(seq uint64) bool { return seq == 8 }}, BadChain, "batches 8 to 8 of the journal are missing"},
		{"a day is dropped", world{skip: func(seq uint64) bool { return seq > 5 && seq < 12 }}, BadChain, "batches 6 to 11"},
		{"a batch is another one", world{fork: true}, BadChain, "names another batch 6"},
		{"the first batch is dropped", world{skip: func(seq uint64) bool { return seq == 1 }}, BadChain, "batches 1 to 1"},
		{"a plan is swapped", world{plan: func(text []byte) []byte { return bytes.Replace(text, []byte("60s"), []byte("10m"), 1) }}, BadBlob, "another plan than it names"},
		{"a plan is a bomb", world{plan: func([]byte) []byte { return make([]byte, 1<<20) }}, BadBlob, "no collector writes so much"},
		{"a plan is logged after its use", world{planLate: true}, UnknownPlan, "not in the log before"},
		{"batches are signed by another key", world{signer: stranger}, BadBatch, "not signed by a key"},
		{"the log was rewritten since the machine saw it", world{seen: func(tree tlog.Tree) tlog.Tree { tree.Hash[3] ^= 1; return tree }}, SplitView, "rewritten"},
		{"the log was longer", world{seen: func(tree tlog.Tree) tlog.Tree { tree.N += 50; return tree }}, SplitView, "longer before"},
		{"a receipt of another batch", world{receipt: func(f map[string]string, seq uint64) {
			if seq == 4 {
				f["seq"] = "5"
			}
		}}, BadReceipt, "something else"},
		{"a receipt of another machine", world{receipt: func(f map[string]string, seq uint64) {
			if seq == 4 {
				f["machine"] = "m-d"
			}
		}}, BadBatch, "no key of this machine"},
		{"the collector's clock is set back", world{receipt: func(f map[string]string, seq uint64) {
			if seq == 4 {
				f["received"] = "2026-11-23T09:59:00.000Z"
			}
		}}, BadTime, "set back"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &c.w
			w.build(t)
			r, err := w.verify(w.export(), nil)
			if err != nil {
				t.Fatal(err)
			}
			found(t, r, c.code, -2, c.what)
			if !r.Signed || !r.Tree {
				t.Errorf("the log is signed and whole, but %+v", r)
			}
		})
	}
}

// TestAlteredReports changes a report after it was made.
func TestAlteredReports(t *testing.T) {
	w := new(world).build(t)
	path := w.export()
	for _, c := range []struct {
		name  string
		alter func(m *report.Model)
		code  Code
		what  string
	}{
		{"an outage made shorter", func(m *report.Model) {
			a := &m.Rows[0].Calendars[0].Account
			a.Down, a.Up = a.Down-300, a.Up+300
		}, BadFigures, "web, 24x7: up for 5997 s given, 5697 s follow"},
		{"an outage left out", func(m *report.Model) { m.Rows[0].Outages = nil }, BadFigures, "web: 0 outages given, 1 outages"},
		{"a better availability", func(m *report.Model) { m.Rows[0].Calendars[0].Figures.Lower = new(0.999) }, BadFigures, "lower end 0.999000 given"},
		{"a row left out", func(m *report.Model) { m.Rows = m.Rows[:1] }, BadFigures, "web (xa-a): it is left out"},
		{"a row too many", func(m *report.Model) { m.Rows = append(m.Rows, m.Rows[0]) }, BadFigures, "twice"},
		{"a calendar left out", func(m *report.Model) { m.Rows[0].Calendars = m.Rows[0].Calendars[:1] }, BadFigures, "service_hours is left out"},
		{"another cause", func(m *report.Model) {
			m.Rows[0].Calendars[0].Account.Causes = map[check.Reason]int64{check.Slow: 600}
		}, BadFigures, "other causes"},
		{"a target that is said to be met", func(m *report.Model) { m.Rows[0].Targets[0].Verdict = report.Met }, BadFigures, "targets"},
		{"a lower target", func(m *report.Model) { m.Rows[0].Targets[0].Objective = 0.5 }, BadFigures, "targets"},
		{"another log", func(m *report.Model) { m.Root = strings.Repeat("0", 64) }, NoFigures, "root"},
		{"a longer log", func(m *report.Model) { m.Leaves++ }, NoFigures, "rest on"},
		{"another rule", func(m *report.Model) { m.Rule = "votes/2" }, NoFigures, "votes/2"},
		{"a longer period", func(m *report.Model) { m.From = m.From.AddDate(0, 0, -1) }, NoFigures, "export that period"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := w.report()
			c.alter(&m)
			r, err := w.verify(path, encode(t, m))
			if err != nil {
				t.Fatal(err)
			}
			found(t, r, c.code, -1, c.what)
		})
	}
	for name, figures := range map[string]string{"no JSON": "{", "nothing": " "} {
		if _, err := w.verify(path, []byte(figures)); err == nil {
			t.Errorf("%s is taken for figures", name)
		}
	}
}

func TestFiguresOfASpoiltExport(t *testing.T) {
	w := new(world).build(t)
	m := encode(t, w.report())
	ms := unzip(t, w.bytes())
	d := file(t, ms, dirBodies).data
	batch, _ := leafAt(t, file(t, ms, dirEntries).data, evidence.Batch, 3)
	from, _ := attachedAt(d, batch)
	d[from+9] ^= 1
	r, err := w.verify(keep(t, rezip(t, ms)), m)
	if err != nil {
		t.Fatal(err)
	}
	found(t, r, NoFigures, -1, "cannot be worked out")
	if len(r.Machines) != 0 {
		t.Errorf("slots were counted all the same: %+v", r.Machines)
	}
}

func TestWithoutAKey(t *testing.T) {
	w := new(world).build(t)
	o := w.options()
	o.Key = ""
	r, err := Verify(t.Context(), w.export(), o)
	if err != nil || !r.OK() || r.KeyGiven {
		t.Errorf("%+v, %v", r, err)
	}
	o.Key = "no key"
	if _, err := Verify(t.Context(), w.export(), o); err == nil {
		t.Error("a key that is none was taken")
	}
}

func TestSameLogSameExport(t *testing.T) {
	w := new(world).build(t)
	if !bytes.Equal(w.bytes(), w.bytes()) {
		t.Error("two exports of one log differ")
	}
}

// TestBundlePaths has the paths of C2SP tlog-tiles.
func TestBundlePaths(t *testing.T) {
	for _, c := range []struct {
		n, size int64
		want    string
	}{
		{0, 256, "d/000"}, {0, 5, "d/000.p/5"}, {1, 300, "d/001.p/44"}, {1234, 1235 * 256, "d/x001/234"}, {1234067, 1234068 * 256, "d/x001/x234/067"}, {1000, 1000*256 + 1, "d/x001/000.p/1"},
	} {
		if got := bundlePath("d", c.n, c.size); got != c.want {
			t.Errorf("bundle %d of %d leaves is %s, want %s", c.n, c.size, got, c.want)
		}
	}
}

// FuzzVerify has any bytes as an export; it is to end, with an error or a finding, or with a whole export.
func FuzzVerify(f *testing.F) {
	w := new(world).build(f)
	whole := w.bytes()
	f.Add(whole)
	f.Add(whole[:len(whole)-30])
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Verify(t.Context(), keep(t, data), Options{Key: w.key, Kinds: kinds})
		if err == nil && r.OK() && r.Root == "" {
			t.Error("an export without a log is whole")
		}
	})
}
