package checktest

import (
	_ "embed"
	"strings"
	"testing"

	"egovmon/agent/check"
)

// said is the table of what the kinds of the families network, dns and mail can say, and of the tests in which they say it: a
// line for each kind, reason, peer and test. The tests of egovmon/agent/check/kinds write it from the tests' own log.
//
//go:embed said.txt
var said string

// A Saying is that a kind gave a reason in a test.
type Saying struct {
	Kind   string
	Reason check.Reason
	Peer   string // who the kind met: server, kernel or stand-in
	Test   string // FAMILY.TestName
}

// Sayings reads the table.
func Sayings(t testing.TB) []Saying {
	t.Helper()
	var all []Saying
	for line := range strings.Lines(said) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) != 4 {
			t.Fatalf("said.txt: %q has not four words", line)
		}
		all = append(all, Saying{f[0], check.Reason(f[1]), f[2], f[3]})
	}
	return all
}

// SaidKey is the attribute of a test's log by which a kind says something.
const SaidKey = "egovmon.said"

// Said notes in the test's log what a kind has said. A reason for down that the table does not have for the kind fails the test: then the
// kind says more than is known of it.
func Said(t testing.TB, k check.Kind, r check.Result) {
	t.Helper()
	t.Attr(SaidKey, k.Name+" "+string(r.Reason))
	listed, known := false, false
	for _, s := range Sayings(t) {
		listed = listed || s.Kind == k.Name
		known = known || s.Kind == k.Name && s.Reason == r.Reason
	}
	if listed && !known && r.State == check.Down {
		t.Errorf("%s says %s (%s), which the table said.txt does not have for it: see TestReasonTable", k.Name, r.Reason, r.Detail)
	}
}
