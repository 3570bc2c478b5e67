package profile

import (
	"regexp"
	"slices"
)

// lineAnchors stands for the anchors of the machine's line on the check's path.
const lineAnchors = "line.anchors"

var formPlaceholder = regexp.MustCompile(`\$\{([^}]*)\}`)

// placeholders lists the names in ${…} of an option's value, each once.
func placeholders(v any) []string {
	var names []string
	add := func(more []string) {
		for _, n := range more {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	switch v := v.(type) {
	case string:
		for _, m := range formPlaceholder.FindAllStringSubmatch(v, -1) {
			add([]string{m[1]})
		}
	case []any:
		for _, x := range v {
			add(placeholders(x))
		}
	case []Option:
		for _, o := range v {
			add(placeholders(o.Value))
		}
	}
	return names
}
