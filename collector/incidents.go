package main

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"egovmon/collector/access"
	"egovmon/collector/alert"
	"egovmon/collector/history/index"
	"egovmon/collector/incident"
	"egovmon/collector/profile"
	"egovmon/collector/verdict"
)

const (
	incidentDir  = "incidents"
	alertDir     = "alerts"
	observeEvery = 2 * time.Second
	observeBack  = 24 * time.Hour // how far the beginning of a fault is looked for
)

// openAlerts opens what tells people: the incidents, as the log has them, and the outbox.
func (c *center) openAlerts(ctx context.Context) (err error) {
	if err := c.config.Alert.Check(); err != nil {
		return err
	}
	var told *alert.Sender
	c.incidents, err = incident.Open(ctx, incident.Options{Dir: filepath.Join(c.dir, incidentDir), Log: c.store, Now: c.now, Logger: c.log,
		Model: c.model(), Policy: incident.Policy{Lateness: hold(c.district()), FlapWindow: c.config.Incidents.FlapWindow, Silence: c.config.Incidents.Silence},
		Changed: func() {
			if told != nil {
				told.Wake()
			}
		}})
	if err != nil {
		return err
	}
	told, err = alert.New(alert.Options{Dir: filepath.Join(c.dir, alertDir), Config: c.config.Alert, Incidents: c.incidents.All,
		Profile: c.district, Escalated: c.escalated, Held: c.held, Now: c.now, Logger: c.log})
	if c.alerts = told; err != nil {
		return err
	}
	return c.openWatcher()
}

// escalated records, once for each step, that an incident was taken to the next step of the roster.
func (c *center) escalated(ctx context.Context, id string, step profile.Name) {
	i, ok := c.incidents.Find(id)
	if !ok || slices.ContainsFunc(i.Life.Entries, func(e incident.Entry) bool {
		return e.What == incident.Escalated && e.User == access.Program && e.To == step.VI
	}) {
		return
	}
	if err := c.incidents.Act(ctx, id, incident.Act{What: incident.Escalated, User: access.Program, To: step.VI}); err != nil {
		c.log.Error("that an incident is taken a step further is not recorded", "incident", id, "err", err)
	}
}

// model returns how the votes pass, worked out at most once a minute.
func (c *center) model() func(now time.Time) verdict.Model {
	var of *profile.Profile
	var made time.Time
	var m verdict.Model
	return func(now time.Time) verdict.Model {
		if p := c.district(); p != of || now.Sub(made).Abs() >= termsFor {
			of, made, m = p, now, verdict.FromProfile(p, now).Learn(c.learned.list(p, now))
		}
		return m
	}
}

// observe judges every few seconds how services stand.
func (c *center) observe(ctx context.Context) error {
	t := time.NewTicker(observeEvery)
	defer t.Stop()
	src := &source{c: c}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		now, p := c.now(), c.district()
		cat, _ := src.standing(p, now)
		standings, err := c.index.Now(ctx, cat, index.Moment{At: now, Back: observeBack, Hold: hold(p)})
		if err == nil {
			err = c.incidents.Observe(ctx, now, verdicts(standings))
		}
		if err == nil {
			c.judged.Store(now.Unix())
		}
		if err != nil && ctx.Err() == nil {
			c.log.Error("incidents cannot be judged", "err", err)
		}
	}
}

func verdicts(standings []index.Standing) []verdict.Standing {
	out := make([]verdict.Standing, 0, len(standings))
	for _, s := range standings {
		out = append(out, verdict.Standing{Service: s.Service, Unit: s.Unit, State: s.State, Reason: s.Reason, Since: s.Since, Last: s.Last})
	}
	return out
}
