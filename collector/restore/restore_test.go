package restore

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
)

var made = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func now() time.Time { return made }

// A state is a collector's folder with a log, keys and the files beside it.
type state struct {
	testing.TB
	dir  string
	keys *enrol.Keys
	log  *evidence.Store
	key  *PrivateKey // recovery
}

func newState(t testing.TB, leaves int) *state {
	t.Helper()
	s := &state{TB: t, dir: t.TempDir()}
	var err error
	if s.keys, err = enrol.OpenKeys(filepath.Join(s.dir, keysDir), "tu-ky", now); err != nil {
		t.Fatal(err)
	}
	v, err := s.keys.LogVerifier()
	if err != nil {
		t.Fatal(err)
	}
	s.log, err = evidence.Open(evidence.Options{Dir: filepath.Join(s.dir, evidenceDir), Origin: v.Name(), Signer: s.keys.LogSigner, Verifier: v, SegmentBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.log.Close() })
	s.append(leaves)
	if s.key, err = NewKey("tu-ky"); err != nil {
		t.Fatal(err)
	}
	if err := SavePublic(filepath.Join(s.dir, keysDir), s.key.Public); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"collector.yaml": "names: [a]\n", "last.json": "{}", "enrol/tokens.json": "[]", "alerts/a.json": "{}",
		"local.token": "secret", "history.db": "derived", "agent/identity.json": "secret", "series/x": "derived"} {
		s.write(name, text)
	}
	return s
}

func (s *state) write(name, text string) {
	s.Helper()
	path := filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		s.Fatal(err)
	}
}

func (s *state) append(n int) {
	s.Helper()
	for range n {
		e, err := evidence.NewEntry(evidence.Incident, map[string]string{"n": fmt.Sprint(s.log.Size())}, []byte("blob"), bytes.Repeat([]byte("body"), 50))
		if err != nil {
			s.Fatal(err)
		}
		if _, err := s.log.Append(s.Context(), e); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *state) backup(keys string) ([]byte, Manifest) {
	s.Helper()
	v, err := s.keys.LogVerifier()
	if err != nil {
		s.Fatal(err)
	}
	r, err := evidence.OpenReader(filepath.Join(s.dir, evidenceDir), v)
	if err != nil {
		s.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	m, err := Write(s.Context(), Source{Dir: s.dir, District: "tu-ky", Log: r, LogKey: s.keys.LogKey, Keys: keys, Now: made,
		Profile: fstest.MapFS{"units.yaml": {Data: []byte("units: []\n")}, "calendars/2026.yaml": {Data: []byte("x")}}}, &b, nil)
	if err != nil {
		s.Fatal(err)
	}
	return b.Bytes(), m
}

func names(t testing.TB, backup []byte) (out []string) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(backup))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h.Name)
	}
}

// unpack is what `collector restore` does before it replaces anything.
func unpack(ctx context.Context, backup []byte, to, old string, key *PrivateKey) (Manifest, error) {
	m, err := Read(ctx, bytes.NewReader(backup), to, nil)
	if err == nil {
		err = OpenKeys(m, to, old, key)
	}
	if err == nil {
		_, err = Verify(m, to)
	}
	return m, err
}

// What comes out is what went in, as the checkpoint covered it when the backup began; what is appended meanwhile is not.
func TestBackup(t *testing.T) {
	s := newState(t, 60)
	backup, m := s.backup(KeysSealed)
	s.append(40)
	if m.Size != 60 || m.Keys != KeysSealed || m.Recovery != s.key.Public.Verifier {
		t.Errorf("manifest %+v", m)
	}
	for _, name := range names(t, backup) {
		if strings.HasSuffix(name, ".key") || strings.Contains(name, "local.token") || strings.Contains(name, "agent") || strings.Contains(name, "history") {
			t.Errorf("%s is in the backup", name)
		}
	}
	for _, file := range []string{"ca.key", "plan.key", "log.key"} {
		secret, err := os.ReadFile(filepath.Join(s.dir, keysDir, file))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(backup, secret) {
			t.Errorf("%s is in the backup in clear", file)
		}
	}
	to := filepath.Join(t.TempDir(), "new")
	if _, err := unpack(t.Context(), backup, to, t.TempDir(), s.key); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"collector.yaml": "names: [a]\n", "enrol/tokens.json": "[]", "alerts/a.json": "{}", "profile/units.yaml": "units: []\n", "profile/calendars/2026.yaml": "x"} {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	keys, err := enrol.OpenKeys(filepath.Join(to, keysDir), "tu-ky", now)
	if err != nil || keys.LogKey != s.keys.LogKey || keys.PlanKey != s.keys.PlanKey || !bytes.Equal(keys.CA.Raw, s.keys.CA.Raw) {
		t.Fatalf("other keys came out: %v", err)
	}
	v, err := keys.LogVerifier()
	if err != nil {
		t.Fatal(err)
	}
	log, err := evidence.Open(evidence.Options{Dir: filepath.Join(to, evidenceDir), Origin: v.Name(), Signer: keys.LogSigner, Verifier: v})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if want, err := s.log.TreeAt(60); err != nil || log.Tree() != want {
		t.Errorf("the log is %v, want %v", log.Tree(), want)
	}
	for e, err := range log.Entries(0) {
		if err != nil || string(e.Blob) != "blob" || len(e.Body) != 200 {
			t.Fatalf("leaf %d: %v", e.Index, err)
		}
	}
}

