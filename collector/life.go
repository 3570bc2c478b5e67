package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/alert"
	"egovmon/collector/incident"
	"egovmon/collector/profile"
	"egovmon/collector/verdict"
)

// Paths of the life of incidents: what people read and do, and the subcommand.
const (
	pathIncidents      = "/api/incidents"
	pathLocalIncidents = "/api/local/incidents"
)

// A lived is an incident with what people made of it.
type lived struct {
	ID         string           `json:"id"`
	Title      string           `json:"title"`
	Kind       verdict.Kind     `json:"kind"`
	Service    string           `json:"service,omitempty"`
	Unit       string           `json:"unit,omitempty"`
	Reason     string           `json:"reason"`
	Since      time.Time        `json:"since"`
	Opened     time.Time        `json:"opened"`
	Closed     time.Time        `json:"closed,omitzero"`
	Acked      time.Time        `json:"acknowledged,omitzero"`
	Suspect    string           `json:"suspect,omitempty"`
	Owner      string           `json:"owner,omitempty"`
	Confidence float64          `json:"confidence,omitempty"`
	Joined     int              `json:"joined,omitempty"`
	Class      incident.Class   `json:"class,omitempty"`
	Assignee   string           `json:"assignee,omitempty"`
	Step       string           `json:"step,omitempty"`
	Cause      string           `json:"cause,omitempty"`
	Measure    string           `json:"measure,omitempty"`
	Duties     []livedDuty      `json:"duties,omitempty"`
	Entries    []incident.Entry `json:"entries,omitempty"`
}

type livedDuty struct {
	Report string    `json:"report"`
	Due    time.Time `json:"due"`
	Over   bool      `json:"over"` // the time has passed
	Basis  string    `json:"basis"`
}

// A lifeAnswer is what the list answers: incidents, how long people took, and what the votes say now.
type lifeAnswer struct {
	Incidents []lived          `json:"incidents"`
	Times     []incident.Times `json:"times"` // by operator
	Causes    []string         `json:"causes"`
	Doubts    []string         `json:"doubts"`
	Votes     []verdict.Row    `json:"votes"`
}

func (c *center) lives(l words.Lang, unit string) lifeAnswer {
	now, p := c.now(), c.district()
	out := lifeAnswer{Incidents: []lived{}}
	all := c.incidents.All()
	if unit != "" {
		all = slices.DeleteFunc(all, func(i incident.Incident) bool { return !slices.Contains(i.Units, unit) })
	}
	for k := range all {
		out.Incidents = append(out.Incidents, livedOf(&all[k], p, l, now))
	}
	times := incident.TimesByOwner(all, func(i *incident.Incident) string { return ownerOf(i, p) })
	for _, o := range slices.Sorted(maps.Keys(times)) {
		out.Times = append(out.Times, times[o])
	}
	loc, table := c.incidents.Located()
	names := namesOf(p, l, now)
	if unit == "" {
		for k := range loc.Causes {
			out.Causes = append(out.Causes, loc.Causes[k].Sentence(l, names))
		}
		for k := range loc.Doubts {
			out.Doubts = append(out.Doubts, loc.Doubts[k].Sentence(l, names))
		}
		out.Votes = table
	}
	return out
}

func namesOf(p *profile.Profile, l words.Lang, now time.Time) verdict.Names {
	return verdict.Names{
		Service: func(id string) string {
			if s, ok := p.Service(id, now); ok {
				return inLang(s.Name, l)
			}
			return id
		},
		Unit: func(id string) string {
			n := unitName(p, id, now)
			return inLang(profile.Name{VI: n.VI, EN: n.EN}, l)
		},
	}
}

func inLang(n profile.Name, l words.Lang) string {
	if l == words.EN && n.EN != "" {
		return n.EN
	}
	return n.VI
}

// ownerOf names the operator who answers for an incident: of its cause, or else of its service.
func ownerOf(i *incident.Incident, p *profile.Profile) string {
	if i.Cause.Owner != "" {
		return i.Cause.Owner
	}
	for _, id := range []string{i.Component.Service, i.Through} {
		if s, ok := p.Service(id, i.Opened); ok {
			return s.Operator
		}
	}
	return ""
}

func livedOf(i *incident.Incident, p *profile.Profile, l words.Lang, now time.Time) lived {
	t := alert.Describe(i, p, l, now)
	out := lived{ID: i.ID, Title: t.Title, Kind: i.Kind, Service: i.Component.Service, Unit: i.Component.Unit, Reason: string(i.Reason), Since: i.Since, Opened: i.Opened,
		Closed: i.Closed, Acked: i.Ack.At, Owner: ownerOf(i, p), Confidence: i.Cause.Confidence, Joined: len(i.Joined), Class: i.Life.Class, Assignee: i.Life.Assignee,
		Step: i.Life.Step, Cause: i.Life.Cause, Measure: i.Life.Measure, Entries: i.Life.Entries}
	if i.Cause.Kind != "" {
		out.Suspect = i.Cause.Say(l, namesOf(p, l, now))
	}
	for _, d := range i.Duties(p.LawSets) {
		out.Duties = append(out.Duties, livedDuty{d.Report, d.Due, now.After(d.Due), d.Basis})
	}
	return out
}

