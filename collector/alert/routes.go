package alert

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"egovmon/collector/profile"
)

// Names in the configuration that [Routes] writes.
const (
	routeNobody   = "nobody"
	routeWatchdog = "watchdog"
	routeUnits    = "don-vi"
	routeCentre   = "ky-thuat"
	officePrefix  = "office-"
	placeholder   = "dia-chi@huyen.example" // to be replaced: the profile has no contact
	hookExample   = "http://127.0.0.1:9095/"
)

// The parts of a configuration of Alertmanager that are written, in its own words.
type (
	amConfig struct {
		Global        map[string]any `yaml:"global"`
		Route         amRoute        `yaml:"route"`
		InhibitRules  []amInhibit    `yaml:"inhibit_rules"`
		Receivers     []amReceiver   `yaml:"receivers"`
		TimeIntervals []amNamed      `yaml:"time_intervals"`
	}
	amRoute struct {
		Matchers       []string  `yaml:"matchers,omitempty,flow"`
		Receiver       string    `yaml:"receiver"`
		GroupBy        []string  `yaml:"group_by,omitempty,flow"`
		GroupWait      string    `yaml:"group_wait,omitempty"`
		GroupInterval  string    `yaml:"group_interval,omitempty"`
		RepeatInterval string    `yaml:"repeat_interval,omitempty"`
		Active         []string  `yaml:"active_time_intervals,omitempty,flow"`
		Routes         []amRoute `yaml:"routes,omitempty"`
	}
	amInhibit struct {
		Source []string `yaml:"source_matchers,flow"`
		Target []string `yaml:"target_matchers,flow"`
		Equal  []string `yaml:"equal,omitempty,flow"`
	}
	amReceiver struct {
		Name    string           `yaml:"name"`
		Email   []map[string]any `yaml:"email_configs,omitempty"`
		Webhook []map[string]any `yaml:"webhook_configs,omitempty"`
	}
	amNamed struct {
		Name      string       `yaml:"name"`
		Intervals []amInterval `yaml:"time_intervals"`
	}
	amInterval struct {
		Times  []amTimes `yaml:"times"`
		Days   []string  `yaml:"days_of_month,flow"`
		Months []string  `yaml:"months,flow"`
		Years  []string  `yaml:"years,flow"`
	}
	amTimes struct {
		Start string `yaml:"start_time"`
		End   string `yaml:"end_time"`
	}
)

