//go:build !windows

package pkcs11

import "github.com/ebitengine/purego"

// ulong is CK_ULONG, C's unsigned long: as wide as a pointer on the systems that this runs on.
type ulong = uint64

// functionsAt is where the pointers begin in CK_FUNCTION_LIST: CK_VERSION, of two bytes, is filled up to a pointer's width.
const functionsAt = 8

func load(path string) (uintptr, error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return 0, err
	}
	return purego.Dlsym(lib, "C_GetFunctionList")
}

// call calls a function and returns its CK_RV.
func call(f uintptr, args ...uintptr) rv {
	r, _, _ := purego.SyscallN(f, args...)
	return rv(r)
}
