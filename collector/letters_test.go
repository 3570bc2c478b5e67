package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/collector/history"
	"egovmon/collector/intake"
)

var loopStart = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)

// loopPlan is a plan with a loop between mailboxes that are called after their machines.
func loopPlan(t *testing.T, machine string, peers ...string) *plan.Plan {
	t.Helper()
	for i, p := range peers {
		peers[i] = p + "@xa.test"
	}
	p, err := plan.Parse(fmt.Appendf(nil, `plan: d
for: %s
version: 1
issued: 2026-11-23T01:00:00Z
checks:
  - {id: mail.vong, service: mail, kind: mailloop, every: 5m, path: lan, with: {address: 'm.test:587', imap: 'm.test:993', mailbox: %[1]s@xa.test, user: x, password: {secret: x}, key: {secret: k}, each: 1, peers: [%s]}}
`, machine, strings.Join(peers, ", ")), kinds.Table())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// told is a batch with one result of the loop, so many minutes after the start.
func told(machine string, minute int, facts ...check.Fact) intake.Accepted {
	at := loopStart.Add(time.Duration(minute) * time.Minute)
	return intake.Accepted{Machine: machine, Events: []intake.Event{{Observation: &intake.Observation{Kind: "mailloop", Service: "mail",
		Result: check.Result{Check: "mail.vong", Slot: at, Start: at, Took: time.Second, Facts: facts}}}}}
}

func sentAt(minute, serial, first int) []check.Fact {
	return []check.Fact{{Name: "sent_serial", Value: float64(serial)}, {Name: "sent_unix", Value: float64(loopStart.Unix() + int64(minute)*60)},
		{Name: "first_peer_code", Value: float64(first)}, {Name: "refused_count", Value: 0}, {Name: "searched_code", Value: 1}}
}

func searched(found ...check.Fact) []check.Fact {
	return append([]check.Fact{{Name: "searched_code", Value: 1}, {Name: "letters_count", Value: float64(len(found) / 3)}}, found...)
}

func arrived(serial int, transit float64, altered float64) []check.Fact {
	return []check.Fact{{Name: "letter1_serial", Value: float64(serial)}, {Name: "letter1_transit_s", Value: transit}, {Name: "letter1_altered_code", Value: altered}}
}

func planned(machine string, p *plan.Plan) intake.Accepted {
	return intake.Accepted{Machine: machine, Events: []intake.Event{{Plan: &intake.PlanChange{At: loopStart, Plan: p}}}}
}

func TestLettersOfBothEnds(t *testing.T) {
	a, b, c := loopPlan(t, "pc-a", "pc-b", "pc-c"), loopPlan(t, "pc-b", "pc-a"), loopPlan(t, "pc-c", "pc-a")
	begin := intake.Accepted{Machine: "pc-b", Events: []intake.Event{{Begin: &journal.Begin{}}}}
	again := intake.Accepted{Machine: "pc-b", Events: []intake.Event{{Cloned: &intake.Cloned{}}}}
	many := []check.Fact{{Name: "searched_code", Value: 1}, {Name: "letters_count", Value: 9}}
	for _, tt := range []struct {
		name string
		says []intake.Accepted
		now  int
		want []string
	}{
		{"found", []intake.Accepted{told("pc-a", 0, sentAt(0, 7, 1)...), told("pc-b", 5, searched(arrived(7, 2, 0)...)...)}, 10, []string{"pc-a pc-b on_time"}},
		{"the other peer", []intake.Accepted{told("pc-a", 0, sentAt(0, 7, 2)...), told("pc-c", 5, searched(arrived(7, 2, 0)...)...)}, 10, []string{"pc-a pc-c on_time"}},
		{"late", []intake.Accepted{told("pc-a", 0, sentAt(0, 7, 1)...), told("pc-b", 25, searched(arrived(7, 600, 0)...)...)}, 30, []string{"pc-a pc-b late"}},
		{"altered", []intake.Accepted{told("pc-a", 0, sentAt(0, 7, 1)...), told("pc-b", 5, searched(arrived(7, 1, 1)...)...)}, 30, []string{"pc-a pc-b altered"}},
		{"the receiver tells first", []intake.Accepted{told("pc-b", 5, searched(arrived(7, 2, 0)...)...), told("pc-a", 0, sentAt(0, 7, 1)...)}, 10, []string{"pc-a pc-b on_time"}},
		{"under way", []intake.Accepted{told("pc-b", -5, searched()...), told("pc-a", 0, sentAt(0, 7, 1)...), told("pc-b", 30, searched()...)}, 31, []string{"pc-a pc-b waiting"}},
		{"lost", []intake.Accepted{told("pc-b", -5, searched()...), told("pc-a", 0, sentAt(0, 7, 1)...), told("pc-b", 61, searched()...)}, 62, []string{"pc-a pc-b lost"}},
		{"lost, then late", []intake.Accepted{told("pc-b", -5, searched()...), told("pc-a", 0, sentAt(0, 7, 1)...), told("pc-b", 61, searched()...), told("pc-b", 90, searched(arrived(7, 5000, 0)...)...)}, 91, []string{"pc-a pc-b late"}},
		{"the receiver could not search", []intake.Accepted{told("pc-b", -5, searched()...), told("pc-a", 0, sentAt(0, 7, 1)...), told("pc-b", 61, check.Fact{Name: "searched_code", Value: 0})}, 62, []string{"pc-a pc-b unproven"}},
		{"the receiver was started anew", []intake.Accepted{told("pc-b", -5, searched()...), told("pc-a", 0, sentAt(0, 7, 1)...), begin, told("pc-b", 61, searched()...)}, 62, []string{"pc-a pc-b unproven"}},
		{"two receivers on one identity", []intake.Accepted{told("pc-b", -5, searched()...), told("pc-a", 0, sentAt(0, 7, 1)...), again, told("pc-b", 61, searched()...)}, 62, []string{"pc-a pc-b unproven"}},
		{"the receiver has another plan", []intake.Accepted{told("pc-b", -5, searched()...), told("pc-a", 0, sentAt(0, 7, 1)...), planned("pc-b", b), told("pc-b", 61, searched()...)}, 62, []string{"pc-a pc-b unproven"}},
		{"the receiver found more than it tells", []intake.Accepted{told("pc-b", -5, searched()...), told("pc-a", 0, sentAt(0, 7, 1)...), told("pc-b", 30, many...), told("pc-b", 61, searched()...)}, 62, []string{"pc-a pc-b unproven"}},
		{"refused for a peer", []intake.Accepted{told("pc-a", 0, append(sentAt(0, 7, 1)[:3:3], check.Fact{Name: "refused_count", Value: 1})...)}, 90, nil},
		{"older than a day", []intake.Accepted{told("pc-a", 0, sentAt(0, 7, 1)...)}, 25*60 + 1, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, how := range []string{"plans from batches", "plans in force"} {
				var l letters
				plans := map[string]*plan.Plan{"pc-a": a, "pc-b": b, "pc-c": c}
				if how == "plans from batches" {
					for m, p := range plans {
						l.Add(planned(m, p))
					}
					clear(plans)
				}
				for _, x := range tt.says {
					l.Add(x)
				}
				var got []string
				for _, f := range l.Fates(loopStart.Add(time.Duration(tt.now)*time.Minute), func(m string) *plan.Plan { return plans[m] })["mail"] {
					got = append(got, fmt.Sprintf("%s %s %s", f.From, f.To, f.Outcome))
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", how, diff)
				}
			}
		})
	}
}

