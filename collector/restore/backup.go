package restore

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

// Version is that of the backups that Write makes. Read refuses a newer one.
const Version = 1

const (
	manifestFile = "egovmon-backup.json"
	sumsFile     = "SHA256SUMS"
	sealedFile   = "keys.sealed"
	evidenceDir  = "evidence"
	keysDir      = "keys"
	profileDir   = "profile"

	maxSmall = 64 << 20 // bytes of a file that is no segment
	maxSums  = 16 << 20
)

// How the private keys stand in a backup.
const (
	KeysSealed = "sealed" // only the recovery key opens them
	KeysClear  = "clear"  // anybody who has the file has them
	KeysNone   = "none"   // they are not in it
)

// kept are the files and folders of the state, besides evidence and keys, that are neither in the log nor derived from
// it.
var kept = []string{"collector.yaml", "last.json", "enrol/tokens.json", "enrol/profile.json", "alerts", "reports"}

// A Manifest says what a backup is.
type Manifest struct {
	Version  int       `json:"version"`
	District string    `json:"district"`
	Origin   string    `json:"origin"`             // of the log
	LogKey   string    `json:"log_key"`            // its verifier key
	Size     int64     `json:"size"`               // leaves
	Root     string    `json:"root"`               // root hash of the log
	Made     time.Time `json:"made"`               // whole seconds, UTC
	Keys     string    `json:"keys"`               // KeysSealed, KeysClear or KeysNone
	Recovery string    `json:"recovery,omitempty"` // verifier key of the recovery key, if there is one
}

// A Source is what is backed up.
type Source struct {
	Dir      string          // state folder
	District string          //
	Log      *evidence.Store // open for reading
	LogKey   string          // its verifier key
	Profile  fs.FS           // the profile in use; nil to leave it out
	Keys     string          // KeysSealed, KeysClear or KeysNone
	Now      time.Time
}

// Write writes a backup of what the log's checkpoint covers now, which is all that was acknowledged before, and of the
// files beside it. Told is called with the bytes written so far; it may be nil.
func Write(ctx context.Context, s Source, w io.Writer, told func(bytes int64)) (Manifest, error) {
	b := &writer{progress: progress{ctx: ctx, told: told}, tar: tar.NewWriter(w), made: s.Now.UTC().Truncate(time.Second)}
	m, err := b.write(s)
	if err == nil {
		err = b.tar.Close()
	}
	if err != nil {
		return m, fmt.Errorf("backup: %w", err)
	}
	return m, nil
}

type writer struct {
	progress
	tar  *tar.Writer
	made time.Time
	sums bytes.Buffer
}

func (b *writer) write(s Source) (Manifest, error) {
	tree := s.Log.Tree()
	m := Manifest{Version: Version, District: s.District, Origin: s.Log.Origin(), LogKey: s.LogKey, Size: tree.N, Root: tree.Hash.String(), Made: b.made, Keys: s.Keys}
	recovery, ok, err := ReadPublic(filepath.Join(s.Dir, keysDir))
	if err != nil {
		return m, err
	}
	if ok {
		m.Recovery = recovery.Verifier
	}
	if s.Keys == KeysSealed && !ok {
		return m, errors.New("there is no recovery key to seal the private keys with: make one with `collector recovery-key`")
	}
	parts, err := s.Log.Parts()
	if err != nil {
		return m, err
	}
	text, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return m, err
	}
	if err := b.small(manifestFile, append(text, '\n')); err != nil {
		return m, err
	}
	for _, p := range parts {
		if err := b.part(p); err != nil {
			return m, err
		}
	}
	if err := b.keys(s, recovery); err != nil {
		return m, err
	}
	for _, name := range kept {
		if err := b.tree(os.DirFS(s.Dir), name, ""); err != nil {
			return m, err
		}
	}
	if s.Profile != nil {
		if err := b.tree(s.Profile, ".", profileDir); err != nil {
			return m, err
		}
	}
	return m, b.add(sumsFile, int64(b.sums.Len()), bytes.NewReader(b.sums.Bytes()))
}

// keys writes the public halves, and the private keys in the way that was asked for.
func (b *writer) keys(s Source, recovery PublicKey) error {
	entries, err := os.ReadDir(filepath.Join(s.Dir, keysDir))
	if err != nil {
		return err
	}
	private := map[string][]byte{}
	for _, e := range entries {
		if !e.Type().IsRegular() || !keyFile.MatchString(e.Name()) {
			continue
		}
		data, err := durable.Read(filepath.Join(s.Dir, keysDir, e.Name()), maxKeyFile)
		if err != nil {
			return err
		}
		switch {
		case !strings.HasSuffix(e.Name(), ".key") || s.Keys == KeysClear:
			if err := b.small(path.Join(keysDir, e.Name()), data); err != nil {
				return err
			}
		case s.Keys == KeysSealed:
			private[e.Name()] = data
		}
	}
	if s.Keys != KeysSealed {
		return nil
	}
	text, err := json.Marshal(private)
	if err != nil {
		return err
	}
	sealed, err := recovery.sealed(text)
	if err != nil {
		return err
	}
	return b.small(sealedFile, sealed)
}

// tree writes a file, or the files of a folder, if it is there.
func (b *writer) tree(from fs.FS, name, below string) error {
	return fs.WalkDir(from, name, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && p == name {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || !allowed.MatchString(path.Join(below, p)) {
			return err
		}
		f, err := from.Open(p)
		if errors.Is(err, fs.ErrNotExist) { // replaced or removed meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		if len(data) > maxSmall {
			return fmt.Errorf("%s has more than %d bytes: it does not belong into the state folder", p, maxSmall)
		}
		return b.small(path.Join(below, p), data)
	})
}

func (b *writer) small(name string, data []byte) error {
	return b.add(name, int64(len(data)), bytes.NewReader(data))
}

func (b *writer) part(p evidence.Part) error {
	f, err := p.Open()
	if err != nil {
		return err
	}
	return errors.Join(b.add(path.Join(evidenceDir, p.Name), p.Size, f), f.Close())
}

func (b *writer) add(name string, size int64, r io.Reader) error {
	if err := b.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: b.made, Typeflag: tar.TypeReg}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(b.tar, h, &b.progress), io.LimitReader(r, size))
	if err == nil && n != size {
		err = fmt.Errorf("it became shorter: %d of %d bytes", n, size)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(&b.sums, "%s  %s\n", hex.EncodeToString(h.Sum(nil)), name)
	return nil
}

// progress counts what is written or unpacked, and ends it when nobody wants it any more.
type progress struct {
	ctx     context.Context
	told    func(int64) // nil for nobody
	written int64
}

func (p *progress) Write(data []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	p.written += int64(len(data))
	if p.told != nil {
		p.told(p.written)
	}
	return len(data), nil
}

// check reports what in a manifest cannot be.
func (m Manifest) check() error {
	switch {
	case m.Version > Version:
		return fmt.Errorf("the backup has version %d, this program reads up to %d: use the newer program", m.Version, Version)
	case m.Version < 1 || m.Size < 0 || !wire.IsDistrict(m.District) || !slices.Contains([]string{KeysSealed, KeysClear, KeysNone}, m.Keys):
		return fmt.Errorf("%s is not one that this program writes", manifestFile)
	}
	if _, ok := wire.LogNumber(m.District, m.Origin); !ok {
		return fmt.Errorf("%s: %.200q is no log of district %s", manifestFile, m.Origin, m.District)
	}
	return nil
}

// KeyFiles lists the private keys of a state folder.
func KeyFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, keysDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".key") {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names, err
}
