package control

import (
	"testing"

	"egovmon/agent/check"
)

// BenchmarkControls runs each control once on this machine.
func BenchmarkControls(b *testing.B) {
	for _, id := range ids() {
		o := check.Options{"id": id}
		switch id {
		case listeningPorts:
			o["allowed_ports"] = []string{}
		case backupAge:
			o["path"] = b.TempDir()
		}
		f, err := controlKind().New(o, check.Env{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(id, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f(b.Context())
			}
		})
	}
}
