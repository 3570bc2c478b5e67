package push

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"egovmon/agent/durable"
	"egovmon/agent/journal"
	"egovmon/agent/wire"
)

// DictionaryFile keeps the dictionary that the collector offered last: a line with its SHA-256, then its bytes. It is
// used only while the collector says in its answers that it reads such batches; without it, batches are larger.
const DictionaryFile = "dictionary"

const (
	dictionaryHead  = "egovmon-dictionary/1 "
	dictionaryAgain = 10 * time.Minute // until one that could not be had is fetched again
)

// loadDictionary reads the dictionary that an earlier run kept. One that cannot be read is fetched again.
func (p *Pusher) loadDictionary() {
	path := filepath.Join(p.o.Dir, DictionaryFile)
	b, err := durable.Read(path, wire.MaxDictionary+200)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var kept []byte
	if err == nil {
		head, rest, _ := bytes.Cut(b, []byte("\n"))
		name, ok := strings.CutPrefix(string(head), dictionaryHead)
		if err = journal.CheckDictionary(rest, name); err == nil && !ok {
			err = fmt.Errorf("it does not begin with %q", dictionaryHead)
		}
		kept = rest
	}
	if err != nil {
		p.log.Warn("dictionary cannot be read, and is fetched again", "file", path, "err", err)
		return
	}
	p.dictionary = kept
}

// compress follows what an answer says of the dictionary for the next batches. Nothing that fails here keeps results
// from being sent: they go without.
func (p *Pusher) compress(ctx context.Context, re reply) {
	if re.status == http.StatusTooManyRequests {
		return
	}
	switch said := re.dictionary; said {
	case wire.DictionaryKeep:
	case "", wire.DictionaryNone:
		if said != "" {
			p.dictionary = nil
		}
		p.use(nil)
		return
	default:
		if p.dictionary != nil && said == nameOf(p.dictionary) || p.now().Before(p.dictionaryRetry) {
			break
		}
		b, err := p.fetchDictionary(ctx, said)
		if err != nil {
			if ctx.Err() == nil {
				p.dictionaryRetry = p.now().Add(dictionaryAgain)
				p.log.Warn("no dictionary; batches are larger than they could be", "sha256", said, "err", err)
			}
			break
		}
		p.dictionary = b
	}
	p.use(p.dictionary)
}

func (p *Pusher) use(b []byte) {
	if err := p.o.Journal.SetDictionary(b); err != nil {
		p.log.Warn("dictionary cannot be used", "err", err)
	}
}

func nameOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// fetchDictionary fetches a dictionary, verifies that it is the one that was offered, and keeps it.
func (p *Pusher) fetchDictionary(ctx context.Context, name string) ([]byte, error) {
	if sum, err := hex.DecodeString(name); err != nil || len(sum) != sha256.Size || hex.EncodeToString(sum) != name {
		return nil, fmt.Errorf("%.80q is not a SHA-256 in lower-case hex", name)
	}
	status, _, b, err := p.exchange(ctx, http.MethodGet, wire.PathDictionary+name, "", nil, wire.MaxDictionary)
	if err != nil {
		return nil, err
	}
	p.count(class(status), status == http.StatusOK)
	if status != http.StatusOK {
		return nil, fmt.Errorf("the collector answers %d: %.200q", status, b)
	}
	if err := journal.CheckDictionary(b, name); err != nil {
		return nil, err
	}
	if err := durable.Replace(filepath.Join(p.o.Dir, DictionaryFile), append([]byte(dictionaryHead+name+"\n"), b...)); err != nil {
		p.log.Warn("dictionary cannot be kept, and is fetched again after the next start", "err", err)
	}
	return b, nil
}
