package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// dpapi protects with the key of the machine, so that the service account and an administrator read the same files.
// Who is on the machine and may read the file may open it: the access list of the folder keeps others out.
type dpapi struct{}

func machineKey() sealer { return dpapi{} }

func blobOf(b []byte) *windows.DataBlob {
	if len(b) == 0 {
		return &windows.DataBlob{}
	}
	return &windows.DataBlob{Size: uint32(len(b)), Data: &b[0]}
}

// taken copies what Windows has allocated, and gives it back.
func taken(b windows.DataBlob) ([]byte, error) {
	if b.Data == nil {
		return nil, nil
	}
	out := bytes.Clone(unsafe.Slice(b.Data, b.Size))
	_, err := windows.LocalFree(windows.Handle(unsafe.Pointer(b.Data)))
	return out, err
}

const dpapiFlags = windows.CRYPTPROTECT_LOCAL_MACHINE | windows.CRYPTPROTECT_UI_FORBIDDEN

func (dpapi) seal(plain []byte) ([]byte, error) {
	var out windows.DataBlob
	if err := windows.CryptProtectData(blobOf(plain), nil, nil, 0, nil, dpapiFlags, &out); err != nil {
		return nil, err
	}
	return taken(out)
}

func (dpapi) open(sealed []byte) ([]byte, error) {
	var out windows.DataBlob
	if err := windows.CryptUnprotectData(blobOf(sealed), nil, nil, 0, nil, dpapiFlags, &out); err != nil {
		return nil, err
	}
	return taken(out)
}

// keepOut gives a file or folder that every user can read an access list of its own: the system, administrators, the
// account of services and whoever runs this; of a folder for all that is and will be in it.
func keepOut(path string) error {
	open, err := readableByStrangers(path)
	if err == nil && !open {
		return nil // whoever set the list knows why
	}
	flags := ""
	if fi, err := os.Stat(path); err != nil {
		return err
	} else if fi.IsDir() {
		flags = "OICI"
	}
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("%s: who may read it: %w", path, err)
	}
	sddl := "D:P"
	for _, who := range []string{"SY", "BA", "LS", me.User.Sid.String()} {
		sddl += "(A;" + flags + ";FA;;;" + who + ")"
	}
	sd, err := windows.SecurityDescriptorFromString(sddl)
	if err != nil {
		return fmt.Errorf("%s: access list %s: %w", path, sddl, err)
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return fmt.Errorf("%s: access list: %w", path, err)
	}
	err = windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT,
		windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
	if err != nil {
		return fmt.Errorf("%s: access list: %w", path, err)
	}
	return nil
}

// strangers are the groups that anybody who signs in belongs to.
var strangers = [...]windows.WELL_KNOWN_SID_TYPE{
	windows.WinWorldSid, windows.WinAuthenticatedUserSid, windows.WinBuiltinUsersSid, windows.WinBuiltinGuestsSid, windows.WinInteractiveSid,
	windows.WinAnonymousSid,
}

const reads = windows.FILE_READ_DATA | windows.GENERIC_READ | windows.GENERIC_ALL

// private shuts others out of a file, and returns why that cannot be done. What a person puts into a folder of his own
// is open to every user as a rule.
func private(path string, _ os.FileInfo) error {
	if err := keepOut(path); err != nil {
		return fmt.Errorf("%s can be read by every user of this machine: run as administrator icacls \"%s\" /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F *S-1-5-19:F (%w)",
			path, path, err)
	}
	return nil
}

// readableByStrangers reports whether the access list of a file lets anybody read it who signs in to the machine.
func readableByStrangers(path string) (bool, error) {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return false, err
	}
	dacl, _, err := sd.DACL()
	if errors.Is(err, windows.ERROR_OBJECT_NOT_FOUND) || err == nil && dacl == nil { // no list: everybody may do everything
		return true, nil
	}
	if err != nil {
		return false, err
	}
	for i := range dacl.AceCount {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, uint32(i), &ace); err != nil {
			return false, err
		}
		if ace.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE || ace.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0 || ace.Mask&reads == 0 {
			continue
		}
		sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		for _, s := range strangers {
			if sid.IsWellKnown(s) {
				return true, nil
			}
		}
	}
	return false, nil
}
