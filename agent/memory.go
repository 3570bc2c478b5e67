package main

import (
	"context"
	"runtime/debug"
	"time"

	"egovmon/agent/daemon"
)

// settleAfter is when the work of the start is over, the first round included.
const settleAfter = 40 * time.Second

// frugal makes the program a small guest: a tight heap from now on, and, once the start is over, what only the start
// needed is given back to the system.
func frugal(ctx context.Context) {
	debug.SetGCPercent(daemon.GCPercent)
	time.AfterFunc(settleAfter, func() {
		if ctx.Err() == nil {
			debug.FreeOSMemory()
			releaseCode()
		}
	})
}