func TestKeysInBackups(t *testing.T) {
	s := newState(t, 3)
	other, err := NewKey("tu-ky")
	if err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for _, tt := range []struct {
		keys, old string
		key       *PrivateKey
		want      string // in the error; "" for none
	}{
		{KeysSealed, empty, s.key, ""},
		{KeysSealed, empty, nil, "--recovery-key"},
		{KeysSealed, empty, other, "cannot be opened"},
		{KeysClear, empty, nil, ""},
		{KeysNone, empty, s.key, "no private keys"},
		{KeysNone, s.dir, nil, ""},
	} {
		backup, _ := s.backup(tt.keys)
		to := filepath.Join(t.TempDir(), "new")
		_, err := unpack(t.Context(), backup, to, tt.old, tt.key)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.keys, err, tt.want)
		}
		if tt.want == "" {
			if k, err := enrol.OpenKeys(filepath.Join(to, keysDir), "tu-ky", now); err != nil || k.LogKey != s.keys.LogKey {
				t.Errorf("%s: other keys came out: %v", tt.keys, err)
			}
		}
	}
	if err := os.Remove(filepath.Join(s.dir, keysDir, publicFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), Source{Dir: s.dir, District: "tu-ky", Log: s.log, Keys: KeysSealed, Now: made}, io.Discard, nil); err == nil {
		t.Error("keys are sealed without a recovery key")
	}
}

