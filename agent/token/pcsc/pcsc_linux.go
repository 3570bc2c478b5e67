package pcsc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// readerState is SCARD_READERSTATE of pcsc-lite, whose DWORD is an unsigned long.
type readerState struct {
	name                   *byte
	user                   uintptr
	current, event, atrLen uintptr
	atr                    [33]byte
	_                      [7]byte
}

// Readers asks pcscd. Where that or its library is not installed, the devices on USB that are of the class of smart cards
// are listed instead, without telling whether a card is in.
func Readers() ([]Reader, error) {
	lib, err := purego.Dlopen("libpcsclite.so.1", purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return usb("/sys/bus/usb/devices")
	}
	c := client{lib}
	readers, err := c.readers()
	if e, ok := errors.AsType[*callError](err); ok && e.value == noService {
		return usb("/sys/bus/usb/devices")
	}
	return readers, err
}

type client struct{ lib uintptr }

type callError struct {
	function string
	value    uint32
}

func (e *callError) Error() string { return fmt.Sprintf("%s returned %#x", e.function, e.value) }

// call calls a function; SCARD_S_SUCCESS is nil.
func (c client) call(function string, args ...uintptr) error {
	f, err := purego.Dlsym(c.lib, function)
	if err != nil {
		return err
	}
	r, _, _ := purego.SyscallN(f, args...)
	if v := uint32(r); v != 0 {
		return &callError{function, v}
	}
	return nil
}

func (c client) readers() ([]Reader, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	var ctx, n uintptr
	pin.Pin(&ctx)
	pin.Pin(&n)
	const system = 2 // SCARD_SCOPE_SYSTEM
	if err := c.call("SCardEstablishContext", system, 0, 0, uintptr(unsafe.Pointer(&ctx))); err != nil {
		return nil, err
	}
	defer func() { _ = c.call("SCardReleaseContext", ctx) }()
	err := c.call("SCardListReaders", ctx, 0, 0, uintptr(unsafe.Pointer(&n)))
	if e, ok := errors.AsType[*callError](err); ok && e.value == noReaders {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if n == 0 || n > maxNames {
		return nil, fmt.Errorf("a list of readers of %d bytes", n)
	}
	list := make([]byte, n)
	pin.Pin(&list[0])
	if err := c.call("SCardListReaders", ctx, 0, uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&n))); err != nil {
		return nil, err
	}
	var all []Reader
	for _, name := range names(list) {
		text := append([]byte(name), 0)
		pin.Pin(&text[0])
		st := &readerState{name: &text[0]}
		pin.Pin(st)
		if err := c.call("SCardGetStatusChange", ctx, 0, uintptr(unsafe.Pointer(st)), 1); err != nil {
			return all, err
		}
		all = append(all, Reader{name, st.event&present != 0})
	}
	return all, nil
}

// names splits a list of texts that end in zero each.
func names(list []byte) []string {
	var all []string
	for part := range bytes.SplitSeq(list, []byte{0}) {
		if len(part) > 0 && len(all) < maxReaders {
			all = append(all, strings.ToValidUTF8(string(part), "?"))
		}
	}
	return all
}

// usb lists the devices of the class of smart cards (CCID).
func usb(dir string) ([]Reader, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*", "bInterfaceClass"))
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	var all []Reader
	for _, path := range paths[:min(len(paths), 1024)] {
		class, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(class)) != "0b" || len(all) == maxReaders {
			continue
		}
		// The interface 1-2:1.0 belongs to the device 1-2, which has the name.
		iface := filepath.Base(filepath.Dir(path))
		device, _, _ := strings.Cut(iface, ":")
		name := iface
		if product, err := os.ReadFile(filepath.Join(dir, device, "product")); err == nil && len(product) < 256 {
			name = strings.ToValidUTF8(strings.TrimSpace(string(product)), "?")
		}
		all = append(all, Reader{Name: name})
	}
	return all, nil
}
