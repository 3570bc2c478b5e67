//go:build browser

package onestop

import (
	"testing"

	"egovmon/agent/check"
)

// TestBrowserErrors: what Chromium says of a way that breaks off becomes the reason that other kinds give for the same.
func TestBrowserErrors(t *testing.T) {
	for text, want := range map[string]check.Reason{
		"net::ERR_NAME_NOT_RESOLVED": check.DNSNXDomain, "net::ERR_DNS_TIMED_OUT": check.DNSTimeout, "net::ERR_CONNECTION_REFUSED": check.ConnectRefused,
		"net::ERR_CONNECTION_TIMED_OUT": check.ConnectTimeout, "net::ERR_ADDRESS_UNREACHABLE": check.ConnectUnreachable, "net::ERR_INTERNET_DISCONNECTED": check.ConnectUnreachable,
		"net::ERR_CONNECTION_RESET": check.ConnectReset, "net::ERR_CONNECTION_CLOSED": check.ConnectReset, "net::ERR_EMPTY_RESPONSE": check.ConnectReset,
		"net::ERR_CERT_DATE_INVALID": check.TLSExpired, "net::ERR_CERT_COMMON_NAME_INVALID": check.TLSName, "net::ERR_CERT_REVOKED": check.TLSRevoked,
		"net::ERR_CERT_AUTHORITY_INVALID": check.TLSUntrusted, "net::ERR_SSL_VERSION_OR_CIPHER_MISMATCH": check.TLSProtocol, "net::ERR_SSL_PROTOCOL_ERROR": check.TLSHandshake,
		"net::ERR_TOO_MANY_REDIRECTS": check.HTTPRedirect, "net::ERR_TIMED_OUT": check.Timeout, "net::ERR_CONTENT_LENGTH_MISMATCH": check.Truncated,
		"net::ERR_INCOMPLETE_CHUNKED_ENCODING": check.Truncated, "net::ERR_SOMETHING_NEW": check.Protocol,
	} {
		if got := new(browser).netFault(text); got.Reason != want {
			t.Errorf("%s: %s, want %s", text, got.Reason, want)
		}
	}
	if got := (&browser{refused: "x.test"}).netFault("net::ERR_ABORTED"); got.Reason != check.HTTPRedirect {
		t.Errorf("led elsewhere: %s", got.Reason)
	}
}
