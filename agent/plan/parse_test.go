package plan_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// kinds has one kind with an option of every form.
func kinds() check.Table {
	return check.Table{
		{
			Name: "http", Options: []check.Option{
				{Name: "url", Type: check.TypeURL, Required: true, Help: "the page to fetch"},
				{Name: "status", Type: check.TypeInts, Default: "[200]", Min: 100, Max: 599},
				{Name: "contains", Type: check.TypeStrings},
				{Name: "matches", Type: check.TypeRegexps},
				{Name: "headers", Type: check.TypeMap},
				{Name: "max_bytes", Type: check.TypeBytes, Default: "1MiB", Min: 1, Max: 64 << 20},
				{Name: "slow", Type: check.TypeDuration},
				{Name: "family", Type: check.TypeString, Enum: []string{"any", "ip4", "ip6"}, Default: "any"},
				{Name: "password", Type: check.TypeSecret},
				{Name: "warn_days", Type: check.TypeInt, Default: "21", Min: 1, Max: 400},
				{Name: "insecure", Type: check.TypeBool},
				{Name: "ratio", Type: check.TypeFloat, Min: 0, Max: 1},
			},
			New: func(o check.Options, _ check.Env) (check.Func, error) {
				if o.Bool("insecure") && o.Has("ratio") {
					return nil, errors.New(`option "insecure": cannot stand beside ratio: leave one out`)
				}
				return nil, nil
			},
		},
		{Name: "tcp", Options: []check.Option{{Name: "address", Type: check.TypeAddress, Required: true, Help: "where to connect"}}},
		{Name: "ping", Options: []check.Option{{Name: "host", Type: check.TypeHost, Required: true}}},
		{Name: "uplink", Options: []check.Option{{Name: "anchors", Type: check.TypeAddrs, Min: 3}}},
		{Name: "host"},
		{Name: "walk", Options: []check.Option{{Name: "steps", Type: check.TypeSteps, Required: true, Min: 1, Step: []check.Option{
			{Name: "name", Type: check.TypeString, Required: true, Help: "what the step is called"},
			{Name: "status", Type: check.TypeInts, Default: "[200]", Min: 100, Max: 599},
			{Name: "form", Type: check.TypeValues},
		}}}},
	}
}

const good = `plan: xa-an-thanh
for: pc-an-thanh-01
version: 17
issued: 2026-11-23T01:00:00Z
seal: 5m
lines:
  - {path: tslcd, source: 10.20.1.15}
checks:
  - id: cong_h.http
    service: cong_h
    kind: http
    every: 60s
    timeout: 10s
    path: internet
    with:
      url: https://cong.test/
      status: [200, 301]
      contains: ["Tứ Kỳ"]
      max_bytes: 512KiB
      password: {secret: probe-mailbox}
  - {id: pc.host, kind: host, every: 1m, confirm: 0, path: lan}
`

func TestParse(t *testing.T) {
	p, err := plan.Parse([]byte(good), kinds())
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "xa-an-thanh" || p.For != "pc-an-thanh-01" || p.Version != 17 || p.Seal != 5*time.Minute || p.Concurrency != 512 ||
		p.Source(plan.TSLCD).String() != "10.20.1.15" || p.Source(plan.Internet).IsValid() || len(p.Checks) != 2 {
		t.Errorf("the head of the plan came out as %+v", p)
	}
	want := check.Options{
		"url": "https://cong.test/", "status": []int64{200, 301}, "contains": []string{"Tứ Kỳ"}, "max_bytes": int64(512 << 10),
		"password": "probe-mailbox", "family": "any", "warn_days": int64(21),
	}
	if d := cmp.Diff(want, p.Checks[0].Options); d != "" {
		t.Errorf("options (-want +got):\n%s", d)
	}
	if c := p.Checks[1]; c.Timeout != 10*time.Second || c.Confirm != 0 || c.Path != plan.LAN || c.Line != 21 {
		t.Errorf("the second check came out as %+v", c)
	}
	if string(p.Text()) != good || len(p.Hash()) != 64 {
		t.Error("the text is not kept byte for byte")
	}
}

func TestTextIsComparedInNFC(t *testing.T) {
	// "Tứ Kỳ" with combining marks, as some editors save it.
	p, err := plan.Parse([]byte("plan: x\nchecks:\n  - {id: a.b, kind: http, every: 1m, with: {url: 'http://a/', contains: ['Tu\u031b\u0301 Ky\u0300']}}\n"), kinds())
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Checks[0].Options.Strings("contains")[0]; got != "Tứ Kỳ" {
		t.Errorf("contains %q, want it composed", got)
	}
}

