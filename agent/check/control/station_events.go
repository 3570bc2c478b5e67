package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An events reads the records of a channel that fit a query (XPath), at most so many, the newest first or the oldest: each
// as the XML that Windows writes, in UTC and the same in every language.
type events func(ctx context.Context, channel, query string, newest bool, most int) ([]string, error)

// An event is what is asked of a record.
type event struct {
	id   int
	at   time.Time
	data string // the part with the record's own values
}

// readEvent takes an event out of its XML; ok is false when that is no event. What others have put into the values stands
// behind the end of the system's part, and nothing is looked for across it.
func readEvent(xml string) (e event, ok bool) {
	system, data, ok := strings.Cut(xml, "</System>")
	if !ok {
		return event{}, false
	}
	_, id, ok := strings.Cut(system, "<EventID")
	if !ok {
		return event{}, false
	}
	_, id, _ = strings.Cut(id, ">")
	id, _, _ = strings.Cut(id, "<")
	e.id, _ = strconv.Atoi(strings.TrimSpace(id))
	_, created, ok := strings.Cut(system, "<TimeCreated ")
	if !ok {
		return event{}, false
	}
	created, _, _ = strings.Cut(created, ">")
	_, at, ok := strings.Cut(created, "SystemTime=")
	if !ok || len(at) < 2 || at[0] != '\'' && at[0] != '"' {
		return event{}, false
	}
	at, _, _ = strings.Cut(at[1:], at[:1])
	when, err := time.Parse(time.RFC3339Nano, at)
	if err != nil || e.id == 0 {
		return event{}, false
	}
	e.at, e.data = when, data
	return e, true
}

// value returns one of the record's own values; "" when it has none of that name.
func (e event) value(name string) string {
	for _, quote := range []string{"'", `"`} {
		if _, after, ok := strings.Cut(e.data, "<Data Name="+quote+name+quote+">"); ok {
			text, _, _ := strings.Cut(after, "<")
			return strings.TrimSpace(text)
		}
	}
	return ""
}

// read is s.events that may be missing, read.
func (s *station) read(ctx context.Context, channel, query string, newest bool, most int) ([]event, error) {
	if s.events == nil {
		return nil, errNoReader
	}
	texts, err := s.events(ctx, channel, query, newest, most)
	if err != nil {
		return nil, err
	}
	list := make([]event, 0, len(texts))
	for _, text := range texts {
		e, ok := readEvent(text)
		if !ok {
			return nil, fmt.Errorf("a record: %w", errValue)
		}
		list = append(list, e)
	}
	return list, nil
}

// logs reads how far the Security log reaches back. Administrators, the system and the group Event Log Readers may.
func (s *station) logs(ctx context.Context) (logs, error) {
	start, _, err := s.number(keyServices+"EventLog", "Start")
	if err != nil {
		return logs{}, fmt.Errorf("the service of the logs: %w", err)
	}
	if runs, err := s.running("EventLog"); start == startDisabled || err == nil && !runs {
		return logs{}, nil
	}
	var v logs
	for _, newest := range []bool{false, true} {
		list, err := s.read(ctx, "Security", "*", newest, 1)
		if errors.Is(err, fs.ErrPermission) {
			return logs{}, fmt.Errorf("the Security log: %w: put the agent's account into the group Event Log Readers", err)
		}
		if err != nil {
			return logs{}, fmt.Errorf("the Security log: %w", err)
		}
		if len(list) == 0 {
			return logs{}, nil
		}
		v.take(list[0].at, list[0].at, 0)
	}
	v.bytes = -1
	if i, err := fs.Stat(s.volume(s.variables("SystemDrive")), "Windows/System32/winevt/Logs/Security.evtx"); err == nil {
		v.bytes = i.Size()
	}
	return v, nil
}

// Records of the System log about starts: the kernel's first word, and what it says of an end that was none in order.
const (
	eventStart    = 12 // Microsoft-Windows-Kernel-General
	eventAbruptly = 41 // Microsoft-Windows-Kernel-Power
	queryStarts   = "*[System[(Provider[@Name='Microsoft-Windows-Kernel-General'] and EventID=12) or (Provider[@Name='Microsoft-Windows-Kernel-Power'] and EventID=41)]]"
	maxStarts     = 1024
)

// endings reads how each run ended: the start after an end without a shutdown says so, with the code of the crash when
// there was one.
func (s *station) endings(ctx context.Context) ([]ending, error) {
	list, err := s.read(ctx, "System", queryStarts, true, maxStarts)
	if err != nil {
		return nil, fmt.Errorf("the System log: %w", err)
	}
	slices.SortStableFunc(list, func(a, b event) int { return a.at.Compare(b.at) })
	var ends []ending
	starts := 0
	for _, e := range list {
		switch e.id {
		case eventStart:
			starts++
			ends = append(ends, ending{e.at, cleanEnd})
		case eventAbruptly:
			kind := powerEnd
			if code, err := strconv.ParseUint(e.value("BugcheckCode"), 0, 64); err == nil && code != 0 {
				kind = crashEnd
			}
			if n := len(ends); n > 0 && starts > 0 && ends[n-1].kind == cleanEnd {
				ends[n-1].kind = kind
			} else {
				ends = append(ends, ending{e.at, kind}) // its start is no longer in the log
			}
		}
	}
	if len(ends) == 0 {
		return nil, fmt.Errorf("no start of the system is recorded: %w", errors.ErrUnsupported)
	}
	return ends, nil
}
