package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/alert"
	"egovmon/collector/board"
	"egovmon/collector/evidence"
	"egovmon/collector/profile"
)

const (
	pathWatcher = "/api/local/watcher"
	watcherFile = "watcher.json"
	blindAfter  = 5 * time.Minute // without a result from any machine, the own one with them
	judgedFor   = time.Minute     // what was judged is of now
)

// openWatcher makes what calls the watcher outside.
func (c *center) openWatcher() (err error) {
	c.watcher, err = alert.NewWatcher(alert.WatcherOptions{File: filepath.Join(c.dir, watcherFile), Config: c.config.Alert.Watcher, District: c.district().District,
		Blind: c.blind, Now: c.now, Logger: c.log, Record: func(ctx context.Context, fields map[string]string) error {
			e, err := evidence.NewEntry(evidence.Acknowledgement, fields, nil, nil)
			if err == nil {
				_, err = c.store.Append(ctx, e)
			}
			return err
		}})
	c.judged.Store(c.now().Unix())
	return err
}

// blind says why the collector cannot see how things are; "" when it can. What it then does not tell is no all-clear, so
// the watcher outside is not told either that all is well.
func (c *center) blind() string {
	latest := c.started
	for _, st := range c.intake.Status() {
		if st.Received.After(latest) {
			latest = st.Received
		}
	}
	_, over := c.store.Overtaken()
	return blindness(c.now(), latest, time.Unix(c.judged.Load(), 0), over, !c.intake.Archive().Failing.IsZero())
}

// blindness judges by when something came in last, when it was judged last, and whether the log and the archive go on.
func blindness(now, received, judged time.Time, overtaken, full bool) string {
	switch {
	case overtaken:
		return "the log does not go on"
	case full:
		return "nothing can be archived"
	case now.Sub(received) > blindAfter:
		return "nothing comes in, not even from this machine"
	case now.Sub(judged) > judgedFor:
		return "nothing is judged"
	}
	return ""
}

// watcherNotices say that nobody outside would notice the collector's own silence: of an installation that tells people
// of incidents, since without that nobody relies on it.
func (c *center) watcherNotices() []board.Name {
	if c.watcher == nil || len(c.config.Alert.View().Channels) == 0 && c.config.Alert.Watcher == nil {
		return nil
	}
	return watcherNotices(c.watcher.Status())
}

func watcherNotices(s alert.WatcherStatus) (out []board.Name) {
	switch {
	case s.State != alert.WatcherConfirmed:
		out = append(out, said("watcher.notice."+s.State))
	case s.Error != "":
		out = append(out, said("watcher.notice.error"))
	}
	return out
}

// outside is the board's page of the watcher.
type outside struct{ *alert.Watcher }

// Rights: a test, which may wake somebody, is begun by who answers for the installation; that it arrived is said by whoever
// takes note of incidents, in the name of the district.
func (outside) Rights(ctx context.Context) (by string, tests bool) {
	w := access.Of(ctx)
	if w.Person && w.Unit == "" && w.May(access.ScopeAck) {
		by = w.Name
	}
	return by, w.Person && w.May(access.ScopeUsers)
}

// A watcherRequest is what people do about the watcher.
type watcherRequest struct {
	Confirm string `json:"confirm,omitempty"` // the code; without one a test is begun
	By      string `json:"by,omitempty"`
}

func (c *center) watcherHandler(w http.ResponseWriter, r *http.Request) {
	var q watcherRequest
	if !readRequest(w, r, 4<<10, &q) {
		return
	}
	var err error
	if q.Confirm == "" {
		err = c.watcher.Test(r.Context())
	} else {
		by := oneLine(q.By)
		if who := access.Of(r.Context()); who.Person {
			by = who.Name
		}
		err = c.watcher.Confirm(r.Context(), by, q.Confirm)
	}
	answer(w, c.watcher.Status(), err)
}

// maxBy is the most bytes of a name that is recorded.
const maxBy = 128

// oneLine makes what a person wrote fit for a leaf.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
	return strings.ToValidUTF8(s[:min(len(s), maxBy)], "")
}

func runWatcher(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("watcher", "The watcher outside, named in collector.yaml (alert.watcher.url), alarms somebody when it hears nothing of this collector:\n"+
		"a cut line of the centre can be told of in no other way. It counts once somebody whom it alarmed has read out the code of a test.\n\n"+
		"  watcher status                     how it stands\n"+
		"  watcher test                       makes the watcher alarm; who is alarmed gets a code\n"+
		"  watcher confirm CODE --by NAME     records that NAME was alarmed", stderr)
	data := fs.String("data", "", "folder of the state `DIR`")
	by := fs.String("by", "", "`NAME` of the person who was alarmed")
	asJSON := fs.Bool("json", false, "write one JSON object")
	lang := fs.String("lang", "vi", "language: vi or en")
	said, ok, code := parseNamed(fs, args, 2)
	if !ok {
		return code
	}
	dir, err := dataDir(*data)
	if err != nil {
		fmt.Fprintf(stderr, "collector watcher: %v\n", err)
		return exitUsage
	}
	method, q := http.MethodPost, watcherRequest{By: *by}
	switch {
	case len(said) == 0 || len(said) == 1 && said[0] == "status":
		method = http.MethodGet
	case len(said) == 1 && said[0] == "test":
	case len(said) == 2 && said[0] == "confirm" && said[1] != "" && *by != "":
		q.Confirm = said[1]
	default:
		fmt.Fprintln(stderr, "collector watcher: write `status`, `test`, or `confirm CODE --by NAME`")
		return exitUsage
	}
	var s alert.WatcherStatus
	var in any
	if method == http.MethodPost {
		in = q
	}
	if err := call(ctx, dir, method, pathWatcher, in, &s); err != nil {
		fmt.Fprintf(stderr, "collector watcher: %v\n", err)
		return exitFailed
	}
	if *asJSON {
		return printJSON(stdout, stderr, s)
	}
	fmt.Fprintln(stdout, watcherLine(words.ParseLang(*lang), s, time.Now()))
	return exitDone
}

// watcherLine says in one line how it stands with the watcher.
func watcherLine(l words.Lang, s alert.WatcherStatus, now time.Time) string {
	text := words.Say(l, "watcher."+s.State)
	if s.State == alert.WatcherConfirmed || s.State == alert.WatcherStale {
		text += " (" + words.Say(l, "watcher.by", s.By, words.At(l, s.Confirmed, now)) + ")"
	}
	switch {
	case s.Blind != "":
		text += "; " + words.Say(l, "watcher.blind")
	case s.Error != "":
		text += "; " + words.Say(l, "watcher.error", s.Error)
	case !s.Last.IsZero():
		text += "; " + words.Say(l, "watcher.last", s.Last.In(profile.Zone()).Format(time.TimeOnly))
	}
	return text
}
