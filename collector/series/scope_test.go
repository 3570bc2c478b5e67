package series

import (
	"context"
	"encoding/json"
	"maps"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"egovmon/exporter"
)

type unitKey struct{}

// TestUnitScope: who is bound to a unit sees nothing of another one, however the question is asked.
func TestUnitScope(t *testing.T) {
	db := openTest(t, Options{})
	var samples []Sample
	for i := range 5 {
		at := noon.Add(time.Duration(i-5) * time.Minute)
		for n, unit := range []string{"xa-a", "xa-b", ""} {
			kv := []string{"check", "c" + string(rune('a'+n)), "mine", string(rune('a' + n))}
			if unit != "" {
				kv = append(kv, exporter.LabelUnit, unit)
			}
			samples = append(samples, gauge(Success, at, float64(n+1), kv...))
		}
	}
	if _, refused, err := db.Append(t.Context(), samples); len(refused) > 0 || err != nil {
		t.Fatal(refused, err)
	}
	h := db.HandlerFor(func(ctx context.Context) string { s, _ := ctx.Value(unitKey{}).(string); return s })
	ask := func(unit, method, path string, form url.Values) (int, string) {
		r := httptest.NewRequest(method, "/api/v1/"+path+"?"+form.Encode(), nil)
		if method == "POST" {
			r = httptest.NewRequest(method, "/api/v1/"+path, strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), unitKey{}, unit)))
		return w.Code, w.Body.String()
	}
	times := url.Values{"time": {"1795409940"}, "start": {"1795409700"}, "end": {"1795410000"}, "step": {"60"}}
	foreign := func(body string) bool {
		return strings.Contains(body, "xa-b") || strings.Contains(body, `"cb"`) || strings.Contains(body, `"cc"`)
	}
	for _, q := range []string{
		Success, Success + `{unit="xa-b"}`, Success + `{unit!="xa-a"}`, Success + `{unit=~".*"}`, `{__name__=~".+"}`, `sum by (check) (` + Success + `)`,
		Success + ` or ` + Success + `{check="cb"}`, `max_over_time(` + Success + `[5m])`, `max_over_time((` + Success + `)[5m:1m])`, `-` + Success,
		`label_replace(` + Success + `, "unit", "x", "", "")`, `topk(10, ` + Success + ` offset 1m)`, Success + ` @ 1795409940`, `count(` + Success + `) by (unit, check)`,
		`(` + Success + ` * on (mine) group_left (unit) ` + Success + `{mine="b"})`,
	} {
		for _, path := range []string{"query", "query_range"} {
			form := url.Values{"query": {q}}
			maps.Copy(form, times)
			for _, method := range []string{"GET", "POST"} {
				code, body := ask("xa-a", method, path, form)
				if code != 200 || foreign(body) {
					t.Errorf("%s %s %s: status %d, %.300s", method, path, q, code, body)
				}
			}
		}
	}
	for _, tt := range []struct {
		path string
		form url.Values
	}{
		{"series", url.Values{"match[]": {`{check=~".+"}`, `{unit="xa-b"}`}}}, {"series", url.Values{}}, {"labels", url.Values{}}, {"labels", url.Values{"match[]": {`{check="cb"}`}}},
		{"label/unit/values", url.Values{}}, {"label/check/values", url.Values{"match[]": {`{check="cb"}`, Success}}}, {"label/check/values", url.Values{}},
	} {
		maps.Copy(tt.form, times)
		code, body := ask("xa-a", "GET", tt.path, tt.form)
		if code != 200 || foreign(body) {
			t.Errorf("%s %v: status %d, %.300s", tt.path, tt.form["match[]"], code, body)
		}
		if tt.path == "label/check/values" && tt.form["match[]"] == nil && !strings.Contains(body, `"ca"`) {
			t.Errorf("%s: %s, want its own", tt.path, body)
		}
	}
	var own struct {
		Data struct{ Result []json.RawMessage }
	}
	form := url.Values{"query": {Success}, "time": times["time"]}
	for unit, want := range map[string]int{"xa-a": 1, "": 3, "xa-c": 0, `x"} or {a="`: 0} {
		_, body := ask(unit, "GET", "query", form)
		if err := json.Unmarshal([]byte(body), &own); err != nil || len(own.Data.Result) != want {
			t.Errorf("unit %q sees %d series, want %d: %v", unit, len(own.Data.Result), want, err)
		}
	}
	for path, form := range map[string]url.Values{"query": {"query": {"sum("}}, "series": {"match[]": {"{"}}} {
		if code, body := ask("xa-a", "GET", path, form); code != 400 || !strings.Contains(body, "bad_data") {
			t.Errorf("%s %v: status %d, %.200s", path, form, code, body)
		}
	}
}
