package schedule

import (
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// SystemSuspended returns how long the machine has slept since it was started: what the interrupt time has counted and
// the unbiased interrupt time has not (QueryInterruptTime, QueryUnbiasedInterruptTime). It is 0 where the system cannot
// tell.
func SystemSuspended() time.Duration {
	kernel := windows.NewLazySystemDLL("kernelbase.dll")
	all, awake := kernel.NewProc("QueryInterruptTime"), kernel.NewProc("QueryUnbiasedInterruptTime")
	if all.Find() != nil || awake.Find() != nil {
		return 0
	}
	var a, b uint64 // units of 100 ns
	_, _, _ = all.Call(uintptr(unsafe.Pointer(&a)))
	_, _, _ = awake.Call(uintptr(unsafe.Pointer(&b)))
	if a < b {
		return 0
	}
	return time.Duration(a-b) * 100
}
