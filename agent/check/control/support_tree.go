package control

import (
	"context"
	"fmt"
	"io/fs"
	"time"
)

// release reads os-release(5).
func (t *tree) release(context.Context) (release, error) {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		text, err := t.text(name)
		if err != nil {
			return release{}, fmt.Errorf("the version of the system: %w", bare(err))
		}
		id := releaseName(setting(text, "ID") + " " + setting(text, "VERSION_ID"))
		if id == "" {
			continue
		}
		v := release{names: []string{id}}
		if variant := setting(text, "VARIANT_ID"); variant != "" {
			v.names = []string{releaseName(id + " " + variant), id}
		}
		v.end, _ = time.Parse(time.DateOnly, setting(text, "SUPPORT_END"))
		return v, nil
	}
	return release{}, fmt.Errorf("the version of the system: %w", fs.ErrNotExist)
}

// release reads the build of Windows, and whether it is a server: both count their builds alike.
func (s *station) release(context.Context) (release, error) {
	build, err := s.registry.Text(keyWindows, "CurrentBuildNumber")
	if err != nil {
		return release{}, fmt.Errorf("the build of Windows: %w", err)
	}
	name := "windows " + build
	if kind, err := s.registry.Text(keyWindows, "InstallationType"); err == nil && len(kind) >= 6 && kind[:6] == "Server" {
		name = "windows server " + build
	}
	v := release{names: []string{releaseName(name)}}
	if edition, err := s.registry.Text(keyWindows, "EditionID"); err == nil && edition != "" {
		v.names = []string{releaseName(name + " " + edition), releaseName(name)}
	}
	return v, nil
}
