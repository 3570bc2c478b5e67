package restore

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

var (
	keyFile = regexp.MustCompile(`^(ca|plan|log|log-[1-9][0-9]{0,5})\.key$|^ca\.pem$|^recovery\.pub$`)
	// allowed is every name that a backup may have: nothing else is written anywhere.
	allowed = regexp.MustCompile(`^(egovmon-backup\.json|keys\.sealed|SHA256SUMS|collector\.yaml|last\.json|evidence/(segment-[0-9]{8}|checkpoint)|` +
		`keys/(ca\.pem|recovery\.pub|(ca|plan|log|log-[1-9][0-9]{0,5})\.key)|enrol/(tokens|profile)\.json|alerts/[a-z0-9][a-zA-Z0-9_.-]{0,210}|` +
		`profile/([a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,80}/){0,3}[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,80})$`)
)

const maxFiles = 1_000_000

// Read unpacks a backup into the folder to, which must be empty or not there ("" for nowhere), and verifies it as it goes: names, sizes,
// the hash of each file, and that none is missing. The log in it is not looked into: see Verify.
func Read(ctx context.Context, r io.Reader, to string, told func(bytes int64)) (Manifest, error) {
	u := &unpacker{progress: progress{ctx: ctx, told: told}, to: to, sums: map[string]string{}}
	if err := u.read(tar.NewReader(r)); err != nil {
		return u.manifest, fmt.Errorf("backup: %w", err)
	}
	return u.manifest, nil
}

// Check reads a backup through and verifies what Read verifies, without writing anything. It reads r from its beginning.
func Check(ctx context.Context, r io.ReadSeeker, told func(bytes int64)) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	_, err := Read(ctx, r, "", told)
	return err
}

type unpacker struct {
	progress
	to       string
	manifest Manifest
	sums     map[string]string // of what was unpacked, by name
}

func (u *unpacker) read(t *tar.Reader) error {
	if entries, err := os.ReadDir(u.to); u.to != "" && err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty", u.to)
	}
	for n := 0; ; n++ {
		h, err := t.Next()
		if err == io.EOF {
			return errors.New("it ends without SHA256SUMS: it was cut off while it was copied")
		}
		if err != nil {
			return fmt.Errorf("it is no whole tar file: %w", err)
		}
		if err := u.judge(h, n); err != nil {
			return err
		}
		if h.Name == sumsFile {
			return u.compare(t, h.Size)
		}
		if err := u.file(t, h); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

// judge says whether a file may be in a backup at this place.
func (u *unpacker) judge(h *tar.Header, n int) error {
	_, twice := u.sums[h.Name]
	switch {
	case n >= maxFiles:
		return fmt.Errorf("it has more than %d files", maxFiles)
	case h.Typeflag != tar.TypeReg || !allowed.MatchString(h.Name):
		return fmt.Errorf("%.200q is nothing that a backup has: it was not written by this program", h.Name)
	case twice:
		return fmt.Errorf("%s is in it twice", h.Name)
	case (n == 0) != (h.Name == manifestFile):
		return fmt.Errorf("it does not begin with %s: this is no backup", manifestFile)
	case h.Size > maxSmall && !strings.HasPrefix(h.Name, evidenceDir+"/"):
		return fmt.Errorf("%s has %d bytes, at most %d may be", h.Name, h.Size, maxSmall)
	}
	return nil
}

func (u *unpacker) file(t io.Reader, h *tar.Header) error {
	if h.Name == manifestFile {
		text, err := io.ReadAll(t)
		if err == nil {
			err = json.Unmarshal(text, &u.manifest)
		}
		if err == nil {
			err = u.manifest.check()
		}
		if err != nil {
			return err
		}
		t = bytes.NewReader(text)
	}
	sum := sha256.New()
	err := u.copy(h.Name, io.TeeReader(t, io.MultiWriter(sum, u)))
	u.sums[h.Name] = hex.EncodeToString(sum.Sum(nil))
	return err
}

func (u *unpacker) copy(name string, r io.Reader) error {
	if u.to == "" {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	path := filepath.Join(u.to, filepath.FromSlash(name))
	if err := durable.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// compare holds what was unpacked against the list at the end.
func (u *unpacker) compare(t io.Reader, size int64) error {
	if size > maxSums {
		return fmt.Errorf("%s has %d bytes, at most %d may be", sumsFile, size, maxSums)
	}
	text, err := io.ReadAll(io.LimitReader(t, maxSums))
	if err != nil {
		return err
	}
	listed := 0
	for line := range bytes.Lines(text) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), "  ")
		if got, ok := u.sums[name]; !ok || got != sum {
			return fmt.Errorf("%.200q is not what was backed up: the file was damaged or changed", name)
		}
		listed++
	}
	if listed != len(u.sums) {
		return fmt.Errorf("%s lists %d files, the backup has %d", sumsFile, listed, len(u.sums))
	}
	return nil
}

