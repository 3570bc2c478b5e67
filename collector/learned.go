package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/collector/intake"
	"egovmon/collector/profile"
	"egovmon/collector/verdict"
)

// Bounds of what is learned.
const (
	learnedFor = 7 * 24 * time.Hour // what no success has said again for so long is forgotten; an outage lasts less
	maxLearned = 200_000            // checks of units: three times the national case
)

// learned keeps what successful checks said of the way to their services: at which address they ended, and who issued the
// certificate, both as the numbers that the agents report. A check that fails says nothing of it: what answers in a
// broken service's place is not the service. The zero value is ready.
type learned struct {
	mu   sync.Mutex
	last map[learnedKey]learnedWay
}

// A learnedKey is a check as one unit has it.
type learnedKey struct{ unit, service, check string }

type learnedWay struct {
	slot            time.Time
	address, issuer uint64 // 0 for none
}

// Add takes what a batch says of ways.
func (l *learned) Add(a intake.Accepted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = map[learnedKey]learnedWay{}
	}
	for _, e := range a.Events {
		o := e.Observation
		// On a unit's own network an address means another machine for each unit; of a DNS server over TLS the facts say
		// nothing of the name that was asked for.
		if o == nil || o.State != check.Up && o.State != check.Degraded || o.ClockUnproven || o.Path == plan.LAN || o.Kind == "dns" {
			continue
		}
		address, _ := o.Facts.Get("address_code")
		issuer, _ := o.Facts.Get("issuer_code")
		if address <= 0 && issuer <= 0 {
			continue
		}
		k := learnedKey{a.UnitAt(o.Slot), o.Service, o.Check}
		old, ok := l.last[k]
		if ok && o.Slot.Before(old.slot) || !ok && len(l.last) >= maxLearned {
			continue
		}
		l.last[k] = learnedWay{o.Slot, uint64(address), uint64(issuer)}
	}
}

// list returns what was learned of the deciding checks of a profile's services, and forgets what is too old.
func (l *learned) list(p *profile.Profile, now time.Time) []verdict.Learned {
	deciding := map[string]bool{}
	for _, s := range p.ServicesAt(now) {
		for _, id := range s.Deciding() {
			deciding[id] = true
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.last, func(_ learnedKey, w learnedWay) bool { return now.Sub(w.slot) > learnedFor })
	var out []verdict.Learned
	for _, k := range slices.SortedFunc(maps.Keys(l.last), func(a, b learnedKey) int { return strings.Compare(a.check+" "+a.unit, b.check+" "+b.unit) }) {
		if w := l.last[k]; deciding[k.check] {
			out = append(out, verdict.Learned{Service: k.service, Unit: k.unit, Address: codeName(w.address), Issuer: codeName(w.issuer)})
		}
	}
	return out
}

// codeName writes a number of 48 bits as people compare it; "" for 0.
func codeName(code uint64) string {
	if code == 0 {
		return ""
	}
	return fmt.Sprintf("%012x", code)
}
