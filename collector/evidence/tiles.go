package evidence

import (
	"encoding/binary"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	maxLevel   = 7 // of tiles: 2^56 leaves and more
)

// Handler answers GET and HEAD of /checkpoint, /tile/<L>/<N>[.p/<W>] and /tile/entries/<N>[.p/<W>] (C2SP tlog-tiles).
// A tile that the checkpoint does not cover is not found. Blobs and bodies are not served. Who may ask is for the
// caller to decide: leaves name machines and people.
func (s *Store) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /checkpoint", s.serveCheckpoint)
	mux.HandleFunc("GET /tile/", s.serveTile)
	return mux
}

func (s *Store) serveCheckpoint(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(s.committed.Load().note)
}

func (s *Store) serveTile(w http.ResponseWriter, r *http.Request) {
	t, ok := parseTile(r.URL.Path)
	if !ok {
		http.Error(w, "not a tile: want /tile/<L>/<N>[.p/<W>] or /tile/entries/<N>[.p/<W>]", http.StatusBadRequest)
		return
	}
	width := s.Size() >> (tileHeight * max(t.L, 0)) // hashes at that level
	if t.N > width/tileWidth || t.N*tileWidth+int64(t.W) > width {
		http.Error(w, "the log has not grown so far", http.StatusNotFound)
		return
	}
	var data []byte
	var err error
	if t.L < 0 {
		data, err = s.entryBundle(t)
	} else {
		data, err = tlog.ReadTileData(t, s.tree.hashes)
	}
	if err != nil {
		s.opts.Logger.Error("evidence: tile", "path", r.URL.Path, "err", err)
		http.Error(w, "the tile cannot be read; the collector's log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data)
}

// entryBundle returns the leaves of a tile, each behind its length as u16, big endian.
func (s *Store) entryBundle(t tlog.Tile) ([]byte, error) {
	var data []byte
	n := 0
	for e, err := range s.Leaves(t.N * tileWidth) {
		if err != nil {
			return nil, err
		}
		data = binary.BigEndian.AppendUint16(data, uint16(len(e.Leaf.text)))
		data = append(data, e.Leaf.text...)
		if n++; n == t.W {
			break
		}
	}
	return data, nil
}

var tilePattern = regexp.MustCompile(`^/tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?$`)

// parseTile reads the path of a tile; level -1 stands for entries.
func parseTile(path string) (tlog.Tile, bool) {
	m := tilePattern.FindStringSubmatch(path)
	if m == nil || strings.HasPrefix(m[2], "x000/") {
		return tlog.Tile{}, false
	}
	t := tlog.Tile{H: tileHeight, L: -1, W: tileWidth}
	if m[1] != "entries" {
		t.L, _ = strconv.Atoi(m[1])
	}
	t.N, _ = strconv.ParseInt(strings.NewReplacer("x", "", "/", "").Replace(m[2]), 10, 64)
	if m[3] != "" {
		t.W, _ = strconv.Atoi(m[3])
		if t.W >= tileWidth {
			return tlog.Tile{}, false
		}
	}
	return t, t.L <= maxLevel
}
