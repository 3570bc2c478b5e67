package network

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// neighbourTable asks for the neighbours of IPv4 and IPv6 (GetIpNetTable2), which needs no rights.
func neighbourTable() ([]neighbour, error) {
	dll := windows.NewLazySystemDLL("iphlpapi.dll")
	get, release := dll.NewProc("GetIpNetTable2"), dll.NewProc("FreeMibTable")
	if err := get.Find(); err != nil {
		return nil, fmt.Errorf("GetIpNetTable2: %w", err)
	}
	// A MIB_IPNET_TABLE2 is the number of rows, and the rows from the next multiple of 8 on.
	var table *struct {
		rows  uint32
		_     uint32
		first [rowBytes]byte
	}
	if n, _, _ := get.Call(windows.AF_UNSPEC, uintptr(unsafe.Pointer(&table))); n != 0 {
		return nil, fmt.Errorf("GetIpNetTable2: %w", syscall.Errno(n))
	}
	if table == nil {
		return nil, nil
	}
	defer release.Call(uintptr(unsafe.Pointer(table)))
	return parseRows(unsafe.Slice(&table.first[0], rowBytes*min(int(table.rows), maxNeighbours))), nil
}