// A letter goes to the peers of the plan that was in force when it was sent.
func TestLettersOfAnOlderPlan(t *testing.T) {
	var l letters
	l.Add(planned("pc-a", loopPlan(t, "pc-a", "pc-b")))
	l.Add(planned("pc-b", loopPlan(t, "pc-b", "pc-a")))
	l.Add(told("pc-a", 0, sentAt(0, 7, 1)...))
	l.Add(planned("pc-a", loopPlan(t, "pc-a", "pc-c")))
	got := l.Fates(loopStart.Add(time.Minute), func(string) *plan.Plan { return nil })["mail"]
	if len(got) != 1 || got[0].To != "pc-b" || got[0].Outcome != history.LetterWaiting {
		t.Errorf("got %+v", got)
	}
}

// Whatever machines tell, what is kept has its bounds.
func TestLettersAreBounded(t *testing.T) {
	var l letters
	for i := range maxLetters + 100 {
		l.Add(told("pc-a", 0, sentAt(0, i+1, 1)...))
	}
	for i := range maxArrivals + 100 {
		l.Add(told("pc-b", 0, searched(arrived(maxLetters*2+i, 1, 0)...)...))
	}
	if len(l.sent) != maxLetters || len(l.receivers["pc-b"].Found) != maxArrivals {
		t.Errorf("%d sent, %d found", len(l.sent), len(l.receivers["pc-b"].Found))
	}
	l.Fates(loopStart.Add(48*time.Hour), func(string) *plan.Plan { return nil })
	if len(l.sent) != 0 || len(l.receivers["pc-b"].Found) != 0 {
		t.Errorf("after two days %d sent, %d found", len(l.sent), len(l.receivers["pc-b"].Found))
	}
}
