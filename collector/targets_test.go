package main

import (
	"slices"
	"testing"
	"time"

	"egovmon/collector/board"
	"egovmon/collector/profile"
	"egovmon/deploy/profiles"
)

// The board is told every target of today with its basis, and of no other service that it has one.
func TestServiceTargets(t *testing.T) {
	for _, name := range []string{"tu-ky-2023", "hai-phong-2025"} {
		fsys, err := profiles.Embedded(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := profile.Load(fsys)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 6, 1, 9, 0, 0, 0, profile.Zone())
		told := 0
		for _, svc := range p.ServicesAt(at) {
			got := service(p, &svc, at).Targets
			told += len(got)
			if got == nil && slices.ContainsFunc(p.Targets, func(x profile.Target) bool { return x.Service == svc.ID && x.Valid.CoversTime(at) }) {
				t.Errorf("%s: the target of %s is not told", name, svc.ID)
			}
			if svc.ID == "tthc" && !slices.Equal(got, []board.Target{{Calendar: "service_hours", Objective: 0.995, Basis: "mục tiêu nội bộ"}, {Calendar: "24x7", Objective: 0.99, Basis: "mục tiêu nội bộ"}}) {
				t.Errorf("%s: targets of tthc: %+v", name, got)
			}
		}
		in := slices.DeleteFunc(slices.Clone(p.Targets), func(x profile.Target) bool {
			_, there := p.Service(x.Service, at)
			return !there || !x.Valid.CoversTime(at)
		})
		if told != len(in) {
			t.Errorf("%s: %d targets are told, of %d", name, told, len(in))
		}
	}
}