// Routes writes a configuration for an Alertmanager that gets the alerts of the rules shipped in
// deploy/prometheus: routes by owning office and severity, and the office hours of a profile's calendars, with seasons,
// holidays, substitute and make-up days, as time intervals, for days from first on, before last. They are in UTC, so that no data
// of time zones is needed. What the profile has no address for stands there as an example, to be replaced.
func Routes(p *profile.Profile, now time.Time, hours string, first, last profile.Date) ([]byte, error) {
	intervals := workingIntervals(p, hours, first, last)
	if len(intervals) == 0 {
		return nil, fmt.Errorf("the calendars of the profile have no hours %q between %s and %s", hours, first, last)
	}
	active := []string{hours}
	c := amConfig{
		Global: map[string]any{"smtp_smarthost": "127.0.0.1:25", "smtp_from": "egovmon@huyen.example", "smtp_require_tls": false},
		Route:  amRoute{Receiver: routeCentre, GroupBy: []string{"alertname", "service", "unit"}, GroupWait: "30s", GroupInterval: "5m", RepeatInterval: "12h"},
		InhibitRules: []amInhibit{
			{Source: []string{`alertname="EgovServiceDown"`}, Target: []string{`alertname=~"EgovServiceDegraded|EgovServiceUnknown|EgovErrorBudgetFastBurn|EgovObjectiveAtRisk"`}, Equal: []string{"service"}},
			{Source: []string{`alertname="EgovAgentFleetSilent"`}, Target: []string{`alertname=~"EgovAgentSilent|EgovUnitOffline|EgovServiceUnknown|EgovCoverageLow"`}},
			{Source: []string{`alertname="EgovUnitOffline"`}, Target: []string{`alertname="EgovAgentSilent"`}, Equal: []string{"unit"}},
		},
		Receivers:     []amReceiver{{Name: routeNobody}, {Name: routeWatchdog, Webhook: hook(hookExample+routeWatchdog, false)}, receiver(routeCentre, nil, now, false), receiver(routeUnits, nil, now, false)},
		TimeIntervals: []amNamed{{hours, intervals}},
	}
	both := func(matchers []string, to string) []amRoute {
		return []amRoute{{Matchers: append(slices.Clone(matchers), `severity="page"`), Receiver: to, RepeatInterval: "4h"},
			{Matchers: append(slices.Clone(matchers), `severity="ticket"`), Receiver: to, RepeatInterval: "24h", Active: active}}
	}
	c.Route.Routes = append(c.Route.Routes, amRoute{Matchers: []string{`role="calendar"`}, Receiver: routeNobody},
		amRoute{Matchers: []string{`role="watchdog"`}, Receiver: routeWatchdog, GroupWait: "0s", GroupInterval: "1m", RepeatInterval: "1m"})
	byOffice := map[string][]string{}
	var offices []string
	for _, s := range p.ServicesAt(now) {
		if byOffice[s.Owner] == nil {
			offices = append(offices, s.Owner)
		}
		byOffice[s.Owner] = append(byOffice[s.Owner], s.ID)
	}
	slices.Sort(offices)
	for _, id := range offices {
		o, ok := p.Office(id, now)
		var contacts []profile.Contact
		if ok {
			contacts = o.Contacts
		}
		if slices.Contains(byOffice[id], ByMail) { // what is told of mail does not go by mail
			c.Receivers = append(c.Receivers, receiver(officePrefix+id+"-not-by-mail", contacts, now, true))
			c.Route.Routes = append(c.Route.Routes, both([]string{`service="` + ByMail + `"`}, officePrefix+id+"-not-by-mail")...)
		}
		c.Receivers = append(c.Receivers, receiver(officePrefix+id, contacts, now, false))
		c.Route.Routes = append(c.Route.Routes, both([]string{`service=~"` + strings.Join(byOffice[id], "|") + `"`}, officePrefix+id)...)
	}
	c.Route.Routes = append(c.Route.Routes, both([]string{`role="unit"`}, routeUnits)...)
	c.Route.Routes = append(c.Route.Routes, both(nil, routeCentre)...)
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Made by `collector alertmanager` from a district's profile: the days of %s up to %s, working hours %q, in UTC.\n"+
		"# Make it anew when the calendars change, and each year. Put addresses in place of those that end in .example.\n", first, last-1, hours)
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(c); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// receiver tells the contacts in force; an example where there are none.
func receiver(name string, contacts []profile.Contact, now time.Time, notByMail bool) amReceiver {
	r := amReceiver{Name: name}
	for _, c := range contacts {
		switch {
		case c.Value == "" || !c.Valid.CoversTime(now):
		case c.Kind == ByMail && !notByMail:
			r.Email = append(r.Email, map[string]any{"to": c.Value, "send_resolved": true})
		case c.Kind == ByWebhook:
			r.Webhook = append(r.Webhook, hook(c.Value, true)...)
		}
	}
	switch {
	case len(r.Email)+len(r.Webhook) > 0:
	case notByMail:
		r.Webhook = hook(hookExample+name, true)
	default:
		r.Email = []map[string]any{{"to": placeholder, "send_resolved": true}}
	}
	return r
}

func hook(url string, resolved bool) []map[string]any {
	return []map[string]any{{"url": url, "send_resolved": resolved}}
}

// workingIntervals lists the hours of all days from first on, before last; days of a month that follow one another and have the
// same hours are one entry.
func workingIntervals(p *profile.Profile, hours string, first, last profile.Date) (out []amInterval) {
	day, err := time.Parse(time.DateOnly, first.String())
	if err != nil {
		return nil
	}
	var open *amInterval
	from, to := 0, 0
	flush := func() {
		if open != nil {
			open.Days = []string{strconv.Itoa(from)}
			if to > from {
				open.Days[0] += ":" + strconv.Itoa(to)
			}
			out, open = append(out, *open), nil
		}
	}
	for range int(last - first) {
		var times []amTimes
		for _, i := range p.ServiceHours(hours, "", day, day.AddDate(0, 0, 1)) {
			end := i.End.UTC().Format("15:04")
			if !i.End.Before(day.AddDate(0, 0, 1)) {
				end = "24:00"
			}
			times = append(times, amTimes{i.Start.UTC().Format("15:04"), end})
		}
		month, year := strconv.Itoa(int(day.Month())), strconv.Itoa(day.Year())
		if open == nil || !slices.Equal(open.Times, times) || open.Months[0] != month {
			flush()
			if len(times) > 0 {
				open, from = &amInterval{Times: times, Months: []string{month}, Years: []string{year}}, day.Day()
			}
		}
		to = day.Day()
		day = day.AddDate(0, 0, 1)
	}
	flush()
	return out
}