// OpenKeys puts the private keys of an unpacked backup in their place: those that were sealed are opened with the recovery
// key. Keys that the backup does not have are taken from the folder old, if it has all of them.
func OpenKeys(m Manifest, dir, old string, key *PrivateKey) error {
	switch m.Keys {
	case KeysClear:
		return nil
	case KeysNone:
		names, err := KeyFiles(old)
		if err != nil || len(names) < 3 {
			return errors.Join(errors.New("the backup has no private keys, and neither has the state folder: without CA, plan and log key no machine would know this collector"), err)
		}
		for _, name := range names {
			data, err := durable.Read(filepath.Join(old, keysDir, name), maxKeyFile)
			if err == nil {
				err = durable.Replace(filepath.Join(dir, keysDir, name), data)
			}
			if err != nil {
				return fmt.Errorf("keys: %w", err)
			}
		}
		return nil
	}
	if key == nil {
		return errors.New("the private keys in the backup are sealed: give the recovery key with --recovery-key FILE (- reads it from the terminal)")
	}
	sealed, err := durable.Read(filepath.Join(dir, sealedFile), maxSmall)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	text, err := key.open(sealed)
	if err != nil {
		return err
	}
	private := map[string][]byte{}
	if err := json.Unmarshal(text, &private); err != nil {
		return fmt.Errorf("the sealed keys: %w", err)
	}
	for name, data := range private {
		if !keyFile.MatchString(name) || len(data) > maxKeyFile {
			return fmt.Errorf("the sealed keys have %.100q, which is none", name)
		}
		if err := durable.Replace(filepath.Join(dir, keysDir, name), data); err != nil {
			return fmt.Errorf("keys: %w", err)
		}
	}
	return os.Remove(filepath.Join(dir, sealedFile))
}

// Verify reads the whole log of an unpacked backup and compares everything with everything, and with the manifest.
func Verify(m Manifest, dir string) (evidence.Summary, error) {
	v, err := note.NewVerifier(m.LogKey)
	if err != nil || v.Name() != m.Origin {
		return evidence.Summary{}, fmt.Errorf("backup: %.200q is not the key of %s", m.LogKey, m.Origin)
	}
	log := filepath.Join(dir, evidenceDir)
	// Hashes and index are made again, as for a copy that signs nothing.
	c, err := evidence.OpenMirror(evidence.Options{Dir: log, Verifier: v})
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		return evidence.Summary{}, fmt.Errorf("backup: %w", err)
	}
	sum, err := evidence.Verify(log, v)
	if err == nil && (sum.Tree.N != m.Size || sum.Tree.Hash.String() != m.Root) {
		err = fmt.Errorf("the log has %d leaves and the root %s, the manifest says %d and %s", sum.Tree.N, sum.Tree.Hash, m.Size, m.Root)
	}
	if err != nil {
		return sum, fmt.Errorf("backup: %w", err)
	}
	if n, ok := wire.LogNumber(m.District, m.Origin); !ok || n < 1 {
		return sum, fmt.Errorf("backup: %s is no log of %s", m.Origin, m.District)
	}
	return sum, nil
}