// rewrite copies a tar, and lets change replace what it likes; the hashes at the end are right unless they are changed too.
func rewrite(t testing.TB, backup []byte, change func(h *tar.Header, data []byte) []byte) []byte {
	t.Helper()
	var out, sums bytes.Buffer
	w := tar.NewWriter(&out)
	r := tar.NewReader(bytes.NewReader(backup))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == sumsFile {
			data = sums.Bytes()
		}
		if data = change(h, data); data == nil {
			continue
		}
		h.Size = int64(len(data))
		if h.Typeflag != tar.TypeReg {
			h.Size, data = 0, nil
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), h.Name)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Whatever is wrong with a backup is found before anything of the state is touched, and nothing is written outside.
func TestBadBackups(t *testing.T) {
	s := newState(t, 60)
	backup, _ := s.backup(KeysSealed)
	whole := func(_ *tar.Header, data []byte) []byte { return data }
	if _, err := unpack(t.Context(), rewrite(t, backup, whole), filepath.Join(t.TempDir(), "new"), "", s.key); err != nil {
		t.Fatalf("a copy: %v", err)
	}
	file := func(name string, f func(h *tar.Header, data []byte) []byte) []byte {
		return rewrite(t, backup, func(h *tar.Header, data []byte) []byte {
			if h.Name == name {
				return f(h, data)
			}
			return data
		})
	}
	rename := func(to string) []byte {
		return file("collector.yaml", func(h *tar.Header, data []byte) []byte { h.Name = to; return data })
	}
	last := fmt.Sprintf("evidence/segment-%08d", 1)
	for name, bad := range map[string][]byte{
		"nothing":            nil,
		"no tar":             []byte(strings.Repeat("hello ", 1000)),
		"cut off":            backup[:len(backup)/2],
		"cut before the end": backup[:len(backup)-4096],
		"a bit of a segment": flip(backup, bytes.Index(backup, []byte("bodybody"))),
		"a hash left out":    file(sumsFile, func(_ *tar.Header, data []byte) []byte { return data[:bytes.LastIndexByte(data[:len(data)-1], '\n')+1] }),
		"a segment left out": file(last, func(*tar.Header, []byte) []byte { return nil }),
		"a segment cut":      file(last, func(_ *tar.Header, data []byte) []byte { return data[:len(data)-1] }),
		"another checkpoint": file("evidence/checkpoint", func(_ *tar.Header, data []byte) []byte { return flip(data, 22) }),
		"fewer leaves said": file(manifestFile, func(_ *tar.Header, data []byte) []byte {
			return bytes.Replace(data, []byte(`"size": 60`), []byte(`"size": 59`), 1)
		}),
		"a newer version": file(manifestFile, func(_ *tar.Header, data []byte) []byte {
			return bytes.Replace(data, []byte(`"version": 1`), []byte(`"version": 2`), 1)
		}),
		"another district": file(manifestFile, func(_ *tar.Header, data []byte) []byte {
			return bytes.Replace(data, []byte(`"district": "tu-ky"`), []byte(`"district": "khac"`), 1)
		}),
		"sealed keys changed": file(sealedFile, func(_ *tar.Header, data []byte) []byte { return flip(data, len(data)-1) }),
		"sealed keys cut":     file(sealedFile, func(_ *tar.Header, data []byte) []byte { return data[:10] }),
		"a name above":        rename("../collector.yaml"),
		"an absolute name":    rename("/tmp/x"),
		"a name of no backup": rename("evidence/hashes"),
		"a name twice":        rename("last.json"),
		"a link": file("collector.yaml", func(h *tar.Header, _ []byte) []byte {
			h.Typeflag, h.Linkname = tar.TypeSymlink, "/etc/passwd"
			return []byte{}
		}),
		"no manifest first": file(manifestFile, func(*tar.Header, []byte) []byte { return nil }),
	} {
		to := filepath.Join(t.TempDir(), "new")
		if _, err := unpack(t.Context(), bad, to, t.TempDir(), s.key); err == nil {
			t.Errorf("%s: it is taken", name)
		}
		if entries, err := os.ReadDir(filepath.Dir(to)); err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() != "new" }) {
			t.Errorf("%s: something was written outside", name)
		}
	}
	if _, err := Read(t.Context(), bytes.NewReader(backup), s.dir, nil); err == nil {
		t.Error("a folder that is not empty is written to")
	}
}

func flip(data []byte, at int) []byte {
	c := bytes.Clone(data)
	c[at] ^= 1
	return c
}

func FuzzRead(f *testing.F) {
	s := newState(f, 2)
	backup, _ := s.backup(KeysSealed)
	f.Add(backup)
	f.Add(backup[:700])
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		to := filepath.Join(t.TempDir(), "new")
		_, _ = Read(t.Context(), bytes.NewReader(data), to, nil)
		if entries, err := os.ReadDir(filepath.Dir(to)); err != nil || len(entries) > 1 {
			t.Errorf("%d entries outside, %v", len(entries)-1, err)
		}
	})
}

