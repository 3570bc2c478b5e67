package evidence

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/tlog"
)

// A tileClient reads a log over HTTP as an auditor would, with nothing of the code under test.
type tileClient struct {
	t   *testing.T
	url string
}

func (c tileClient) get(path string) []byte {
	c.t.Helper()
	data, code := c.try(path)
	if code != http.StatusOK {
		c.t.Fatalf("GET %s: %d %s", path, code, data)
	}
	return data
}

func (c tileClient) try(path string) ([]byte, int) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), "GET", c.url+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return data, resp.StatusCode
}

// path returns the path of tile n of a level (or entries) in a log with size nodes there.
func tilePath(level string, n, size int) (path string, width int) {
	path = fmt.Sprintf("/tile/%s/%03d", level, n)
	if n >= 1000 {
		path = fmt.Sprintf("/tile/%s/x%03d/%03d", level, n/1000, n%1000)
	}
	width = min(256, size-n*256)
	if width < 256 {
		path += fmt.Sprintf(".p/%d", width)
	}
	return path, width
}

// hashes returns all the hashes of a level.
func (c tileClient) hashes(level, size int) (hashes []tlog.Hash) {
	c.t.Helper()
	for n := 0; n*256 < size; n++ {
		path, width := tilePath(fmt.Sprint(level), n, size)
		data := c.get(path)
		if len(data) != width*32 {
			c.t.Fatalf("%s has %d bytes, want %d", path, len(data), width*32)
		}
		for ; len(data) > 0; data = data[32:] {
			hashes = append(hashes, tlog.Hash(data[:32]))
		}
	}
	return hashes
}

// over returns the root above nodes, by the definition of RFC 6962.
func over(nodes []tlog.Hash) tlog.Hash {
	if len(nodes) == 1 {
		return nodes[0]
	}
	k := 1
	for k*2 < len(nodes) {
		k *= 2
	}
	return node(over(nodes[:k]), over(nodes[k:]))
}

func TestTiles(t *testing.T) {
	s := mustOpen(t, testOptions(t, t.TempDir()))
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	c := tileClient{t, server.URL}
	_, v := testKeys()
	size := 0
	for _, grow := range []int{1, 254, 1, 1, 443} { // to 1, 255, 256, 257, 700
		var group []Entry
		for range grow {
			group = append(group, testEntry(t, size))
			size++
		}
		if _, err := s.Append(t.Context(), group...); err != nil {
			t.Fatal(err)
		}
		cp, _, _, err := log.ParseCheckpoint(c.get("/checkpoint"), testOrigin, v)
		if err != nil || cp.Size != uint64(size) {
			t.Fatalf("checkpoint: %+v, %v", cp, err)
		}
		level0 := c.hashes(0, size)
		if got := over(level0); got != tlog.Hash(cp.Hash) {
			t.Errorf("%d leaves: the tiles give the root %s, the checkpoint signs %x", size, got, cp.Hash)
		}
		for i, h := range c.hashes(1, size/256) {
			if over(level0[i*256:i*256+256]) != h {
				t.Errorf("%d leaves: hash %d of level 1 is wrong", size, i)
			}
		}
		for n := 0; n*256 < size; n++ {
			path, width := tilePath("entries", n, size)
			data := c.get(path)
			for i := n * 256; i < n*256+width; i++ {
				length := int(binary.BigEndian.Uint16(data))
				leaf := data[2 : 2+length]
				data = data[2+length:]
				if merkle([][]byte{leaf}) != level0[i] || string(leaf) != string(testEntry(t, i).Leaf.Bytes()) {
					t.Fatalf("%s: leaf %d is %q", path, i, leaf)
				}
			}
			if len(data) != 0 {
				t.Errorf("%s: %d bytes left over", path, len(data))
			}
		}
	}
	c.get("/tile/0/001.p/17") // less than there is now, as an older checkpoint needs it
	for path, want := range map[string]int{
		"/tile/0/002":       404,
		"/tile/0/002.p/189": 404,
		"/tile/0/003.p/1":   404,
		"/tile/1/000":       404,
		"/tile/1/000.p/3":   404,
		"/tile/7/000.p/1":   404,
		"/tile/entries/002": 404,
		"/tile/entries/x999/x999/x999/x999/x999/999": 404,
		"/tile/8/000.p/1":   400,
		"/tile/00/000":      400,
		"/tile/-1/000":      400,
		"/tile/0/0":         400,
		"/tile/0/000.p/0":   400,
		"/tile/0/000.p/256": 400,
		"/tile/0/000.p/01":  400,
		"/tile/0/x000/000":  400,
		"/tile/8/data/000":  400,
		"/tile/":            400,
		"/":                 404,
	} {
		if _, code := c.try(path); code != want {
			t.Errorf("GET %s: %d, want %d", path, code, want)
		}
	}
	resp, err := http.Post(server.URL+"/checkpoint", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", resp.Status)
	}
}
