package faults

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// update makes a kept folder: `go test ./collector/faults -run TestMakeKept -update 1.2.0` writes
// testdata/kept/1.2.0.tar.gz with what the programs of that version leave on disk, and what they say of it. It is done
// once for each release, and what it wrote is never changed afterwards. With -programs DIR it takes the two programs in
// that folder instead of building them, such as those of an earlier version.
var (
	update   = flag.String("update", "", "name of the version whose folders TestMakeKept keeps")
	released = flag.String("programs", "", "folder of the programs that TestMakeKept runs; default those of this source")
)

// In the archive: agent/ and state/ (the data folders), profile/, dump (of the history), figures.json and span.json.
type span struct {
	From, To string // days
}

// skipKept are parts of a collector's folder that are derived, large or of no use later.
var skipKept = []string{"state/series", "state/agent", "state/running.json"}

// TestKept opens the folders that earlier versions have left, with the programs of this source: all verifies, and history
// and figures are what they were.
func TestKept(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob(filepath.Join("testdata", "kept", "*.tar.gz"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no kept folders: %v", err)
	}
	bin := programs(t)
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".tar.gz"), func(t *testing.T) {
			w := &town{T: t, bin: bin, dir: t.TempDir(), logs: &notebook{}}
			w.state, w.agent, w.profile = filepath.Join(w.dir, "state"), filepath.Join(w.dir, "agent"), filepath.Join(w.dir, "profile")
			unpack(t, name, w.dir)
			last, err := json.Marshal(map[string]string{"profile": w.profile})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(w.state, "last.json"), last, 0o600); err != nil {
				t.Fatal(err)
			}
			w.run("agent", "journal", "verify", "--data", w.agent)
			var days span
			if err := json.Unmarshal([]byte(read(t, filepath.Join(w.dir, "span.json"))), &days); err != nil {
				t.Fatal(err)
			}
			figures := w.figures(days) // fills the index again where its form has changed
			want := withoutStops(read(t, filepath.Join(w.dir, "dump")))
			s := w.remains().judge(t)
			if got := withoutStops(s.dump); got != want {
				t.Errorf("the history is another one than it was: %s", firstDifference(got, want))
			}
			if len(s.recorded) == 0 {
				t.Error("the journal holds no result")
			}
			if diff := cmp.Diff(read(t, filepath.Join(w.dir, "figures.json")), figures); diff != "" {
				t.Errorf("the figures are others than they were (-were +are):\n%.2000s", diff)
			}
		})
	}
}

// withoutStops leaves out of a dump why an agent that was stopped did not measure: later versions can say more of that.
func withoutStops(dump string) string {
	var b strings.Builder
	for line := range strings.Lines(dump) {
		if !strings.HasPrefix(line, "range ") || !strings.Contains(line, " missed_s") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// figures are the accounts of the service, without what changes with time or with the length of the log.
func (w *town) figures(days span) string {
	w.Helper()
	var a struct {
		Rows []struct {
			Service   string
			Unit      string
			Calendars []struct {
				Calendar string
				Account  map[string]any
			}
			Outages []struct{ From, To time.Time }
		}
	}
	text := w.run("collector", "availability", "--data", w.state, "--from", days.From, "--to", days.To, "--service", "web", "--json")
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		w.Fatal(err)
	}
	for i := range a.Rows {
		for _, c := range a.Rows[i].Calendars {
			delete(c.Account, "unknown") // the day goes on while it is counted; what is known of it does not
			delete(c.Account, "causes")
		}
	}
	b, err := json.MarshalIndent(a.Rows, "", " ")
	if err != nil {
		w.Fatal(err)
	}
	return string(b)
}

// TestMakeKept runs the programs for a while, with a stop, a kill and an outage, and keeps what they leave.
func TestMakeKept(t *testing.T) {
	if *update == "" {
		t.Skip("only with -update NAME, to keep the folders of a version")
	}
	bin := *released
	if bin == "" {
		bin = programs(t)
	}
	w := newTown(t, bin, newPeer(t))
	from := time.Now()
	w.start()
	time.Sleep(25 * time.Second)
	w.watcher.kill()
	w.start()
	time.Sleep(20 * time.Second)
	w.watcher.stop(t)
	w.collector.kill()
	w.open()
	w.start()
	time.Sleep(period)
	w.rest()
	day := time.FixedZone("", 7*3600)
	days := span{from.In(day).Format("2006-01-02"), time.Now().In(day).Format("2006-01-02")}
	text, err := json.Marshal(days)
	if err != nil {
		t.Fatal(err)
	}
	// What is asked of the folder from here on is asked of a copy: this source may bring it up to a later form.
	live := w.state
	w.state = filepath.Join(w.dir, "copy")
	if err := copyFolder(w.state, live); err != nil {
		t.Fatal(err)
	}
	figures := w.figures(days)
	for name, text := range map[string]string{"dump": dump(t, filepath.Join(w.state, "history.db")), "figures.json": figures, "span.json": string(text)} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(w.state); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join("testdata", "kept"), 0o755); err != nil {
		t.Fatal(err)
	}
	pack(t, w.dir, filepath.Join("testdata", "kept", *update+".tar.gz"))
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pack writes a folder to an archive.
func pack(t *testing.T, dir, to string) {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	a := tar.NewWriter(z)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case slices.ContainsFunc(skipKept, func(s string) bool { return rel == s || strings.HasPrefix(rel, s+"/") }):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := a.WriteHeader(&tar.Header{Name: rel, Mode: 0o600, Size: int64(len(text))}); err != nil {
			return err
		}
		_, err = a.Write(text)
		return err
	})
	if err = errors.Join(err, a.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 300<<10 {
		t.Errorf("the archive has %d bytes: make the run shorter", b.Len())
	}
	if err := os.WriteFile(to, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d bytes", to, b.Len())
}

// unpack writes what is in an archive to a folder.
func unpack(t *testing.T, from, dir string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for a := tar.NewReader(z); ; {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if !filepath.IsLocal(h.Name) {
			t.Fatalf("%s leads out of the archive", h.Name)
		}
		text, err := io.ReadAll(a)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o700)
		}
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
