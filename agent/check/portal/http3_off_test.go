//go:build !http3

package portal

import (
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// TestNoHTTP3: an agent that was built without it says so, and never that the site is up.
func TestNoHTTP3(t *testing.T) {
	r := checktest.NewFunc(t, httpKind(), check.Options{"url": "https://127.0.0.1:1/", "protocol": protocol3}, check.Env{})(t.Context())
	if r.Reason != check.NotSupported || !strings.Contains(r.Detail, "-tags http3") {
		t.Errorf("%s %q", r.Reason, r.Detail)
	}
}
