package prometheus_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"egovmon/agent/words"
	"egovmon/collector/verdict"
)

var update = flag.Bool("update", false, "write the runbook of incidents anew")

// TestRunbookOfIncidents makes the pages again and compares them with those that are shipped.
func TestRunbookOfIncidents(t *testing.T) {
	for _, l := range []words.Lang{words.VI, words.EN} {
		name, want := "runbook-incidents."+string(l)+".md", verdict.WriteRunbook(l)
		if *update {
			if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil || string(got) != want {
			t.Errorf("%s is not what the catalogue says: write it with go test ./deploy/prometheus -update (%v)", name, err)
		}
		for _, k := range verdict.Kinds() {
			if !strings.Contains(want, "\n## "+string(k)+"\n") {
				t.Errorf("%s has no chapter %s", name, k)
			}
		}
	}
}
