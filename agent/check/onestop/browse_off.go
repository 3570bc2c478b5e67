//go:build !browser || !linux

package onestop

import (
	"context"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// browse says that this program knows no browser.
func (j *journey) browse(context.Context, *walk, *check.Phases) (int, *reach.Fault) {
	_ = j.program // for the other build
	return 0, reach.Failf(check.NotSupported, "this agent was built without a browser: use the one built with -tags browser, on Linux")
}