// lifeHandlers answer people and programs that may see the board; only people may do something.
func (c *center) lifeHandlers(mux interface{ Handle(string, http.Handler) }) {
	board := func(pattern string, f http.HandlerFunc) { mux.Handle(pattern, access.Need(access.ScopeBoard, f)) }
	board("GET "+pathIncidents, func(w http.ResponseWriter, r *http.Request) {
		answer(w, c.lives(words.ParseLang(r.FormValue("lang")), access.Of(r.Context()).Unit), nil)
	})
	board("GET "+pathIncidents+"/{id}/form", func(w http.ResponseWriter, r *http.Request) {
		c.formHandler(w, r, r.PathValue("id"))
	})
	board("POST "+pathIncidents+"/{id}", c.actHandler)
}

// maxAct bounds what a person sends.
const maxAct = 8 << 10

// actHandler records what a person does. It answers 403 to programs, and to people of other units.
func (c *center) actHandler(w http.ResponseWriter, r *http.Request) {
	user, id := acks(r.Context()), r.PathValue("id")
	if user == "" {
		http.Error(w, "only a person who may acknowledge may do that", http.StatusForbidden)
		return
	}
	var q struct {
		What    incident.What  `json:"what"`
		To      string         `json:"to"`
		Note    string         `json:"note"`
		Class   incident.Class `json:"class"`
		Measure string         `json:"measure"`
	}
	if !readRequest(w, r, maxAct, &q) {
		return
	}
	if !c.mine(r.Context(), id) {
		http.Error(w, "there is no such incident here", http.StatusNotFound)
		return
	}
	err := c.incidents.Act(r.Context(), id, incident.Act{What: q.What, User: user, To: q.To, Note: q.Note, Class: q.Class, Measure: q.Measure})
	switch {
	case errors.Is(err, incident.ErrUnknown):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, incident.ErrConcluded):
		http.Error(w, err.Error(), http.StatusConflict)
	case errors.Is(err, incident.ErrAct):
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		answer(w, struct{}{}, err)
	}
}

// mine reports whether an incident is there, and concerns the unit of who asks.
func (c *center) mine(ctx context.Context, id string) bool {
	i, ok := c.incidents.Find(id)
	unit := access.Of(ctx).Unit
	return ok && (unit == "" || slices.Contains(i.Units, unit))
}

// formHandler answers the draft of a report form.
func (c *center) formHandler(w http.ResponseWriter, r *http.Request, id string) {
	if !c.mine(r.Context(), id) {
		http.Error(w, "there is no such incident here", http.StatusNotFound)
		return
	}
	i, _ := c.incidents.Find(id)
	closing := r.FormValue("what") == "closing"
	if closing && i.IsOpen() {
		http.Error(w, "the incident goes on: there is no closing report yet", http.StatusConflict)
		return
	}
	w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
	_, _ = io.WriteString(w, reportForm(&i, c.district(), c.now(), closing))
}

// reportForm drafts the first or the closing report of an incident, by the fields of QĐ 05/2017/QĐ-TTg Đ11.4 and TT
// 20/2017/TT-BTTTT forms 03 and 04. What only a person knows is left open; number, date and signature always are.
func reportForm(i *incident.Incident, p *profile.Profile, now time.Time, closing bool) string {
	const l = words.VI
	t := alert.Describe(i, p, l, now)
	var b strings.Builder
	say := func(key string, args ...any) { b.WriteString(words.Say(l, key, args...) + "\n\n") }
	open := words.Say(l, "form.open")
	or := func(s string) string {
		if s == "" {
			return open
		}
		return plainText(s)
	}
	if closing {
		say("form.closing")
	} else {
		say("form.first")
	}
	operator := ""
	if o, ok := p.Operator(ownerOf(i, p), now); ok {
		operator = o.Name.VI
	}
	system := t.System
	if system == "" {
		system = t.Title
	}
	say("form.operator", or(operator))
	say("form.governing", open)
	say("form.system", or(system))
	say("form.found", words.DateTime(l, i.Opened), words.DateTime(l, i.Since))
	say("form.contact", or(i.Life.Assignee))
	class := words.Say(l, "form.class.none")
	if i.Life.Class != incident.Unclassified {
		class = words.Say(l, "form.class."+string(i.Life.Class))
	}
	say("form.kind", class)
	reason := words.Reason(l, i.Reason)
	say("form.what", plainText(t.Title), plainText(reason.Title), or(t.Scope), or(reason.Impact))
	if i.Cause.Kind != "" {
		say("form.suspect", plainText(i.Cause.Say(l, namesOf(p, l, now))), words.Percent(l, i.Cause.Confidence, 0))
	}
	say("form.provider", open)
	say("form.done", actsIn(i, l))
	say("form.support", or(i.Life.Step))
	if closing {
		say("form.end", words.DateTime(l, i.Restored), words.Duration(l, i.Restored.Sub(i.Since)))
		say("form.cause", or(i.Life.Cause))
		say("form.measure", or(i.Life.Measure))
	}
	for _, d := range i.Duties(p.LawSets) {
		say("form.due", words.Say(l, "duty."+d.Report), words.DateTime(l, d.Due), d.Basis)
	}
	say("form.ask", open)
	say("form.evidence", i.ID)
	return b.String()
}

