package control

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"unsafe"

	psnet "github.com/shirou/gopsutil/v3/net"
	"golang.org/x/sys/windows"
	winreg "golang.org/x/sys/windows/registry"
)

// local reads this machine.
func local() system {
	return station{
		registry: machineKeys{}, running: serviceRuns, otherWall: securityCenterWall, sockets: openSockets, admins: localAdmins,
		nameServers: adapterServers, volume: func(v string) fs.FS { return os.DirFS(strings.ReplaceAll(v, "/", `\`) + `\`) },
		device: volumeOf, variables: os.Getenv, lockout: lockoutTries, connected: openConnections,
		objects: askWMI, events: readEvents, users: machineUsers, letters: fewestLetters, supply: powerSupply, hives: signedIn,
		shipped: strings.Fields(shippedRoots),
	}.system()
}

// maxBinary bounds a binary value of the registry: the list of Microsoft's roots has some 200 KB.
const maxBinary = 4 << 20

// machineKeys is HKEY_LOCAL_MACHINE, the 64-bit view also for a 32-bit program, or the hive of one person.
type machineKeys struct{ sid string }

func (m machineKeys) open(key string, access uint32) (winreg.Key, error) {
	if m.sid != "" {
		return winreg.OpenKey(winreg.USERS, m.sid+`\`+key, access)
	}
	return winreg.OpenKey(winreg.LOCAL_MACHINE, key, access|winreg.WOW64_64KEY)
}

// signedIn lists the hives of people: of accounts of a machine, of a domain (S-1-5-21) or of Entra ID (S-1-12-1).
func signedIn() ([]hive, error) {
	names, err := winreg.USERS.ReadSubKeyNames(-1)
	if err != nil {
		return nil, err
	}
	var list []hive
	for _, sid := range names {
		if (strings.HasPrefix(sid, "S-1-5-21-") || strings.HasPrefix(sid, "S-1-12-1-")) && !strings.HasSuffix(sid, "_Classes") {
			list = append(list, machineKeys{sid})
		}
	}
	return list, nil
}

func (m machineKeys) Number(key, name string) (uint64, error) {
	k, err := m.open(key, winreg.QUERY_VALUE)
	if err != nil {
		return 0, err
	}
	defer k.Close()
	v, _, err := k.GetIntegerValue(name)
	return v, err
}

func (m machineKeys) Text(key, name string) (string, error) {
	k, err := m.open(key, winreg.QUERY_VALUE)
	if err != nil {
		return "", err
	}
	defer k.Close()
	v, _, err := k.GetStringValue(name)
	return v, err
}

func (m machineKeys) Bytes(key, name string) ([]byte, error) {
	k, err := m.open(key, winreg.QUERY_VALUE)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	n, _, err := k.GetValue(name, nil)
	if err != nil {
		return nil, err
	}
	if n > maxBinary {
		return nil, syscall.Errno(windows.ERROR_MORE_DATA)
	}
	v, _, err := k.GetBinaryValue(name)
	return v, err
}

func (m machineKeys) Keys(key string) ([]string, error) {
	k, err := m.open(key, winreg.ENUMERATE_SUB_KEYS)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	return k.ReadSubKeyNames(-1)
}

// serviceRuns asks the service manager with the rights that everybody has.
func serviceRuns(name string) (bool, error) {
	m, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return false, err
	}
	defer windows.CloseServiceHandle(m)
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return false, err
	}
	s, err := windows.OpenService(m, p, windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return false, err
	}
	defer windows.CloseServiceHandle(s)
	var status windows.SERVICE_STATUS
	if err := windows.QueryServiceStatus(s, &status); err != nil {
		return false, err
	}
	return status.CurrentState == windows.SERVICE_RUNNING, nil
}

// securityCenterWall asks the Security Center whether some firewall is on (WscGetSecurityProviderHealth). Servers have
// no Security Center.
func securityCenterWall() (bool, error) {
	const firewallProvider, good = 1, 0
	proc := windows.NewLazySystemDLL("wscapi.dll").NewProc("WscGetSecurityProviderHealth")
	if err := proc.Find(); err != nil {
		return false, err
	}
	health := int32(-1)
	if r, _, _ := proc.Call(firewallProvider, uintptr(unsafe.Pointer(&health))); int32(r) != 0 {
		return false, syscall.Errno(r)
	}
	return health == good, nil
}

func openSockets(ctx context.Context) ([]listener, error) {
	all, err := psnet.ConnectionsWithContext(ctx, "inet")
	if err != nil {
		return nil, err
	}
	var found []listener
	for _, c := range all {
		udp := c.Type == windows.SOCK_DGRAM
		a, err := netip.ParseAddr(c.Laddr.IP)
		if err != nil || !udp && c.Status != "LISTEN" || c.Laddr.Port > 65535 {
			continue
		}
		found = append(found, listener{a.Unmap(), uint16(c.Laddr.Port), udp})
	}
	return found, nil
}

// adapterServers lists the name servers of the adapters that are up, each once, without those that Windows invents
// where none is set.
func adapterServers() ([]string, error) {
	var buf []byte
	for size, tries := uint32(16<<10), 0; ; tries++ {
		buf = make([]byte, size)
		err := windows.GetAdaptersAddresses(windows.AF_UNSPEC, 0, 0, (*windows.IpAdapterAddresses)(unsafe.Pointer(&buf[0])), &size)
		if err == nil {
			break
		}
		if !errors.Is(err, windows.ERROR_BUFFER_OVERFLOW) || tries == 4 || size > 4<<20 {
			return nil, err
		}
	}
	invented := netip.MustParsePrefix("fec0:0:0:ffff::/64")
	seen, list := map[string]bool{}, []string{}
	for a := (*windows.IpAdapterAddresses)(unsafe.Pointer(&buf[0])); a != nil; a = a.Next {
		if a.OperStatus != windows.IfOperStatusUp || a.IfType == windows.IF_TYPE_SOFTWARE_LOOPBACK {
			continue
		}
		for s := a.FirstDnsServerAddress; s != nil; s = s.Next {
			ip, ok := netip.AddrFromSlice(s.Address.IP())
			if ip = ip.Unmap().WithZone(""); !ok || invented.Contains(ip) || seen[ip.String()] {
				continue
			}
			seen[ip.String()] = true
			list = append(list, ip.String())
		}
	}
	return list, nil
}

// volumeOf returns the serial number of the volume that a file or folder is on.
func volumeOf(name string) (uint64, error) {
	p, err := windows.UTF16PtrFromString(strings.ReplaceAll(name, "/", `\`))
	if err != nil {
		return 0, err
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	h, err := windows.CreateFile(p, 0, share, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return 0, err
	}
	defer windows.CloseHandle(h)
	var i windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &i); err != nil {
		return 0, err
	}
	return uint64(i.VolumeSerialNumber), nil
}

// openConnections counts the centres to which a connection is open.
func openConnections(ctx context.Context, centres []netip.AddrPort) (int, error) {
	all, err := psnet.ConnectionsWithContext(ctx, "tcp")
	if err != nil {
		return 0, err
	}
	open := map[netip.AddrPort]bool{}
	for _, c := range all {
		if a, err := netip.ParseAddr(c.Raddr.IP); err == nil && c.Status == "ESTABLISHED" && c.Raddr.Port <= 65535 {
			open[netip.AddrPortFrom(a.Unmap(), uint16(c.Raddr.Port))] = true
		}
	}
	n := 0
	for _, c := range centres {
		n += int(yes01(open[c]))
	}
	return n, nil
}
