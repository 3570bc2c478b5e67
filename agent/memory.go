package main

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	// gcPercent trades processor time, of which an agent uses little, for memory: the heap is collected when it has
	// grown by this share.
	gcPercent = 30
	// settleAfter is when the work of the start is over, the first round included.
	settleAfter = 40 * time.Second
)

// frugal makes the program a small guest: a tight heap from now on, and, once the start is over, what only the start
// needed is given back to the system.
func frugal(ctx context.Context) {
	debug.SetGCPercent(gcPercent)
	time.AfterFunc(settleAfter, func() {
		if ctx.Err() == nil {
			debug.FreeOSMemory()
			releaseCode()
		}
	})
}
