package machine

import (
	"net"

	"golang.org/x/sys/windows"
)

const (
	maxPlausibleBPS = 1e13
	hardwareFlag    = 1 // HardwareInterface, the first bit of MIB_IF_ROW2.InterfaceAndOperStatusFlags
	ifOperStatusUp  = 1 // IfOperStatusUp
)

// links asks Windows for each link (GetIfEntry2).
func links() ([]link, error) {
	ifs, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var ls []link
	for _, i := range ifs {
		if i.Flags&net.FlagLoopback != 0 {
			continue
		}
		l := link{name: i.Name, up: i.Flags&net.FlagUp != 0}
		row := windows.MibIfRow2{InterfaceIndex: uint32(i.Index)}
		if windows.GetIfEntry2Ex(windows.MibIfEntryNormal, &row) == nil {
			l.up = row.OperStatus == ifOperStatusUp
			l.hardware = row.InterfaceAndOperStatusFlags&hardwareFlag != 0
			// An unknown speed is all ones.
			if bps := float64(min(row.TransmitLinkSpeed, row.ReceiveLinkSpeed)); bps <= maxPlausibleBPS {
				l.bps = bps
			}
		}
		ls = append(ls, l)
	}
	return ls, nil
}
