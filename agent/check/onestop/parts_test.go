package onestop

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// steps is the plan of a journey with these steps, one on each line.
func steps(url, extra string, lines ...string) string {
	var text strings.Builder
	text.WriteString("plan: test\nchecks:\n  - id: mc.journey\n    kind: journey\n    every: 5m\n    with:\n      url: " + url + "\n" + extra + "      steps:\n")
	for _, l := range lines {
		text.WriteString("        - " + l + "\n")
	}
	return text.String()
}

const approved = "      approved: \"12/GP-STTTT\"\n"

// What a step takes from elements and JSON is sent by the next, and what must stand there is looked for.
func TestJourneyParts(t *testing.T) {
	url := serveParts(t)
	for _, tt := range []struct {
		name   string
		lines  []string
		reason check.Reason
		detail string
		steps  float64
	}{
		{"elements and values", []string{
			"{name: a, get: /list, extract_select: {ma: 'tr.moi td:first-child', so: 'input.so@value'}, select: {'tr.moi td': '^HS'}}",
			"{name: b, get: '/api?ma=${ma}&so=${so}', json: {'$.ma': '^HS-1$', '$.so': '^7$', '$.ok': 'true', '$.list[*]': '^x$'}, extract_json: {id: '$.list[1]'}}",
			"{name: c, get: '/api?ma=${id}', matches: ['\"ma\":\"x\"']}"}, check.OK, "", 3},
		{"no element", []string{"{name: a, get: /list, select: {form: ''}}"}, check.ContentMissing, `step 1 "a": nothing is found by "form"`, 0},
		{"an element with another text", []string{"{name: a, get: /list, select: {td: '^Z'}}"}, check.ContentMissing, `matches "^Z"`, 0},
		{"no JSON", []string{"{name: a, get: /list, json: {$.ma: ''}}"}, check.Protocol, `step 1 "a": not JSON`, 0},
		{"no value", []string{"{name: a, get: /api, json: {$.gone: ''}}"}, check.ContentMissing, `nothing is found by "$.gone"`, 0},
		{"another value", []string{"{name: a, get: /api, json: {$.ok: 'false'}}"}, check.ContentMissing, `matches "false"`, 0},
		{"nothing to take from elements", []string{"{name: a, get: /list, extract_select: {x: 'p.x'}}"}, check.ContentMissing, `${x}: nothing is found by "p.x"`, 0},
		{"nothing to take from JSON", []string{"{name: a, get: /api, extract_json: {x: $.x}}"}, check.ContentMissing, `${x}: nothing is found by "$.x"`, 0},
		{"to take from what is no JSON", []string{"{name: a, get: /list, extract_json: {x: $.x}}"}, check.Protocol, `${x}: not JSON`, 0},
		{"an empty element to take", []string{"{name: a, get: /list, extract_select: {x: b}}"}, check.ContentMissing, `${x}: what "b" finds is empty`, 0},
		{"an empty text to take", []string{"{name: a, get: /list, extract: {x: '<b>(.*)</b>'}}"}, check.ContentMissing, "finds is empty", 0},
		{"no match", []string{"{name: a, get: /list, matches: ['Hồ sơ [0-9]+']}"}, check.ContentMissing, "nothing on the page matches", 0},
		{"stops at the second", []string{"{name: a, get: /list}", "{name: b, get: /gone}", "{name: c, get: /list}"}, check.HTTPStatus, `step 2 "b": status 404`, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t.Context(), t, parse(t, steps(url, approved, tt.lines...)), env(""))
			wants(t, r, tt.reason, tt.detail, map[string]float64{"steps_passed_count": tt.steps})
		})
	}
	for _, line := range []string{"{name: a, get: /, select: {'[': ''}}", "{name: a, get: /, select: {a: '('}}", "{name: a, get: /, json: {x: ''}}", "{name: a, get: /, extract_select: {x: '['}}",
		"{name: a, get: /, extract_json: {x: y}}", "{name: a, get: /, extract_json: {'x y': $.a}}"} {
		_, err := plan.Parse([]byte(steps(url, approved, line)), Kinds())
		if err == nil || !strings.Contains(err.Error(), `option "steps": step 1 "a"`) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func serveParts(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/list":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<b></b><table><tr><td>HS-0<tr class=moi><td>HS-1<td>Lan</table><input class=so value=7>")
		case "/api":
			q := r.URL.Query()
			fmt.Fprintf(w, `{"ma":%q,"so":%q,"ok":true,"list":["a","x"]}`, q.Get("ma"), q.Get("so"))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// Nothing is sent before the owner has approved it, and nothing after the approval has ended.
func TestJourneyApproval(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	t.Cleanup(s.Close)
	for extra, want := range map[string]struct {
		reason check.Reason
		detail string
	}{
		"":                         {check.NotConfigured, "the system's owner has not approved it"},
		"      approved: \"  \"\n": {check.NotConfigured, "has not approved it"},
		approved:                   {check.OK, ""},
		approved + "      approved_on: \"2026-11-24\"\n":                                       {check.NotConfigured, "begins on 2026-11-24"},
		approved + "      approved_on: \"2026-11-23\"\n      approved_until: \"2026-11-23\"\n": {check.OK, ""},
		approved + "      approved_until: \"2026-11-22\"\n":                                    {check.EvidenceExpired, "ended on 2026-11-22"},
	} {
		asked = 0
		r := run(t.Context(), t, parse(t, steps(s.URL, extra, "{name: a, get: /}")), env(""))
		wants(t, r, want.reason, want.detail, nil)
		if (asked > 0) != (want.reason == check.OK) {
			t.Errorf("%q: %d requests", extra, asked)
		}
	}
	for _, extra := range []string{"      approved_on: x\n", "      approved_on: \"2026-11-24\"\n      approved_until: \"2026-11-23\"\n"} {
		if _, err := plan.Parse([]byte(steps(s.URL, approved+extra, "{name: a, get: /}")), Kinds()); err == nil || !strings.Contains(err.Error(), `option "approved_`) {
			t.Errorf("%s: %v", extra, err)
		}
	}
}
