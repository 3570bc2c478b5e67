package profile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func opts(kv ...any) []Option {
	var os []Option
	for i := 0; i+1 < len(kv); i += 2 {
		os = append(os, Option{Name: kv[i].(string), Value: kv[i+1]})
	}
	return os
}

func TestReadRule(t *testing.T) {
	list := func(items ...any) []any { return items }
	many := make([]any, maxRule+1)
	for i := range many {
		many[i] = "a"
	}
	for _, tt := range []struct {
		name string
		with []Option
		want *Rule
		err  string
	}{
		{"none", nil, nil, ""},
		{"all", opts("all", list("a", "b.http")), &Rule{2, []RuleItem{{Service: "a"}, {Service: "b", Check: "http"}}}, ""},
		{"any", opts("any", list("a", "b")), &Rule{1, []RuleItem{{Service: "a"}, {Service: "b"}}}, ""},
		{"two of three", opts("at_least", int64(2), "of", list("a", "b", "c")), &Rule{2, []RuleItem{{Service: "a"}, {Service: "b"}, {Service: "c"}}}, ""},
		{"in one another", opts("all", list("a", opts("any", list("b", "c")))), &Rule{2, []RuleItem{{Service: "a"}, {Rule: &Rule{1, []RuleItem{{Service: "b"}, {Service: "c"}}}}}}, ""},
		{"two words", opts("all", list("a"), "any", list("b")), nil, "write one of all, any"},
		{"of alone", opts("of", list("a")), nil, "write one of all, any"},
		{"another word", opts("none", list("a")), nil, `"none" is none of`},
		{"no list", opts("all", "a"), nil, "write a list"},
		{"empty", opts("all", list()), nil, "from 1 to 32"},
		{"too many", opts("any", many), nil, "from 1 to 32"},
		{"more than there are", opts("at_least", int64(3), "of", list("a", "b")), nil, "no more than there are"},
		{"none at all", opts("at_least", int64(0), "of", list("a", "b")), nil, "at least 0 of 2"},
		{"a number", opts("all", list(int64(1))), nil, "is no service"},
		{"too deep", opts("all", list(opts("all", list(opts("all", list(opts("all", list("a")))))))), nil, "in one another"},
	} {
		got, err := ReadRule(tt.with)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}
