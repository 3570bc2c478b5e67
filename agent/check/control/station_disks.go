package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// encryption asks BitLocker about the drive of the system, which administrators alone may.
func (s *station) encryption(ctx context.Context) (bool, error) {
	rows, err := s.ask(ctx, `root\CIMV2\Security\MicrosoftVolumeEncryption`, "Win32_EncryptableVolume", "DriveLetter", "ProtectionStatus")
	if err != nil {
		return false, fmt.Errorf("BitLocker: %w", err)
	}
	drive := s.variables("SystemDrive")
	for _, r := range rows {
		letter, err := r.text("DriveLetter") // none for a volume without a letter
		if err != nil || drive == "" || !strings.EqualFold(letter, drive) {
			continue
		}
		state, err := r.number("ProtectionStatus")
		if err != nil {
			return false, fmt.Errorf("BitLocker: %w", err)
		}
		switch state {
		case 0: // off, or the key stands open on the disk
			return false, nil
		case 1:
			return true, nil
		}
		return false, fmt.Errorf("BitLocker does not know whether the system's drive is protected: %w", errors.ErrUnsupported)
	}
	return false, fmt.Errorf("BitLocker says nothing of the system's drive: %w", fs.ErrNotExist)
}

// power is what feeds the machine (GetSystemPowerStatus, SYSTEM_POWER_CAPABILITIES).
type power struct {
	battery   bool // there is one
	shortTerm bool // it is a UPS, not what a laptop runs on
	line      byte // 0 off, 1 on, 255 not known
	percent   byte // 0–100; 255 not known
}

// upkeep asks for the health that disks report of themselves, the UPS, and how the runs before ended.
func (s *station) upkeep(ctx context.Context) (upkeep, error) {
	const off, nearlyEmpty = 0, 20
	v := upkeep{verdict: true}
	v.diskless = s.disks(ctx, &v)
	if s.supply != nil {
		p, err := s.supply()
		if err != nil {
			return upkeep{}, fmt.Errorf("the power supply: %w", err)
		}
		if p.battery && p.shortTerm {
			v.ups = 1
			v.battery = p.line == off
			v.low = v.battery && p.percent < nearlyEmpty
		}
	}
	v.ends, v.unknown = s.endings(ctx)
	return v, nil
}

// disks takes the health of the disks from the storage service, or else from what their drivers say.
func (s *station) disks(ctx context.Context, v *upkeep) error {
	rows, err := s.ask(ctx, `root\Microsoft\Windows\Storage`, "MSFT_PhysicalDisk", "HealthStatus")
	if err == nil {
		for _, r := range rows {
			health, err := r.number("HealthStatus")
			if err != nil {
				return fmt.Errorf("MSFT_PhysicalDisk: %w", err)
			}
			if health > 2 {
				continue // 5: not known
			}
			v.disks++
			v.faulty += int(yes01(health != 0)) // 1 warning, 2 not healthy
		}
	}
	if v.disks > 0 {
		return nil
	}
	rows, err2 := s.ask(ctx, `root\CIMV2`, "Win32_DiskDrive", "Status")
	if err2 != nil {
		return errors.Join(err, err2)
	}
	for _, r := range rows {
		status, err := r.text("Status")
		if err != nil || status == "" || status == "Unknown" {
			continue
		}
		v.disks++
		v.faulty += int(yes01(status != "OK")) // Pred Fail, Degraded, Error and others
	}
	if v.disks == 0 {
		return fmt.Errorf("no disk says how it is: %w", errors.ErrUnsupported)
	}
	return nil
}