func TestSteps(t *testing.T) {
	p, err := plan.Parse([]byte(one("{id: a.b, kind: walk, every: 1m, with: {steps: [{name: open}, {name: send, status: [302], form: {u: 'Ky\u0300', p: {secret: box}}}]}}")), kinds())
	if err != nil {
		t.Fatal(err)
	}
	want := []check.Options{
		{"name": "open", "status": []int64{200}},
		{"name": "send", "status": []int64{302}, "form": map[string]check.Value{"u": {Text: "Kỳ"}, "p": {Secret: "box"}}},
	}
	if d := cmp.Diff(want, p.Checks[0].Options.Steps("steps")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func one(line string) string { return "plan: x\nchecks:\n  - " + line + "\n" }

func TestMistakes(t *testing.T) {
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	for _, tt := range []struct {
		name, text string
		want       []string // each must be in the error
	}{
		{"unknown key", one("{id: a.b, kind: host, evry: 60s, every: 60s}"), []string{"line 3", `unknown key "evry"`, `did you mean "every"?`}},
		{"unknown key at the top", "plan: x\nversoin: 2\nchecks: []\n", []string{"line 2", `did you mean "version"?`}},
		{"unknown option", one("{id: a.b, kind: http, every: 60s, with: {url: 'http://a/', statsu: [200]}}"), []string{`unknown key "statsu"`, `did you mean "status"?`}},
		{"unknown kind", one("{id: a.b, kind: htttp, every: 60s}"), []string{`no kind "htttp"`, `did you mean "http"?`}},
		{"duplicate id", "plan: x\nchecks:\n  - {id: a.b, kind: host, every: 60s}\n  - {id: a.b, kind: host, every: 60s}\n", []string{"line 4", "stands on line 3 already"}},
		{"duplicate key", one("{id: a.b, kind: host, every: 60s, every: 61s}"), []string{`key "every" stands twice`}},
		{"every too short", one("{id: a.b, kind: host, every: 1ms}"), []string{"every", "1ms is too short", "at least 10s"}},
		{"every of half seconds", one("{id: a.b, kind: host, every: 10500ms}"), []string{"no whole number of seconds"}},
		{"every too long", one("{id: a.b, kind: host, every: 25h}"), []string{"too long", "at most 24h"}},
		{"bad duration", one("{id: a.b, kind: host, every: 60}"), []string{`"60" is no duration`, "60s"}},
		{"URL without scheme", one("{id: a.b, kind: http, every: 60s, with: {url: motcua.test}}"), []string{`checks[0] "a.b"`, `url "motcua.test" has no scheme`, "write it as https://host/path"}},
		{"URL without host", one("{id: a.b, kind: http, every: 60s, with: {url: 'https:///x'}}"), []string{"has no host"}},
		{"URL with a password", one("{id: a.b, kind: http, every: 60s, with: {url: 'https://a:b@c/'}}"), []string{"password in a URL", "{secret: NAME}"}},
		{"password in the plan", one("{id: a.b, kind: http, every: 60s, with: {url: 'https://c/', password: hunter2}}"), []string{"must not stand in a plan"}},
		{"address without port", one("{id: a.b, kind: tcp, every: 60s, with: {address: mail.test}}"), []string{`"mail.test" is no host:port`, "mail.example.vn:587"}},
		{"port 0", one("{id: a.b, kind: tcp, every: 60s, with: {address: 'mail.test:0'}}"), []string{"is no host:port"}},
		{"host with scheme", one("{id: a.b, kind: ping, every: 60s, with: {host: 'http://a'}}"), []string{"is no host"}},
		{"too few anchors", one("{id: a.b, kind: uplink, every: 60s, with: {anchors: ['a:1', 'b:1']}}"), []string{"a list of 2 values", "at least 3"}},
		{"missing option", one("{id: a.b, kind: tcp, every: 60s}"), []string{"needs the option `address:`", "where to connect"}},
		{"value off the list", one("{id: a.b, kind: http, every: 60s, with: {url: 'http://a/', family: ip5}}"), []string{`"ip5" is not allowed`, "any, ip4, ip6"}},
		{"number out of bounds", one("{id: a.b, kind: http, every: 60s, with: {url: 'http://a/', status: [99]}}"), []string{`"99"`, "from 100 to 599"}},
		{"no regular expression", one("{id: a.b, kind: http, every: 60s, with: {url: 'http://a/', matches: ['(']}}"), []string{"is no regular expression", "RE2"}},
		{"not a number", one("{id: a.b, kind: http, every: 60s, with: {url: 'http://a/', ratio: .nan}}"), []string{`".nan" is no number that fits`}},
		{"options that contradict", one("{id: a.b, kind: http, every: 60s, with: {url: 'http://a/', ratio: 0.5, insecure: true}}"), []string{"cannot stand beside ratio"}},
		{"worst case over the interval", one("{id: a.b, kind: host, every: 20s, timeout: 10s}"), []string{"(1 + confirm 1) × timeout 10s + 1 × 2s = 22s, more than every 20s"}},
		{"a bad id", one("{id: 'Cổng H', kind: host, every: 60s}"), []string{"cannot be used", "a-z, 0-9"}},
		{"a bad path", one("{id: a.b, kind: host, every: 60s, path: wifi}"), []string{"none of internet, tslcd, lan"}},
		{"anchors and aliases", "plan: &a x\nchecks: []\nfor: *a\n", []string{"anchor or alias", "write the value out"}},
		{"aliases that explode", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n", []string{"anchor or alias"}},
		{"deep nesting", "plan: " + deep + "\n", []string{"levels of nesting"}},
		{"50 MB", strings.Repeat("# a comment that goes on and on\n", 50<<20/32), []string{"52428800 bytes", "at most 524288"}},
		{"a tab", "plan: x\n\tchecks: []\n", []string{"line 2", "a tab", "indent with spaces"}},
		{"carriage returns", "plan: x\r\nchecks: []\r\n", []string{"carriage return", "LF"}},
		{"not UTF-8", "plan: \xff\n", []string{"not UTF-8"}},
		{"not YAML", "plan: [\n", []string{"not YAML"}},
		{"two documents", "plan: x\nchecks: []\n---\nplan: y\n", []string{"not YAML"}},
		{"empty", "", []string{"begin with `plan: NAME`"}},
		{"a list", "- a\n", []string{"begin with `plan: NAME`"}},
		{"nothing in it", "for: pc-1\n", []string{"`plan:` is missing", "`checks:` is missing"}},
		{"steps that are none", one("{id: a.b, kind: walk, every: 60s, with: {steps: open}}"), []string{"with: steps: this must be a list"}},
		{"no steps", one("{id: a.b, kind: walk, every: 60s, with: {steps: []}}"), []string{"a list of 0 values"}},
		{"too many steps", one("{id: a.b, kind: walk, every: 60s, with: {steps: [" + strings.Repeat("{name: x}, ", 21) + "]}}"), []string{"a list of 21 values", "to 20"}},
		{"a step that is a word", one("{id: a.b, kind: walk, every: 60s, with: {steps: [open]}}"), []string{"step 1 is no mapping"}},
		{"a step without name", one("{id: a.b, kind: walk, every: 60s, with: {steps: [{name: x}, {status: [200]}]}}"), []string{"step 2 needs the option `name:`", "what the step is called"}},
		{"a step with a wrong key", one("{id: a.b, kind: walk, every: 60s, with: {steps: [{name: x, statsu: [200]}]}}"), []string{"with: steps: step 1", `did you mean "status"?`}},
		{"a step with a wrong value", one("{id: a.b, kind: walk, every: 60s, with: {steps: [{name: x, status: [9]}]}}"), []string{"step 1: status", "from 100 to 599"}},
		{"a form with a wrong secret", one("{id: a.b, kind: walk, every: 60s, with: {steps: [{name: x, form: {p: {secret: 'A B'}}}]}}"), []string{`secret "A B" is no name`}},
		{"all at once", "plan: x\nversion: -1\nissued: gestern\nseal: 1s\nchecks:\n  - {kind: host}\n", []string{"line 2", "line 3", "line 4", "`id:` is missing", "`every:` is missing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := plan.Parse([]byte(tt.text), kinds())
			if err == nil {
				t.Fatalf("accepted as %+v", p)
			}
			var ms plan.Mistakes
			if !errors.As(err, &ms) {
				t.Fatalf("error of type %T, want Mistakes", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error does not say %q:\n%v", w, err)
				}
			}
		})
	}
}

func TestConcurrencyIsReckoned(t *testing.T) {
	var b strings.Builder
	b.WriteString("plan: x\nconcurrency: 2\nchecks:\n")
	for i := range 10 {
		fmt.Fprintf(&b, "  - {id: a.x%d, kind: host, every: 60s, timeout: 10s}\n", i)
	}
	_, err := plan.Parse([]byte(b.String()), kinds())
	if err == nil || !strings.Contains(err.Error(), "3.7 checks are under way at once") {
		t.Errorf("error %v, want the sum 10 × 22 s / 60 s = 3.7", err)
	}
}

func TestManyMistakesAreCutShort(t *testing.T) {
	var b strings.Builder
	b.WriteString("plan: x\nchecks:\n")
	for range 200 {
		b.WriteString("  - {id: a.b, kind: nix, every: 1s}\n")
	}
	_, err := plan.Parse([]byte(b.String()), kinds())
	if err == nil || strings.Count(err.Error(), "\n") > 60 || !strings.Contains(err.Error(), "more") {
		t.Error("an error of hundreds of lines helps nobody")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("plan: x\nchecks: [{id: a, kind: tcp, every: 10s, with: {address: 'a:1'}}]"))
	f.Add([]byte("plan: &a [*a]\n"))
	f.Add([]byte("? {a: b}\n: c\nchecks: {<<: x}\n"))
	f.Add([]byte("plan: !!binary aGk=\nchecks: !!set {a, b}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := plan.Parse(text, kinds())
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		for _, c := range p.Checks {
			if c.Every < plan.MinEvery || c.Worst() > c.Every || c.ID == "" || c.Options == nil {
				t.Errorf("accepted %+v", c)
			}
		}
	})
}
