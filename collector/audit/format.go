package audit

import (
	"encoding/json"
	"fmt"
	"time"
)

// Version names the form of an export.
const Version = "egovmon-audit/1"

// The files of an export.
const (
	fileManifest   = "manifest.json"
	fileKey        = "log.vkey"
	fileCheckpoint = "checkpoint"
	dirEntries     = "tile/entries"
	dirHashes      = "tile/0"
	dirBlobs       = "blobs"
	dirBodies      = "bodies"
)

// width is how many leaves a bundle has.
const width = 256

// A manifest says what an export claims to be.
type manifest struct {
	Version string    `json:"version"`
	Origin  string    `json:"origin"`
	Size    int64     `json:"size"` // leaves
	From    time.Time `json:"from"`
	To      time.Time `json:"to"` // [From, To)
}

func (m manifest) encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	return append(b, '\n'), err
}

// bundlePath returns the file of bundle n of a log of so many leaves: DIR/x001/234, or DIR/x001/234.p/5 for a last one
// that is not full.
func bundlePath(dir string, n, size int64) string {
	name := fmt.Sprintf("%03d", n%1000)
	for rest := n / 1000; rest > 0; rest /= 1000 {
		name = fmt.Sprintf("x%03d/%s", rest%1000, name)
	}
	if w := bundleWidth(n, size); w < width {
		name += fmt.Sprintf(".p/%d", w)
	}
	return dir + "/" + name
}

// bundleWidth returns how many leaves bundle n has.
func bundleWidth(n, size int64) int { return int(min(width, size-n*width)) }