// However often putting things in place is broken off, running it again completes it, and nothing is lost.
func TestPlace(t *testing.T) {
	build := func() string {
		dir := t.TempDir()
		for _, name := range []string{"evidence/old", "keys/old", "history.db", "agent/old", "local.token", "series/old", "collector.yaml"} {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("old"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		staged, err := Stage(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"evidence/new", "keys/new", "collector.yaml", "profile/units.yaml", manifestFile} {
			path := filepath.Join(staged, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("new"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	check := func(dir string) {
		t.Helper()
		before, err := Place(dir, made)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"evidence/new": "new", "keys/new": "new", "collector.yaml": "new", "profile/units.yaml": "new", "local.token": "old",
			"history.db": "", "agent/old": "", "evidence/old": "", "restore.new": ""} {
			if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want || want != "" && err != nil {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		for _, name := range []string{"evidence/old", "keys/old", "history.db", "agent/old", "series/old", "collector.yaml"} {
			if got, err := os.ReadFile(filepath.Join(before, name)); err != nil || string(got) != "old" {
				t.Errorf("before: %s: %q, %v", name, got, err)
			}
		}
		if Interrupted(dir) {
			t.Error("it is still said to be interrupted")
		}
	}
	check(build())
	// Each rename is the last one of a run that is broken off.
	for steps := range 12 {
		dir := build()
		staged := filepath.Join(dir, stagedDir)
		stamp, names, err := ready(staged, made)
		if err != nil {
			t.Fatal(err)
		}
		if !Interrupted(dir) {
			t.Fatal("it is not said to be interrupted")
		}
		if _, err := Stage(dir); err == nil {
			t.Fatal("another restore begins on top")
		}
		all := slices.Concat(replaced, names)
		for _, name := range all[:min(steps, len(all))] {
			if err := swap(dir, staged, filepath.Join(dir, beforeDirs+stamp), name, slices.Contains(names, name)); err != nil {
				t.Fatal(err)
			}
		}
		if steps < len(all) { // half of the next one
			name := all[steps]
			if exists(filepath.Join(dir, name)) && (exists(filepath.Join(staged, name)) || !slices.Contains(names, name)) {
				to := filepath.Join(dir, beforeDirs+stamp, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.Rename(filepath.Join(dir, name), to)); err != nil {
					t.Fatal(err)
				}
			}
		}
		check(dir)
	}
}

// A succession that is broken off is completed at the next start, at whatever step.
func TestSucceedBrokenOff(t *testing.T) {
	for _, step := range []string{"whole", "taken away", "not ready"} {
		dir := t.TempDir()
		for name, text := range map[string]string{"evidence/checkpoint": "old", "evidence.new/checkpoint": "new"} {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		want := "new"
		switch step {
		case "whole":
			if _, err := Succeed(dir, 1); err != nil {
				t.Fatal(err)
			}
		case "taken away":
			if err := errors.Join(os.WriteFile(filepath.Join(dir, freshLog, readyFile), nil, 0o600),
				os.Rename(filepath.Join(dir, evidenceDir), filepath.Join(dir, oldLogs+"1"))); err != nil {
				t.Fatal(err)
			}
		case "not ready":
			want = "old"
		}
		if err := FinishSuccession(dir); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, evidenceDir, "checkpoint")); err != nil || string(got) != want {
			t.Errorf("%s: the log is %q, want %q (%v)", step, got, want, err)
		}
	}
}

func TestRecoveryKey(t *testing.T) {
	k, err := NewKey("tu-ky")
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseKey(" " + k.Text()[:20] + "\n  " + k.Text()[20:] + "\r\n")
	if err != nil || again.Public != k.Public || again.Text() != k.Text() {
		t.Fatalf("read back: %v", err)
	}
	if err := k.Public.Check("tu-ky"); err != nil {
		t.Error(err)
	}
	if k.Public.Check("khac") == nil || (PublicKey{k.Public.Verifier, "x"}).Check("tu-ky") == nil {
		t.Error("a key that is not the district's is taken")
	}
	v, err := k.Public.NoteVerifier()
	if err != nil {
		t.Fatal(err)
	}
	msg, err := note.Sign(&note.Note{Text: "x\n"}, again.Signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(msg, note.VerifierList(v)); err != nil {
		t.Error(err)
	}
	sealed, err := k.Public.sealed([]byte("secret"))
	if err != nil || bytes.Contains(sealed, []byte("secret")) {
		t.Fatal(err)
	}
	if got, err := again.open(sealed); err != nil || string(got) != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := again.open(flip(sealed, 40)); err == nil {
		t.Error("what was changed is opened")
	}
	logKey, _, err := note.GenerateKey(rand.Reader, "egovmon/tu-ky/log/1")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"empty": "", "a public key": k.Public.Verifier, "a letter wrong": strings.Replace(k.Text(), "tu-ky", "tu-kx", 1), "another kind of key": logKey, "cut": k.Text()[:len(k.Text())-8]} {
		if _, err := ParseKey(text); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	dir := t.TempDir()
	if _, ok, err := ReadPublic(dir); ok || err != nil {
		t.Errorf("without one: %v, %v", ok, err)
	}
	if err := SavePublic(dir, k.Public); err != nil {
		t.Fatal(err)
	}
	if p, ok, err := ReadPublic(dir); !ok || err != nil || p != k.Public {
		t.Errorf("%+v, %v, %v", p, ok, err)
	}
	for _, text := range []string{"", "x\n", k.Public.Verifier + "\nx\n", "x\n" + k.Public.Seal + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, publicFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := ReadPublic(dir); ok || err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
