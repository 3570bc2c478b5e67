package machine

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestLinkAt(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		flags net.Flags
		want  link
	}{
		{"a card", map[string]string{"carrier": "1\n", "speed": "1000\n", "device/x": ""}, net.FlagUp, link{name: "eth0", up: true, hardware: true, bps: 1e9}},
		{"no cable", map[string]string{"carrier": "0\n", "speed": "-1\n", "device/x": ""}, net.FlagUp, link{name: "eth0", hardware: true}},
		{"a tunnel", nil, net.FlagUp, link{name: "eth0", up: true}},
		{"switched off", nil, 0, link{name: "eth0"}},
		{"nonsense", map[string]string{"carrier": "x", "speed": "fast"}, net.FlagUp, link{name: "eth0"}},
		{"a speed of all ones", map[string]string{"speed": "4294967295"}, net.FlagUp, link{name: "eth0", up: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tt.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := linkAt(dir, net.Interface{Name: "eth0", Flags: tt.flags}); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
