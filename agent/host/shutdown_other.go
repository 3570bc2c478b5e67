//go:build !linux

package host

import (
	"context"
	"time"
)

// ShuttingDown returns false: here whoever stops a program says why, or nobody does.
func ShuttingDown(context.Context) bool { return false }

// ShutDownAt returns false: this system keeps no record that is read.
func ShutDownAt(time.Time) bool { return false }
