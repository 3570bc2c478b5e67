package pcsc

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/windows"
)

// readerState is SCARD_READERSTATEW, whose DWORD has four bytes.
type readerState struct {
	name                   *uint16
	user                   uintptr
	current, event, atrLen uint32
	atr                    [36]byte
}

// Readers asks the service SCardSvr. Where that does not run there are no readers.
func Readers() ([]Reader, error) {
	dll := windows.NewLazySystemDLL("winscard.dll")
	if err := dll.Load(); err != nil {
		return nil, err
	}
	call := func(function string, args ...uintptr) (uint32, error) {
		r, _, _ := dll.NewProc(function).Call(args...)
		if v := uint32(r); v != 0 {
			return v, fmt.Errorf("%s returned %#x", function, v)
		}
		return 0, nil
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	var ctx uintptr
	var n uint32
	pin.Pin(&ctx)
	pin.Pin(&n)
	const system = 2 // SCARD_SCOPE_SYSTEM
	if v, err := call("SCardEstablishContext", system, 0, 0, uintptr(unsafe.Pointer(&ctx))); v == noService {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer func() { _, _ = call("SCardReleaseContext", ctx) }()
	if v, err := call("SCardListReadersW", ctx, 0, 0, uintptr(unsafe.Pointer(&n))); v == noReaders {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if n == 0 || n > maxNames {
		return nil, fmt.Errorf("a list of readers of %d characters", n)
	}
	list := make([]uint16, n)
	pin.Pin(&list[0])
	if _, err := call("SCardListReadersW", ctx, 0, uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&n))); err != nil {
		return nil, err
	}
	var all []Reader
	for at := 0; at < len(list) && list[at] != 0 && len(all) < maxReaders; {
		st := &readerState{name: &list[at]}
		pin.Pin(st)
		if _, err := call("SCardGetStatusChangeW", ctx, 0, uintptr(unsafe.Pointer(st)), 1); err != nil {
			return all, err
		}
		all = append(all, Reader{windows.UTF16ToString(list[at:]), st.event&present != 0})
		for at < len(list) && list[at] != 0 {
			at++
		}
		at++
	}
	return all, nil
}
