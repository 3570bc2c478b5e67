//go:build !browser || !linux

package onestop

import (
	"testing"

	"egovmon/agent/check"
)

// The usual agent has no browser, and says so of a journey that needs one.
func TestJourneyWithoutBrowser(t *testing.T) {
	r := run(t.Context(), t, parse(t, steps("http://portal.test", approved+"      browser: true\n", "{name: a, get: /}")), env(""))
	wants(t, r, check.NotSupported, "built without a browser", nil)
}
