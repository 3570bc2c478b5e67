package control

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"egovmon/agent/check"
)

var record = flag.String("record", "", "write what the kernel says of the firewall in this network namespace to a file, for testdata/nft")

// recorded plays back a file that -record wrote: per line the kind of request and one datagram of the answer in hex.
func recorded(t *testing.T, name string) []nftChain {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "nft", name))
	if err != nil {
		t.Fatal(err)
	}
	chains, err := collect(func(kind uint16, f func([]byte) (bool, error)) error {
		s := bufio.NewScanner(strings.NewReader(string(b)))
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			if k, data, _ := strings.Cut(s.Text(), " "); k == fmt.Sprint(kind) {
				datagram, err := hex.DecodeString(data)
				if err != nil {
					return err
				}
				if done, err := f(datagram); done || err != nil {
					return err
				}
			}
		}
		return s.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return chains
}

func TestRecord(t *testing.T) {
	if *record == "" {
		t.Skip("writes a recording only with -record FILE, as root, in the network namespace to be recorded")
	}
	f, err := os.Create(*record)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []uint16{unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETRULE} {
		err := ask(t.Context(), kind, func(b []byte) (bool, error) {
			fmt.Fprintf(f, "%d %x\n", kind, b)
			return messages(b, func(uint16, byte, []byte) error { return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRecordedRules judges what real kernels said of rulesets that nft and iptables-nft had loaded.
func TestRecordedRules(t *testing.T) {
	tests := []struct {
		file       string
		ip4, ip6   bool
		reason     check.Reason
		reasonNoV6 check.Reason
	}{
		{"empty", false, false, check.ControlFail, check.ControlFail},
		{"debian-default", false, false, check.ControlFail, check.ControlFail},
		{"nft-drop", true, true, check.OK, check.OK},
		{"nft-ip-only", true, false, check.ControlPartial, check.OK},
		{"nft-last-rule", true, true, check.OK, check.OK},
		{"nft-jump", true, true, check.OK, check.OK},
		{"nft-accept-first", false, false, check.ControlFail, check.ControlFail},
		{"fail2ban", false, false, check.ControlFail, check.ControlFail},
		{"forward-only", false, false, check.ControlFail, check.ControlFail},
		{"firewalld", true, true, check.OK, check.OK},
		{"ufw", true, true, check.OK, check.OK},
		{"iptables-reject", true, false, check.ControlPartial, check.OK},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			chains := recorded(t, tt.file)
			if ip4, ip6 := closes(chains); ip4 != tt.ip4 || ip6 != tt.ip6 {
				t.Errorf("closed: IPv4 %v, IPv6 %v; want %v, %v\n%+v", ip4, ip6, tt.ip4, tt.ip6, chains)
			}
			for inet6, want := range map[string]check.Reason{
				"fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n": tt.reason,
				"00000000000000000000000000000001 01 80 10 80       lo\n": tt.reasonNoV6,
			} {
				tr := tree{root: fstest.MapFS{"proc/net/if_inet6": {Data: []byte(inet6)}}, chains: gives(chains, nil)}
				if r := judged(t, tr.system(), check.Options{"id": "m04", "proof": "rules"}); r.Reason != want {
					t.Errorf("%s %q, want %s with addresses %q", r.Reason, r.Detail, want, inet6)
				}
			}
		})
	}
}

// TestAskKernel asks the running kernel; without the right to, it says so.
func TestAskKernel(t *testing.T) {
	chains, err := readChains(t.Context())
	if err != nil {
		if r := unread(err); r.Reason != check.NoPermission {
			t.Errorf("%v: %s", err, r.Reason)
		}
		return
	}
	t.Logf("%d chains", len(chains))
}

// FuzzMessages reads answers that no kernel gives.
func FuzzMessages(f *testing.F) {
	files, err := filepath.Glob("testdata/nft/*")
	if err != nil || len(files) == 0 {
		f.Fatal("no recordings", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			_, data, _ := strings.Cut(strings.TrimSpace(line), " ")
			datagram, err := hex.DecodeString(data)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(datagram)
		}
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		chains, _ := collect(func(_ uint16, f func([]byte) (bool, error)) error {
			_, err := f(b)
			return err
		})
		closes(chains)
	})
}
