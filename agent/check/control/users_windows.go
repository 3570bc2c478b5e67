package control

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// wholeAnswer asks for all at once (MAX_PREFERRED_LENGTH).
const wholeAnswer = 0xffffffff

// userInfo2 is USER_INFO_2.
type userInfo2 struct {
	Name, Password                             *uint16
	PasswordAge, Privileges                    uint32
	Home, Comment                              *uint16
	Flags                                      uint32
	Script                                     *uint16
	AuthFlags                                  uint32
	FullName, UserComment, Params, Stations    *uint16
	LastLogOn, LastLogOff, Expires, MaxStorage uint32
	UnitsPerWeek                               uint32
	LogOnHours                                 *byte
	BadPasswords, LogOns                       uint32
	Server                                     *uint16
	Country, CodePage                          uint32
}

func (i *userInfo2) user() user { return user{i.Flags, i.LastLogOn, i.PasswordAge, i.Expires} }

// localAdmins lists the group S-1-5-32-544, whose name depends on the language (NetLocalGroupGetMembers, level 0).
func localAdmins() ([]member, error) {
	sid, err := windows.CreateWellKnownSid(windows.WinBuiltinAdministratorsSid)
	if err != nil {
		return nil, err
	}
	name, _, _, err := sid.LookupAccount("")
	if err != nil {
		return nil, err
	}
	group, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	proc := windows.NewLazySystemDLL("netapi32.dll").NewProc("NetLocalGroupGetMembers")
	if err := proc.Find(); err != nil {
		return nil, err
	}
	var buf *byte
	var read, total uint32
	r, _, _ := proc.Call(0, uintptr(unsafe.Pointer(group)), 0, uintptr(unsafe.Pointer(&buf)), wholeAnswer,
		uintptr(unsafe.Pointer(&read)), uintptr(unsafe.Pointer(&total)), 0)
	if r != 0 {
		return nil, syscall.Errno(r)
	}
	if buf == nil {
		return nil, errors.New("no answer")
	}
	defer windows.NetApiBufferFree(buf)
	var members []member
	for _, s := range unsafe.Slice((**windows.SID)(unsafe.Pointer(buf)), read) {
		members = append(members, memberOf(s))
	}
	return members, nil
}

// memberOf asks about an account of this machine; what cannot be asked counts as able to log on.
func memberOf(sid *windows.SID) member {
	name, domain, kind, err := sid.LookupAccount("")
	if err != nil || kind != windows.SidTypeUser {
		return member{}
	}
	// An account of a domain may have the name of another one of this machine.
	if machine, err := windows.ComputerName(); err != nil || !strings.EqualFold(domain, machine) {
		return member{}
	}
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return member{}
	}
	var buf *byte
	if err := windows.NetUserGetInfo(nil, p, 2, &buf); err != nil || buf == nil {
		return member{}
	}
	defer windows.NetApiBufferFree(buf)
	u := (*userInfo2)(unsafe.Pointer(buf)).user()
	return member{disabled: u.flags&accountDisabled != 0, local: true, user: u}
}

// machineUsers lists the accounts of this machine (NetUserEnum, level 2), which everybody who is signed in may.
func machineUsers(ctx context.Context) ([]user, error) {
	const normalAccounts, pageBytes, moreData = 2, 1 << 18, 234 // FILTER_NORMAL_ACCOUNT, ERROR_MORE_DATA
	proc := windows.NewLazySystemDLL("netapi32.dll").NewProc("NetUserEnum")
	if err := proc.Find(); err != nil {
		return nil, err
	}
	var users []user
	var resume uint32
	for {
		var buf *byte
		var read, total uint32
		r, _, _ := proc.Call(0, 2, normalAccounts, uintptr(unsafe.Pointer(&buf)), pageBytes, uintptr(unsafe.Pointer(&read)),
			uintptr(unsafe.Pointer(&total)), uintptr(unsafe.Pointer(&resume)))
		if r != 0 && r != moreData {
			return nil, syscall.Errno(r)
		}
		if buf != nil {
			page := unsafe.Slice((*userInfo2)(unsafe.Pointer(buf)), read)
			for i := range page {
				users = append(users, page[i].user())
			}
			_ = windows.NetApiBufferFree(buf)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if r == 0 || read == 0 || len(users) > maxAccounts {
			break
		}
	}
	if len(users) == 0 {
		return nil, errors.New("no answer")
	}
	return users[:min(len(users), maxAccounts)], nil
}

// modal returns n numbers of NetUserModalsGet at a level.
func modal(level uintptr, n int) ([]uint32, error) {
	proc := windows.NewLazySystemDLL("netapi32.dll").NewProc("NetUserModalsGet")
	if err := proc.Find(); err != nil {
		return nil, err
	}
	var buf *byte
	if r, _, _ := proc.Call(0, level, uintptr(unsafe.Pointer(&buf))); r != 0 {
		return nil, syscall.Errno(r)
	}
	if buf == nil {
		return nil, errors.New("no answer")
	}
	defer windows.NetApiBufferFree(buf)
	return append([]uint32(nil), unsafe.Slice((*uint32)(unsafe.Pointer(buf)), n)...), nil
}

// lockoutTries asks after how many wrong passwords an account is locked (USER_MODALS_INFO_3: duration, observation window,
// threshold).
func lockoutTries() (int, error) {
	v, err := modal(3, 3)
	if err != nil {
		return 0, err
	}
	return int(min(v[2], 1e6)), nil
}

// fewestLetters asks for the fewest letters of a new password (USER_MODALS_INFO_0, the first number).
func fewestLetters() (int, error) {
	v, err := modal(0, 1)
	if err != nil {
		return 0, err
	}
	return int(min(v[0], 1<<16)), nil
}

// powerSupply asks what feeds the machine (GetSystemPowerStatus), and whether its battery is a UPS (GetPwrCapabilities).
func powerSupply() (power, error) {
	const noBattery, unknown = 128, 255
	// A SYSTEM_POWER_CAPABILITIES begins with 32 bytes, of which the last two say whether there are batteries, and whether
	// they last for a short time only, as those of a UPS.
	const capabilities, presentAt, shortAt = 76, 30, 31
	status := windows.NewLazySystemDLL("kernel32.dll").NewProc("GetSystemPowerStatus")
	able := windows.NewLazySystemDLL("powrprof.dll").NewProc("GetPwrCapabilities")
	for _, p := range []*windows.LazyProc{status, able} {
		if err := p.Find(); err != nil {
			return power{}, err
		}
	}
	// SYSTEM_POWER_STATUS: line, battery, percent, saver, and seconds twice.
	var s struct {
		line, battery, percent, saver byte
		left, full                    uint32
	}
	if r, _, err := status.Call(uintptr(unsafe.Pointer(&s))); r == 0 {
		return power{}, err
	}
	var c [capabilities]byte
	if r, _, err := able.Call(uintptr(unsafe.Pointer(&c[0]))); r == 0 {
		return power{}, err
	}
	return power{
		battery: s.battery != unknown && s.battery&noBattery == 0 || c[presentAt] != 0, shortTerm: c[shortAt] != 0,
		line: s.line, percent: s.percent,
	}, nil
}
