// Package profiles carries the sample profiles inside the programs, so that a district can be watched before anybody
// has written a file. Each folder beside this file is one profile; collector/profile reads them.
package profiles

import (
	"embed"
	"io/fs"
)

// Default is the name of the profile that is used when none is named.
const Default = "tu-ky-2023"

//go:embed */*.yaml */calendars/*.yaml
var files embed.FS

// Embedded returns the files of one shipped profile, rooted at its folder. The error is for a name that none has.
func Embedded(name string) (fs.FS, error) {
	sub, err := fs.Sub(files, name)
	if err != nil {
		return nil, err
	}
	if _, err := fs.Stat(sub, "units.yaml"); err != nil {
		return nil, err
	}
	return sub, nil
}
