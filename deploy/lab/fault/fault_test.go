package fault

import (
	"strings"
	"testing"
)

func TestCatalogue(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range All() {
		if seen[f.Name] || f.Name == "" {
			t.Errorf("%q is there twice, or has no name", f.Name)
		}
		seen[f.Name] = true
		if f.Title.VI == "" || f.Title.EN == "" || f.Cause == "" || f.Owner == "" {
			t.Errorf("%s lacks a title, a cause or an owner: %+v", f.Name, f)
		}
		if f.Down && (len(f.Hurts) == 0 || f.Component == "") {
			t.Errorf("%s takes something down, and neither hurts a service nor names a component", f.Name)
		}
		if got, err := Find(f.Name); err != nil || got.Name != f.Name {
			t.Errorf("Find(%q) = %q, %v", f.Name, got.Name, err)
		}
	}
}

func TestFindNamesTheNearest(t *testing.T) {
	for name, want := range map[string]string{
		"line-cutt": "line-cut", "linecut": "line-cut", "carier-down": "carrier-down", "DISK-FULL": "disk-full", "portal-cert": "portal-cert-name", "tsa-deadd": "tsa-dead",
		strings.Repeat("x", 1000): "",
	} {
		_, err := Find(name)
		if err == nil || !strings.Contains(err.Error(), "did you mean "+want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 200 {
			t.Errorf("Find(%.20q) = %v, want one short line with %q", name, err, want)
		}
	}
}
