package machine

import (
	"context"
	"strings"

	psdisk "github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/mem"
	"golang.org/x/sys/windows/registry"
)

// readAsset reads what the firmware left in the registry. The serial number needs a table of the firmware that this program does
// not read.
func readAsset(ctx context.Context) (asset, error) {
	const bios, current = `HARDWARE\DESCRIPTION\System\BIOS`, `SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	a := asset{Maker: brief(text(bios, "SystemManufacturer")), Model: brief(text(bios, "SystemProductName")), Links: hardwareLinks()}
	a.System = brief(strings.Join([]string{text(current, "ProductName"), text(current, "DisplayVersion"), text(current, "CurrentBuildNumber")}, " "))
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		a.Memory = m.Total
	}
	// The drives of the machine's own disks, which is less than the disks have by what belongs to no drive.
	if parts, err := psdisk.PartitionsWithContext(ctx, false); err == nil {
		for _, p := range parts {
			if u, err := psdisk.UsageWithContext(ctx, usagePath(p.Mountpoint)); err == nil && ctx.Err() == nil {
				a.Disks += u.Total
			}
		}
	}
	return a, nil
}

// text is a text of the registry below HKEY_LOCAL_MACHINE; "" when it is not there or of another type.
func text(key, name string) string {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, key, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return ""
	}
	defer k.Close()
	s, _, err := k.GetStringValue(name)
	if err != nil {
		return ""
	}
	return s
}
