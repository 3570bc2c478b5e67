package portal

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"egovmon/agent/check"
)

// A scratch is the memory of one fetch, used again by the next.
type scratch struct {
	wire wireReader
	br   *bufio.Reader
	bw   *bufio.Writer
	gz   *gzip.Reader
	text bytes.Buffer
}

// keepText is the largest page buffer that is kept for the next fetch.
const keepText = 128 << 10

func (s *scratch) reader(r io.Reader) *bufio.Reader {
	if s.br == nil {
		s.br = bufio.NewReaderSize(r, 4<<10)
	} else {
		s.br.Reset(r)
	}
	return s.br
}

func (s *scratch) writer(w io.Writer) *bufio.Writer {
	if s.bw == nil {
		s.bw = bufio.NewWriterSize(w, 1<<10)
	} else {
		s.bw.Reset(w)
	}
	return s.bw
}

// release lets go of what a fetch read.
func (s *scratch) release() {
	s.wire.r = nil
	if s.br != nil {
		s.br.Reset(nil)
	}
	if s.bw != nil {
		s.bw.Reset(nil)
	}
	if s.text.Cap() > keepText {
		s.text = bytes.Buffer{}
	}
	s.text.Reset()
}

// unpack returns the body without its Content-Encoding (RFC 9110, section 8.4.1).
func (s *scratch) unpack(resp *http.Response) (io.Reader, error) {
	switch enc := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))); enc {
	case "", "identity":
		return resp.Body, nil
	case "gzip", "x-gzip":
		var err error
		if s.gz == nil {
			s.gz, err = gzip.NewReader(resp.Body)
		} else {
			err = s.gz.Reset(resp.Body)
		}
		if err != nil {
			s.gz = nil
			return nil, err
		}
		return s.gz, nil
	case "deflate":
		// The RFC means zlib; some servers send raw deflate. The first two bytes tell (RFC 1950, section 2.2).
		br := bufio.NewReader(resp.Body)
		head, err := br.Peek(2)
		if len(head) == 0 {
			return nil, err
		}
		if len(head) == 2 && head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
			return zlib.NewReader(br)
		}
		return flate.NewReader(br), nil
	default:
		return nil, fmt.Errorf("Content-Encoding %q, which was not asked for", enc)
	}
}

// body reads the body to its end. It returns the bytes when the page is to be looked at; they are good until release.
func (f *fetch) body(resp *http.Response, wire *wireReader) ([]byte, *fault) {
	r, err := f.scratch.unpack(resp)
	if errors.Is(err, io.EOF) {
		f.last.body = 0 // an empty body stays empty, whatever the headers say of its packing
		return nil, f.floor()
	}
	if err != nil {
		return nil, wire.fault("reading the body", err)
	}
	// Never closed: Close would read the rest of a body without end. The connection is closed instead.
	limited := &io.LimitedReader{R: r, N: f.c.maxBytes + 1}
	var n int64
	switch {
	case f.c.page.content() || f.c.elements || f.c.keep || f.c.more.reads():
		n, err = f.scratch.text.ReadFrom(limited)
	case f.c.page.signs:
		if n, err = f.scratch.text.ReadFrom(io.LimitReader(limited, signHead)); err == nil {
			var rest int64
			rest, err = io.Copy(io.Discard, limited)
			n += rest
		}
	default:
		n, err = io.Copy(io.Discard, limited)
	}
	f.last.body = min(n, f.c.maxBytes)
	switch {
	case n > f.c.maxBytes:
		return nil, &fault{check.TooLarge, fmt.Sprintf("the body has more than %d bytes", f.c.maxBytes)}
	case err != nil:
		return nil, wire.fault(fmt.Sprintf("reading the body, %d bytes came", n), err)
	}
	return f.scratch.text.Bytes(), f.floor()
}

// floor judges the size of a body that has come whole.
func (f *fetch) floor() *fault {
	if f.last.body < f.c.minBytes {
		return &fault{check.Truncated, fmt.Sprintf("the body has %d bytes, want at least %d", f.last.body, f.c.minBytes)}
	}
	return nil
}

// firewall names the product whose page refuses us, "" when the answer is the site's own.
func firewall(resp *http.Response, s *scratch) string {
	if resp.Header.Get("Cf-Mitigated") != "" {
		return "Cloudflare"
	}
	r, err := s.unpack(resp)
	if err != nil {
		return ""
	}
	_, _ = s.text.ReadFrom(&io.LimitedReader{R: r, N: maxRefusal}) // what came is enough
	return refusal(s.text.Bytes())
}
