package pkcs11

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"
)

// Numbers of functions in CK_FUNCTION_LIST.
const (
	fnInitialize        = 0
	fnFinalize          = 1
	fnGetSlotList       = 4
	fnGetTokenInfo      = 6
	fnOpenSession       = 12
	fnCloseSession      = 13
	fnLogin             = 18
	fnLogout            = 19
	fnGetAttributeValue = 24
	fnFindObjectsInit   = 26
	fnFindObjects       = 27
	fnFindObjectsFinal  = 28
	fnSignInit          = 42
	fnSign              = 43
)

// Flags of CK_TOKEN_INFO.
const (
	FlagLoginRequired = 0x4
	FlagProtectedPath = 0x100   // the PIN is typed at the reader
	FlagPINCountLow   = 0x10000 // a wrong PIN since the last good one
	FlagPINFinalTry   = 0x20000 // the next wrong PIN locks it
	FlagPINLocked     = 0x40000
	FlagPINToChange   = 0x80000
)

const (
	maxSlots   = 64
	maxObjects = 64
	maxValue   = 64 << 10 // bytes of an attribute
	infoSize   = 512      // CK_TOKEN_INFO has at most 208 bytes
	flagsAt    = 96       // in CK_TOKEN_INFO, after four texts of 32, 32, 16 and 16 bytes
)

// A rv is a CK_RV.
type rv uint64

// The returns that are told apart.
const (
	rvOK              rv = 0
	rvDeviceError     rv = 0x30
	rvDeviceRemoved   rv = 0x32
	rvPINIncorrect    rv = 0xa0
	rvPINInvalid      rv = 0xa1
	rvPINLength       rv = 0xa2
	rvPINExpired      rv = 0xa3
	rvPINLocked       rv = 0xa4
	rvTokenNotPresent rv = 0xe0
	rvTokenUnknown    rv = 0xe1
	rvAlreadyIn       rv = 0x100
	rvNotInitialized  rv = 0x102
)

// What a caller tells apart.
var (
	// ErrAbsent is that the token, or any, is not plugged in.
	ErrAbsent = errors.New("the token is not plugged in")
	// ErrPIN is that the token refused the PIN, or that it must not be tried.
	ErrPIN = errors.New("the PIN")
	// ErrKey is that there is no such key or certificate, or more than one.
	ErrKey = errors.New("the key")
)

// A CallError is a function that failed.
type CallError struct {
	Function string
	Value    uint64 // CK_RV
}

// Error names the function and what it returned.
func (e *CallError) Error() string { return fmt.Sprintf("%s returned %#x", e.Function, e.Value) }

func (v rv) err(function string) error {
	switch v {
	case rvOK:
		return nil
	case rvDeviceRemoved, rvTokenNotPresent, rvTokenUnknown:
		return fmt.Errorf("%w: %w", ErrAbsent, &CallError{function, uint64(v)})
	case rvPINIncorrect, rvPINInvalid, rvPINLength, rvPINExpired, rvPINLocked, rvNotInitialized:
		return fmt.Errorf("%w was refused: %w", ErrPIN, &CallError{function, uint64(v)})
	}
	return &CallError{function, uint64(v)}
}

// A Module is a driver that was loaded. Its methods are for the goroutine that called Open, which stays on its thread.
type Module struct {
	functions unsafe.Pointer
}

// Open loads the driver at path, which is C code that may do anything to this process.
func Open(path string) (*Module, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("module %q: write its whole path", path)
	}
	if err := trusted(path); err != nil {
		return nil, err
	}
	entry, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("the module cannot be loaded: %w", err)
	}
	runtime.LockOSThread()
	m := &Module{}
	if v := call(entry, uintptr(unsafe.Pointer(&m.functions))); v != rvOK || m.functions == nil {
		return nil, fmt.Errorf("the module gives no functions: %w", v.err("C_GetFunctionList"))
	}
	if v := m.call(fnInitialize, 0); v != rvOK {
		return nil, v.err("C_Initialize")
	}
	return m, nil
}

// Close lets the driver clean up.
func (m *Module) Close() { m.call(fnFinalize, 0) }

func (m *Module) call(fn int, args ...uintptr) rv {
	f := *(*uintptr)(unsafe.Add(m.functions, functionsAt+fn*int(unsafe.Sizeof(uintptr(0)))))
	if f == 0 {
		return 0x54 // CKR_FUNCTION_NOT_SUPPORTED
	}
	return call(f, args...)
}

// A Token is a token as it describes itself.
type Token struct {
	Slot                        uint64
	Label, Maker, Model, Serial string
	Flags                       uint64
}

// Tokens lists the tokens that are plugged in, at most 64.
func (m *Module) Tokens() ([]Token, error) {
	var slots [maxSlots]ulong
	n := ulong(maxSlots)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&slots[0])
	pin.Pin(&n)
	if err := m.call(fnGetSlotList, 1, uintptr(unsafe.Pointer(&slots[0])), uintptr(unsafe.Pointer(&n))).err("C_GetSlotList"); err != nil {
		return nil, err
	}
	var all []Token
	for _, s := range slots[:min(n, maxSlots)] {
		t, err := m.token(s)
		switch {
		case errors.Is(err, ErrAbsent): // pulled out meanwhile
		case err != nil:
			return all, err
		case t.Flags&0x400 != 0: // CKF_TOKEN_INITIALIZED: SoftHSM always shows one that is not
			all = append(all, t)
		}
	}
	return all, nil
}

func (m *Module) token(slot ulong) (Token, error) {
	info := new([infoSize]byte)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(info)
	if err := m.call(fnGetTokenInfo, uintptr(slot), uintptr(unsafe.Pointer(info))).err("C_GetTokenInfo"); err != nil {
		return Token{}, err
	}
	text := func(from, to int) string {
		return strings.ToValidUTF8(strings.TrimRight(string(info[from:to]), " \x00"), "?")
	}
	return Token{
		Slot: uint64(slot), Label: text(0, 32), Maker: text(32, 64), Model: text(64, 80), Serial: text(80, 96),
		Flags: uint64(*(*ulong)(unsafe.Pointer(&info[flagsAt]))),
	}, nil
}

// Find returns the token of this label or serial number, or the only one when name is "".
func (m *Module) Find(name string) (Token, error) {
	all, err := m.Tokens()
	if err != nil {
		return Token{}, err
	}
	var fit []Token
	for _, t := range all {
		if name == "" || t.Label == name || t.Serial == name {
			fit = append(fit, t)
		}
	}
	switch {
	case len(fit) == 0 && name != "":
		return Token{}, fmt.Errorf("%w: none of %d is called %q", ErrAbsent, len(all), name)
	case len(fit) == 0:
		return Token{}, ErrAbsent
	case len(fit) > 1:
		return Token{}, fmt.Errorf("%w: %d tokens fit: name one by its serial number", ErrKey, len(fit))
	}
	return fit[0], nil
}

// Safe says why a PIN must not be tried with a token.
func (t Token) Safe() error {
	for _, f := range []struct {
		flag uint64
		why  string
		do   string // what a person can do about it, where it is not plain
	}{
		{FlagPINLocked, "is locked", ""},
		{FlagPINFinalTry, "would be locked by one more wrong try", ""},
		{FlagPINCountLow, "was given wrongly since it was last given rightly", "; log in once with the token's own program"},
		{FlagPINToChange, "must be changed first", ""},
	} {
		if t.Flags&f.flag != 0 {
			return fmt.Errorf("%w of token %q %s: it is not tried%s", ErrPIN, t.Label, f.why, f.do)
		}
	}
	return nil
}
