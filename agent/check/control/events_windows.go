package control

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// readEvents reads a channel by wevtapi.
func readEvents(ctx context.Context, channel, query string, newest bool, most int) ([]string, error) {
	const byChannel, forward, reverse = 0x1, 0x100, 0x200 // EvtQueryChannelPath, EvtQueryForwardDirection, EvtQueryReverseDirection
	const asXML, maxXML, waitMS = 1, 256 << 10, 5000      // EvtRenderEventXml
	dll := windows.NewLazySystemDLL("wevtapi.dll")
	ask, next, render, closeHandle := dll.NewProc("EvtQuery"), dll.NewProc("EvtNext"), dll.NewProc("EvtRender"), dll.NewProc("EvtClose")
	for _, p := range []*windows.LazyProc{ask, next, render, closeHandle} {
		if err := p.Find(); err != nil {
			return nil, err
		}
	}
	path, err1 := windows.UTF16PtrFromString(channel)
	text, err2 := windows.UTF16PtrFromString(query)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	flags := uintptr(byChannel | forward)
	if newest {
		flags = byChannel | reverse
	}
	h, _, err := ask.Call(0, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(text)), flags)
	if h == 0 {
		return nil, fmt.Errorf("EvtQuery: %w", err)
	}
	defer closeHandle.Call(h)
	var list []string
	for len(list) < most {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var one uintptr
		var n uint32
		r, _, err := next.Call(h, 1, uintptr(unsafe.Pointer(&one)), waitMS, 0, uintptr(unsafe.Pointer(&n)))
		if r == 0 && errors.Is(err, windows.ERROR_NO_MORE_ITEMS) {
			return list, nil
		}
		if r == 0 || n == 0 {
			return nil, fmt.Errorf("EvtNext: %w", err)
		}
		xml, err := renderEvent(render, one, asXML, maxXML)
		_, _, _ = closeHandle.Call(one)
		if err != nil {
			return nil, fmt.Errorf("EvtRender: %w", err)
		}
		list = append(list, xml)
	}
	return list, nil
}

func renderEvent(render *windows.LazyProc, event, form uintptr, most uint32) (string, error) {
	for size := uint32(8 << 10); ; {
		buf := make([]uint16, size/2)
		var used, properties uint32
		r, _, err := render.Call(0, event, form, uintptr(size), uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&used)), uintptr(unsafe.Pointer(&properties)))
		if r != 0 {
			return windows.UTF16ToString(buf), nil
		}
		if !errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER) || used <= size || used > most {
			return "", err
		}
		size = used + used%2
	}
}
