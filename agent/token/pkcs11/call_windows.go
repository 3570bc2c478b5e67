package pkcs11

import "syscall"

// ulong is CK_ULONG, C's unsigned long, which has four bytes on Windows.
type ulong = uint32

// functionsAt is where the pointers begin in CK_FUNCTION_LIST: structures are packed to one byte on Windows (PKCS #11 base
// specification, section 2.1).
const functionsAt = 2

func load(path string) (uintptr, error) {
	d, err := syscall.LoadDLL(path)
	if err != nil {
		return 0, err
	}
	f, err := d.FindProc("C_GetFunctionList")
	if err != nil {
		return 0, err
	}
	return f.Addr(), nil
}

// call calls a function and returns its CK_RV.
func call(f uintptr, args ...uintptr) rv {
	r, _, _ := syscall.SyscallN(f, args...)
	return rv(uint32(r))
}
