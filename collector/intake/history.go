package intake

import (
	"time"

	"egovmon/agent/check"
	"egovmon/collector/history"
)

// History returns what the accounts need of a batch.
func (a Accepted) History() history.Batch {
	b := history.Batch{Leaf: a.Leaf, Machine: a.Machine, Unit: a.Unit, Journal: a.Header.Journal}
	for _, e := range a.Events {
		switch {
		case e.Observation != nil:
			o := e.Observation
			r := o.Reason
			if o.ClockUnproven {
				r = check.ClockUnproven
			}
			b.Events = append(b.Events, history.Event{Observation: &history.Observation{Check: o.Check, Start: o.Start, From: o.From, To: o.To, Reason: r}})
		case e.Range != nil:
			b.Events = append(b.Events, history.Event{Range: e.Range})
		case e.Plan != nil:
			p := history.Plan{At: e.Plan.At, SHA256: e.Plan.Plan.Hash(), Version: e.Plan.Plan.Version}
			for _, ch := range e.Plan.Plan.Checks {
				p.Checks = append(p.Checks, history.Check{ID: ch.ID, Service: ch.Service, Kind: ch.Kind, Path: ch.Path, Every: int64(ch.Every / time.Second)})
			}
			b.Events = append(b.Events, history.Event{Plan: &p})
		case e.Begin != nil:
			b.Events = append(b.Events, history.Event{Begin: &history.Begin{At: e.Begin.At, Previous: e.Begin.PreviousJournal}})
		case e.Cloned != nil:
			b.Events = append(b.Events, history.Event{Cloned: &history.Cloned{From: e.Cloned.From, To: e.Cloned.To}})
		case e.End != nil:
			b.Events = append(b.Events, history.Event{End: &history.End{At: e.End.At, Reason: stopped(e.End.Cause)}})
		}
	}
	return b
}

// stopped is why nothing is measured after an end; "" where the agent goes on in another journal.
func stopped(cause string) check.Reason {
	switch cause {
	case "stop":
		return check.MissedStopped
	case "shutdown":
		return check.MissedShutdown
	default:
		return ""
	}
}
