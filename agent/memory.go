package main

import (
	"context"
	"runtime/debug"
	"time"

	"egovmon/agent/daemon"
)

// How often what is not needed is given back to the system.
const (
	codeEvery  = 10 * time.Second // pages of the program's file: unmapping is cheap, and so is their coming back
	codeBegin  = time.Second      // … while the first round of checks runs, in which nearly all of the program is used
	firstRound = 35 * time.Second
	heapEvery  = time.Minute // of the heap, which takes a collection of garbage
)

// frugal makes the program a small guest until ctx ends: a tight heap, and what only the start or the checks of the last
// seconds needed is given back to the system.
func frugal(ctx context.Context) {
	debug.SetGCPercent(daemon.GCPercent)
	wait := time.NewTicker(codeBegin)
	defer wait.Stop()
	var heap time.Time
	for begin := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-wait.C:
			if now.Sub(heap) >= heapEvery {
				debug.FreeOSMemory()
				heap = now
			}
		}
		if releaseCode(); !begin.IsZero() && time.Since(begin) >= firstRound {
			begin = time.Time{}
			wait.Reset(codeEvery)
		}
	}
}
