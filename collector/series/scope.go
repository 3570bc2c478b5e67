package series

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"egovmon/exporter"
)

// HandlerFor is [DB.Handler] for people of whom some may see one unit alone: unit names it, "" for who may see all. Every
// selector of their queries gets the matcher unit="…" beside what it has, so that they get the series of that unit, and
// none without the label. (prom-label-proxy does the same in a process of its own; its package does not build with this
// version of the parser.)
func (db *DB) HandlerFor(unit func(ctx context.Context) string) http.Handler {
	return db.handler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if u := unit(r.Context()); u != "" {
				if err := db.narrow(r, u); err != nil {
					apiError(w, http.StatusBadRequest, "bad_data", err.Error())
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	})
}

// narrow puts the matcher of a unit into the parameters of a request whose form was read.
func (db *DB) narrow(r *http.Request, unit string) error {
	m := labels.MustNewMatcher(labels.MatchEqual, exporter.LabelUnit, unit)
	if q := r.Form.Get("query"); q != "" {
		expr, err := db.parser.ParseExpr(q)
		if err != nil {
			return fmt.Errorf("query: %w", err)
		}
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			if v, ok := n.(*parser.VectorSelector); ok {
				v.LabelMatchers = append(slices.Clone(v.LabelMatchers), m)
			}
			return nil
		})
		r.Form.Set("query", expr.String())
	}
	own := &parser.VectorSelector{LabelMatchers: []*labels.Matcher{m}}
	matches := r.Form["match[]"]
	if len(matches) == 0 {
		matches = []string{own.String()}
	}
	narrowed := make([]string, 0, len(matches))
	for _, s := range matches {
		ms, err := db.parser.ParseMetricSelector(s)
		if err != nil {
			return fmt.Errorf("match[]: %w", err)
		}
		v := &parser.VectorSelector{LabelMatchers: append(ms, m)}
		narrowed = append(narrowed, v.String())
	}
	r.Form["match[]"] = narrowed
	return nil
}
