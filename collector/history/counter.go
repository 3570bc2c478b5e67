package history

import "egovmon/agent/check"

// A Readiness says whether citizens can be received at a one-stop-shop counter (quầy một cửa). The zero value is none.
type Readiness string

// The readiness of a counter.
const (
	Ready   Readiness = "ready"   // Sẵn sàng: everything it needs works
	Limited Readiness = "limited" // Hạn chế: something is lost, without which part of the work goes on
	Stopped Readiness = "stopped" // Ngừng tiếp nhận: something is lost without which nobody can be received
	Unclear Readiness = "unclear" // Không xác định: nothing is known to be lost, and not everything is known to work
)

// A Need is one service that a counter needs.
type Need struct {
	Service string
	Vital   bool // without it nobody can be received
}

// A CounterState is how a counter stands, and why.
type CounterState struct {
	Readiness Readiness
	Lost      []string // services that are down
	Unknown   []string // services whose state is not known, or that nobody measures
}

// Counter judges a counter by the states of the services that it needs, as its own unit has them. A degraded service
// still works; what is not known is never taken for working, nor for lost.
func Counter(needs []Need, states map[string]check.State) CounterState {
	c := CounterState{Readiness: Ready}
	for _, n := range needs {
		switch states[n.Service] {
		case check.Down:
			c.Lost = append(c.Lost, n.Service)
			if n.Vital {
				c.Readiness = Stopped
			}
		case check.Unknown:
			c.Unknown = append(c.Unknown, n.Service)
		}
	}
	switch {
	case c.Readiness == Stopped:
	case len(c.Lost) > 0:
		c.Readiness = Limited
	case len(c.Unknown) > 0 || len(needs) == 0:
		c.Readiness = Unclear
	}
	return c
}
