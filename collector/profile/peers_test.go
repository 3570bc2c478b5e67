package profile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check/kinds"
	"egovmon/agent/plan"
)

const loopOf = `      - {id: second, kind: mailloop, every: 10m, path: lan, with: {address: "mail.test:587", imap: "mail.test:993", mailbox: "${box}", user: "${box}", password: {secret: box}, key: {secret: loop}, peers: "${loop.peers}"}}
`

// looped is the small district with a loop of letters between machines that have these mailboxes, each in a unit.
func looped(t *testing.T, machines int, without ...int) *Profile {
	t.Helper()
	var ms, units, boxes strings.Builder
	for i := range machines {
		fmt.Fprintf(&units, "  - {id: u%02d, kind: xa, names: [{vi: U, en: U}], parents: [{unit: d}], valid_from: 2023-01-01, source: s, verified: true}\n", i)
		fmt.Fprintf(&ms, "  - {id: l-%02d, unit: u%02d, role: probe, duties: [thu], valid_from: 2023-01-01, source: s, verified: true}\n", i, i)
		if !slices.Contains(without, i) {
			fmt.Fprintf(&boxes, "{unit: u%02d, value: \"l%02d@xa.test\"}, ", i, i)
		}
	}
	return loaded(t, edit{"units.yaml", "succeeds:\n", units.String() + "succeeds:\n"}, edit{"machines.yaml", "machines:\n", "machines:\n" + ms.String()},
		edit{"parameters.yaml", "parameters:\n", "parameters:\n  - {id: box, values: [" + strings.TrimSuffix(boxes.String(), ", ") + "], valid_from: 2023-01-01, source: s, verified: true}\n"},
		edit{"services.yaml", "watch: role:any", "watch: role:thu"},
		edit{"services.yaml", "      - {id: second, kind: gateway, every: 30s, path: lan}\n", loopOf})
}

// peersOf reads the peers out of a machine's plan, which an agent takes.
func peersOf(t *testing.T, p *Profile, machine string, at time.Time) []string {
	t.Helper()
	text, _, err := p.PlanFor(machine, at, map[string]string{"own.agents": "127.0.0.1:1"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := plan.Parse(text, kinds.Table())
	if err != nil {
		t.Fatal(err)
	}
	c, ok := parsed.Check("lan.second")
	if !ok {
		return nil
	}
	return c.Options.Strings("peers")
}

func box(i int) string { return fmt.Sprintf("l%02d@xa.test", i) }

func TestPeersRotate(t *testing.T) {
	const machines = 11
	p := looped(t, machines)
	ever := map[string]map[string]bool{}
	for week := range (machines + loopEach) / loopEach {
		at := on(t, "2024-06-03").AddDate(0, 0, 7*week)
		peerOf := map[string]int{}
		for i := range machines {
			got := peersOf(t, p, fmt.Sprintf("l-%02d", i), at)
			if len(got) != loopEach || slices.Contains(got, box(i)) {
				t.Fatalf("week %d, machine %d: %v", week, i, got)
			}
			if sunday := peersOf(t, p, fmt.Sprintf("l-%02d", i), at.AddDate(0, 0, 6)); !slices.Equal(got, sunday) {
				t.Errorf("they change within week %d: %v, %v", week, got, sunday)
			}
			for _, b := range got {
				peerOf[b]++
				if ever[box(i)] == nil {
					ever[box(i)] = map[string]bool{}
				}
				ever[box(i)][b] = true
			}
		}
		for b, n := range peerOf {
			if n != loopEach {
				t.Errorf("week %d: %s is the peer of %d machines, want %d", week, b, n, loopEach)
			}
		}
	}
	for b, others := range ever {
		if len(others) != machines-1 {
			t.Errorf("%s has sent to %d others in the end, want %d", b, len(others), machines-1)
		}
	}
}

func TestFewPeers(t *testing.T) {
	at := on(t, "2024-06-05")
	tests := []struct {
		name     string
		machines int
		without  []int
		want     []string // of the first machine, sorted
	}{
		{"alone", 1, nil, nil},
		{"two", 2, nil, []string{box(1)}},
		{"three", 3, nil, []string{box(1), box(2)}},
		{"some without a mailbox", 7, []int{1, 2, 4}, []string{box(3), box(5), box(6)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := looped(t, tt.machines, tt.without...)
			got := slices.Sorted(slices.Values(peersOf(t, p, "l-00", at)))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, i := range tt.without {
				if got := peersOf(t, p, fmt.Sprintf("l-%02d", i), at); got != nil {
					t.Errorf("a machine without a mailbox has a plan for it: %v", got)
				}
			}
		})
	}
}

// Plans are made anew on Mondays for the peers alone, and not at all where there are none.
func TestNextPlan(t *testing.T) {
	at := on(t, "2024-06-05") // a Wednesday
	if got := DateOf(looped(t, 2).NextPlan(at)).String(); got != "2024-06-10" {
		t.Errorf("with a loop: %s", got)
	}
	p := loaded(t)
	if got, want := p.NextPlan(at), p.NextChange(at); !got.Equal(want) {
		t.Errorf("without: %s, want %s", got, want)
	}
	if got := DateOf(looped(t, 2).NextPlan(on(t, "2024-06-09"))).String(); got != "2024-06-10" {
		t.Errorf("on Sunday: %s", got)
	}
	if got := DateOf(looped(t, 2).NextPlan(on(t, "2024-06-10"))).String(); got != "2024-06-17" {
		t.Errorf("on Monday: %s", got)
	}
}

// Two machines with one mailbox count as one peer, and none sends to its own.
func TestPeersWithOneMailbox(t *testing.T) {
	p := looped(t, 4)
	for i := range p.Parameters {
		for j := range p.Parameters[i].Values {
			v := &p.Parameters[i].Values[j]
			if p.Parameters[i].ID == "box" && (v.Unit == "u02" || v.Unit == "u03") {
				v.Value = map[string]string{"u02": box(1), "u03": box(0)}[v.Unit]
			}
		}
	}
	if got := peersOf(t, p, "l-00", on(t, "2024-06-05")); !slices.Equal(got, []string{box(1)}) {
		t.Errorf("got %v, want %s alone", got, box(1))
	}
}
