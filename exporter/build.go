package exporter

import (
	"runtime"
	"runtime/debug"
	"time"
)

// Set by the linker: -ldflags "-X egovmon/exporter.version=1.2.3 -X egovmon/exporter.built=2026-11-23T01:00:00Z".
var (
	version = "dev"
	built   = "2026-11-01T00:00:00Z" // no clock that shows an earlier time is plausible
)

// A Build says which program this is.
type Build struct {
	Version  string    // as released, "dev" when built from a checkout
	Revision string    // of the source, "" when unknown
	Date     time.Time // UTC; the programs do not believe a clock that shows an earlier time
	Go       string    // version of the Go toolchain
}

// ThisBuild returns what the linker was told.
func ThisBuild() Build {
	b := Build{Version: version, Go: runtime.Version()}
	b.Date, _ = time.Parse(time.RFC3339, built)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
	}
	return b
}

// String returns one line for --version and the journal.
func (b Build) String() string {
	s := "egovmon " + b.Version
	if b.Revision != "" {
		s += " (" + b.Revision + ")"
	}
	return s + " " + b.Go
}
