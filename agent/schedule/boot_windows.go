package schedule

import (
	"crypto/rand"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// SystemBoot returns what tells one start of the machine from another, and how long ago it was, the time that the machine
// slept included: the interrupt time (QueryInterruptTime). Windows does not say reliably which start it is, as a fast start
// goes on with the one before, so that each start of the program is taken for another one. The id is "" where the system
// cannot tell.
func SystemBoot() func() (id string, up time.Duration) {
	all := windows.NewLazySystemDLL("kernelbase.dll").NewProc("QueryInterruptTime")
	id := rand.Text()
	if all.Find() != nil {
		id = ""
	}
	return func() (string, time.Duration) {
		if id == "" {
			return "", 0
		}
		var t uint64 // units of 100 ns
		_, _, _ = all.Call(uintptr(unsafe.Pointer(&t)))
		return id, time.Duration(t) * 100
	}
}