// actsIn lists what people did, in lines of a list.
func actsIn(i *incident.Incident, l words.Lang) string {
	var lines []string
	if i.Acknowledged() {
		lines = append(lines, words.Say(l, "form.acked", words.DateTime(l, i.Ack.At), plainText(i.Ack.User)))
	}
	for _, e := range i.Life.Entries {
		text := strings.TrimSpace(e.To + " " + e.Note)
		lines = append(lines, words.Say(l, "form.did", words.DateTime(l, e.At), plainText(e.User), words.Say(l, "act."+string(e.What)), plainText(text)))
	}
	if len(lines) == 0 {
		return words.Say(l, "form.open")
	}
	return "\n- " + strings.Join(lines, "\n- ")
}

// plainText keeps what others wrote from being read as markup.
func plainText(s string) string {
	return strings.NewReplacer("<", "‹", ">", "›", "`", "'", "[", "(", "]", ")", "*", "∗", "_", "_", "#", "＃").Replace(s)
}

func runIncidents(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("incidents", "Lists incidents with what is suspected, who works on them, which reports the law asks for and by when, and how long people\n"+
		"took (MTTA, MTTR). With --form, writes the draft of a report. People act on the board or through "+pathIncidents+"; a command cannot.", stderr)
	data := fs.String("data", "", "folder of the state `DIR`")
	asJSON := fs.Bool("json", false, "write one JSON object")
	id := fs.String("id", "", "the incident `ID` of --form")
	form := fs.String("form", "", "draft the report `first` or closing")
	lang := fs.String("lang", "vi", "language: vi or en")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	dir, err := dataDir(*data)
	if err == nil && (*form != "" && *form != "first" && *form != "closing" || (*form == "") != (*id == "")) {
		err = errors.New("--form first or closing and --id ID belong together")
	}
	if err != nil {
		fmt.Fprintf(stderr, "collector incidents: %v\n", err)
		return exitUsage
	}
	if *form != "" {
		if err := streamTo(ctx, dir, pathLocalIncidents+"/"+url.PathEscape(*id)+"/form?what="+*form, stdout); err != nil {
			fmt.Fprintf(stderr, "collector incidents: %v\n", err)
			return exitFailed
		}
		return exitDone
	}
	var out lifeAnswer
	if err := call(ctx, dir, http.MethodGet, pathLocalIncidents+"?lang="+url.QueryEscape(*lang), nil, &out); err != nil {
		fmt.Fprintf(stderr, "collector incidents: %v\n", err)
		return exitFailed
	}
	if *asJSON {
		return printJSON(stdout, stderr, out)
	}
	return printLives(stdout, out, words.ParseLang(*lang))
}

func printLives(w io.Writer, out lifeAnswer, l words.Lang) int {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, words.Say(l, "lives.head"))
	for _, i := range out.Incidents {
		end := "–"
		if !i.Closed.IsZero() {
			end = words.DateTime(l, i.Closed)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", i.ID, i.Title, words.DateTime(l, i.Opened), end, strings.TrimSpace(i.Owner+" "+i.Assignee))
		for _, d := range i.Duties {
			fmt.Fprintf(t, "\t  %s\t%s\t\t%s\n", words.Say(l, "duty."+d.Report), words.DateTime(l, d.Due), d.Basis)
		}
	}
	for _, x := range out.Times {
		fmt.Fprintln(t, words.Say(l, "lives.times", x.Owner, x.Incidents, words.Duration(l, x.ToAck), words.Duration(l, x.ToRestore)))
	}
	for _, s := range append(slices.Clone(out.Causes), out.Doubts...) {
		fmt.Fprintln(t, s)
	}
	if t.Flush() != nil {
		return exitFailed
	}
	return exitDone
}
