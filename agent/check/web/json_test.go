package web

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJSONPath(t *testing.T) {
	const doc = `{"status":"UP","a b":1.50,"n":null,"list":[{"id":1,"at":"2026-11-23"},{"id":2},[true]],"o":{"x":{"y":"sâu"}},"status":"again"}`
	for _, tt := range []struct {
		path, doc string
		most      int
		want      []string
		bad       bool
	}{
		{"$.status", doc, 1, []string{"UP"}, false},
		{"$.status", doc, 9, []string{"UP", "again"}, false},
		{"$['a b']", doc, 1, []string{"1.50"}, false},
		{`$["n"]`, doc, 1, []string{"null"}, false},
		{"$.list[1].id", doc, 1, []string{"2"}, false},
		{"$.list[*].id", doc, 9, []string{"1", "2"}, false},
		{"$.list[2][0]", doc, 9, []string{"true"}, false},
		{"$.o.*.y", doc, 9, []string{"sâu"}, false},
		{"$.o", doc, 9, []string{`{"x":{"y":"sâu"}}`}, false},
		{"$", `"x"`, 9, []string{"x"}, false},
		{"$.list.id", doc, 9, nil, false},
		{"$.status.x", doc, 9, nil, false},
		{"$[0]", doc, 9, nil, false},
		{"$.gone", doc, 9, nil, false},
		{"$.gone", doc[:40], 9, nil, true},
		{"$.gone", "<html>", 9, nil, true},
		{"$.gone", "", 9, nil, true},
		{"$.a", `{"a":` + strings.Repeat("[", 1_000_000), 9, nil, true},
		{"$", strings.Repeat("[", 2*maxJSONDepth) + strings.Repeat("]", 2*maxJSONDepth), 9, nil, true},
		{"$.b", strings.Repeat(`{"a":`, 1_000_000), 9, nil, true},
		{"$.a", `{"a":"` + strings.Repeat("x", 9000) + `"}`, 9, []string{strings.Repeat("x", maxJSONValue)}, false},
		{"$", "[" + strings.Repeat("1,", 9000) + "1]", 9, []string{("[" + strings.Repeat("1,", 9000))[:maxJSONValue]}, false},
	} {
		p, err := ParseJSONPath(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Find([]byte(tt.doc), tt.most)
		if d := cmp.Diff(tt.want, got); d != "" || errors.Is(err, ErrJSON) != tt.bad || (err == nil) == tt.bad {
			t.Errorf("%s in %.30s: %.80v (-want +got):\n%.300s", tt.path, tt.doc, err, d)
		}
	}
	for _, s := range []string{"", "a", "$a", "$.", "$..a", "$[", "$[x]", "$[-1]", "$[+1]", "$['a]", "$.a b", "$[0:1]", "$.a]", "$[?@.a]", "$" + strings.Repeat(".a", 33), "$." + strings.Repeat("a", 600)} {
		if _, err := ParseJSONPath(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func FuzzJSONPath(f *testing.F) {
	f.Add("$.a[*]['b']", []byte(`{"a":[{"b":1},{"b":[{}]}]}`))
	f.Add("$", []byte(`{"a":[`))
	f.Fuzz(func(t *testing.T, path string, doc []byte) {
		p, err := ParseJSONPath(path)
		if err != nil {
			return
		}
		got, err := p.Find(doc, 8)
		if len(got) > 8 || err != nil && !errors.Is(err, ErrJSON) {
			t.Errorf("%d values, %v", len(got), err)
		}
		for _, v := range got {
			if len(v) > maxJSONValue {
				t.Errorf("%d bytes", len(v))
			}
		}
	})
}
