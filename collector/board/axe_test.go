package board

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// axeTags name the rules that no page may break: WCAG 2.0, 2.1 and 2.2, levels A and AA.
const axeTags = `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]`

// A finding is a rule that a page breaks, and where.
type finding struct {
	Page  string   `json:"page"`
	Rule  string   `json:"rule"`
	Help  string   `json:"help"`
	Where []string `json:"where"`
}

// judged serves every page of pages under its own prefix, and at /judge a page that shows one after the other in a frame and lets the
// library judge each.
func judged(t *testing.T, pages []served) http.Handler {
	t.Helper()
	axe, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	var list []string
	for _, p := range pages {
		for _, lang := range []string{"vi", "en"} {
			list = append(list, path.Join("/at", p.name)+p.path+"?lang="+lang)
		}
		mux.Handle("/at/"+p.name+"/", http.StripPrefix("/at/"+p.name, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.h.ServeHTTP(framed{w}, r) })))
	}
	mux.HandleFunc("GET /assets/{name}", func(w http.ResponseWriter, r *http.Request) { pages[0].h.ServeHTTP(w, r) })
	mux.HandleFunc("GET /axe.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = w.Write(axe)
	})
	names, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	mux.HandleFunc("GET /judge", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, judge, names, axeTags)
	})
	return mux
}

// judge is the page that judges: it evaluates the library within each frame, whose own policy lets nothing foreign in.
const judge = `<!DOCTYPE html><html><head><title>running</title></head><body><pre id="out"></pre><script>
const pages = %s, tags = %s, out = [];
const show = p => new Promise((ok, no) => {
  const f = document.createElement("iframe");
  f.width = 1000; f.height = 900;
  f.onload = () => ok(f);
  f.onerror = no;
  f.src = p;
  document.body.append(f);
});
(async () => {
  const text = await (await fetch("/axe.js")).text();
  for (const p of pages) {
    const f = await show(p);
    try {
      const d = f.contentDocument;
      for (const x of d.querySelectorAll("details")) x.open = true;
      new Function("window", "document", "self", text).call(f.contentWindow, f.contentWindow, d, f.contentWindow);
      const axe = f.contentWindow.axe;
      const r = await axe.run(d, { runOnly: { type: "tag", values: tags }, resultTypes: ["violations"] });
      if (!r.passes.length) out.push({ page: p, rule: "none", help: "no rule was tried", where: [] });
      if (!d.styleSheets.length) out.push({ page: p, rule: "none", help: "the page came without its style", where: [] });
      for (const v of r.violations) out.push({ page: p, rule: v.id, help: v.help, where: v.nodes.slice(0, 4).map(n => n.html.slice(0, 160) + " " + (n.any[0] ? n.any[0].message : "")) });
    } catch (e) {
      out.push({ page: p, rule: "error", help: String(e), where: [] });
    }
    f.remove();
  }
  document.getElementById("out").textContent = JSON.stringify(out);
  document.title = "judged=" + pages.length;
})();
</script></body></html>`

var judgedPage = regexp.MustCompile(`(?s)<title>judged=(\d+)</title>.*<pre id="out">(.*?)</pre>`)

// findings are what the pages break.
func findings(t *testing.T, pages []served) []finding {
	t.Helper()
	srv := httptest.NewServer(judged(t, pages))
	defer srv.Close()
	dom := browse(t, "--dump-dom", "--timeout=80000", "--window-size=1100,1000", "--virtual-time-budget=600000", srv.URL+"/judge")
	m := judgedPage.FindStringSubmatch(dom)
	if m == nil || m[1] != fmt.Sprint(2*len(pages)) {
		t.Fatalf("the pages were not judged:\n%.1500s", dom)
	}
	var out []finding
	if err := json.Unmarshal([]byte(html.UnescapeString(m[2])), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// A served page is a handler and a path of it.
type served struct {
	name, path string
	h          http.Handler
}

// TestAccessible has every page judged in both languages, and among them one that is wrong on purpose, to see that the judge sees.
func TestAccessible(t *testing.T) {
	chromium(t)
	var pages []served
	for _, p := range looks() {
		pages = append(pages, served{p.name, p.path, lookHandler(p.name, p.src)})
	}
	const bad = "bad"
	wrong := bytesOf(lookHandler("help", troubled()), "</h1>", `</h1><img src="/x.svg"><input name="x"><p class="wrong">x</p><ul role="status"><li>x</li></ul>`)
	pages = append(pages, served{bad, "/help", bytesOf(wrong, `<html lang="`, `<html data-lang="`)})
	seen := map[string]bool{}
	for _, f := range findings(t, pages) {
		if strings.HasPrefix(f.Page, "/at/"+bad+"/") {
			seen[f.Rule] = true
			continue
		}
		t.Errorf("%s: %s: %s\n\t%s", f.Page, f.Rule, f.Help, strings.Join(f.Where, "\n\t"))
	}
	for _, rule := range []string{"html-has-lang", "image-alt", "label", "listitem"} {
		if !seen[rule] {
			t.Errorf("what breaks %s on purpose was not seen: %v", rule, seen)
		}
	}
}
