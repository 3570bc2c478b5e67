package main

import (
	"context"
	"runtime/debug"
	"time"

	"egovmon/agent/daemon"
)

// frugal makes the program a small guest until ctx ends: a tight heap, and what only the start needed is given back to
// the system, once when the start is over, again after the first round of checks, and then every hour.
func frugal(ctx context.Context) {
	debug.SetGCPercent(daemon.GCPercent)
	wait := time.NewTimer(5 * time.Second)
	defer wait.Stop()
	for next := 35 * time.Second; ; next = time.Hour {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		debug.FreeOSMemory()
		releaseCode()
		wait.Reset(next)
	}
}
