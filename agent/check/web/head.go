package web

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
)

// MaxHead bounds status line and headers; browsers stop there too.
const MaxHead = 256 << 10

// ReadHead reads status line and headers, passing over interim answers (RFC 9110, section 15.2).
func ReadHead(br *bufio.Reader, req *http.Request) (*http.Response, error) {
	for range 5 {
		if _, err := br.Peek(1); err != nil {
			return nil, err // before the first byte an end is a hang-up, not a truncation
		}
		resp, err := http.ReadResponse(br, req)
		if err != nil {
			return nil, err
		}
		if resp.ProtoMajor != 1 || resp.StatusCode < 100 {
			return nil, fmt.Errorf("answer in %s with status %03d", resp.Proto, resp.StatusCode)
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
	return nil, errors.New("interim answers (1xx) without end")
}

// Redirects reports whether an answer of this status sends the client elsewhere (RFC 9110, section 15.4).
func Redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}
