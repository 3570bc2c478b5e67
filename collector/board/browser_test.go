package board

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/incident"
)

// chromium is the browser, or the test is skipped.
func chromium(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes seconds for each page: run without -short")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("Chromium is not installed: apt-get install chromium fonts-noto-core")
	return ""
}

// browse runs the browser once, without a window, on an empty profile, and returns what it printed.
func browse(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	all := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--user-data-dir=" + t.TempDir()}, args...)
	cmd := exec.CommandContext(ctx, chromium(t), all...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, stderr.String())
	}
	return string(out)
}

// looks are the pages that are looked at.
func looks() []struct {
	name, path string
	src        *fake
} {
	return []struct {
		name, path string
		src        *fake
	}{
		{"first-start", "/", newcomer()},
		{"district", "/", district()},
		{"incidents", "/", troubled()},
		{"incident", "/incident/" + mailIncident, troubled()},
		{"incident-over", "/incident/20261122-150000-service-qlvb", troubled()},
		{"life", "/incident/20261122-150000-service-qlvb", lived()},
		{"service", "/service/mail", district()},
		{"suspensions", "/suspensions", suspending()},
		{"confirmations", "/confirmations", troubled()},
		{"certs", "/certs", troubled()},
		{"watcher", "/watcher", troubled()},
		{"audit", "/audit", troubled()},
		{"fleet", "/fleet", district()},
		{"history", "/history", troubled()},
		{"status", "/status", suspending()},
		{"wall", "/wall", troubled()},
		{"reports", "/reports", troubled()},
		{"help", "/help", troubled()},
		{"help-chapter", "/help/line", troubled()},
		{"check", "/check/" + me + "/thu_thap.check", district()},
	}
}

// lookHandler serves the page of looks that has this name.
func lookHandler(name string, src *fake) http.Handler {
	h := acking(src, nil)
	switch name {
	case "history":
		h = historyHandler(nil, chronicled(), nil)
	case "reports":
		h = pressHandler(&press{name: "An"})
	case "suspensions":
		h = NewHandler(src, Options{Now: func() time.Time { return noon }, Suspensions: &notary{name: "an", list: src.view.Suspensions}})
	case "confirmations":
		h = clerkHandler(&clerk{name: "an", list: confirming()}, "")
	case "status":
		h = NewHandler(src, Options{Now: func() time.Time { return noon }, Public: []string{"mail", "qlvb", "cong_h", "tthc", "ndxp"}})
	case "watcher":
		h = lookoutHandler(watched())
	case "fleet":
		h = yardHandler(parked())
	case "audit":
		h = NewHandler(src, Options{Now: func() time.Time { return noon }, Prover: &seal{standing: sealed()}})
	case "certs":
		h = cabinetHandler(&cabinet{by: "an", names: true, list: certified()})
	case "life":
		h = bytesOf(acting(src, "Mai", "", new([]incident.Act), nil), "<details>", "<details open>")
	case "incidents":
		h = opened(h)
	}
	return h
}

// inFrame serves h, and at /frame/WIDTH/PATH (or, with scripts off in the frame, at /still/WIDTH/PATH) a page that shows PATH in a frame of that width, as a narrow window would,
// and writes into its own title how wide the content came out. Headless windows have a least width; frames have none.
func inFrame(h http.Handler) http.Handler {
	mux := http.NewServeMux()
	frame := func(sandbox string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `<!DOCTYPE html><html><head><style>body{margin:0;background:#888}iframe{border:0;display:block}</style></head><body>
<iframe id="f" width="%[1]s" height="100" %[4]s src="/%[2]s?%[3]s"></iframe>
<script>
const f = document.getElementById("f");
f.addEventListener("load", () => {
  const d = f.contentDocument, e = d.documentElement;
  f.height = e.scrollHeight;
  let worst = "", right = 0;
  for (const x of d.querySelectorAll("body *")) {
    const b = x.getBoundingClientRect();
    if (b.width > 1 && b.right > right && !x.closest(".skip, .scroll")) { right = b.right; worst = x.tagName + "." + x.getAttribute("class"); }
  }
  document.body.dataset.refresh = d.querySelectorAll("meta[http-equiv=refresh]").length;
  document.body.dataset.clock = d.getElementById("clock").hidden ? "off" : "on";
  document.title = "width=" + e.scrollWidth + " right=" + Math.round(right) + " by " + worst;
});
</script></body></html>`, r.PathValue("width"), r.PathValue("path"), r.URL.RawQuery, sandbox)
		}
	}
	mux.HandleFunc("GET /frame/{width}/{path...}", frame(""))
	mux.HandleFunc("GET /still/{width}/{path...}", frame(`sandbox="allow-same-origin"`))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(framed{w}, r)
	})
	return mux
}

// framed lets the test's own page frame the board.
type framed struct{ http.ResponseWriter }

func (w framed) WriteHeader(status int) {
	h := w.Header()
	h.Set("Content-Security-Policy", strings.Replace(h.Get("Content-Security-Policy"), "frame-ancestors 'none'", "frame-ancestors 'self'", 1))
	w.ResponseWriter.WriteHeader(status)
}

// opened serves what h does with every folded part open.
func opened(h http.Handler) http.Handler { return bytesOf(h, "<details ", "<details open ") }

// bytesOf is h with other words in its pages.
func bytesOf(h http.Handler, old, now string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		_, _ = w.Write(bytes.ReplaceAll(rec.Body.Bytes(), []byte(old), []byte(now)))
	})
}

var frameTitle = regexp.MustCompile(`<title>width=(\d+) right=(\d+) by ([^<]*)</title>`)

// TestLooks renders every page at three widths, in both languages, light and dark, and keeps the pictures (go test
// -artifacts). Whether they are good is for people to say; that nothing sticks out at 360 px is checked here.
func TestLooks(t *testing.T) {
	chromium(t)
	for _, p := range looks() {
		t.Run(p.name, func(t *testing.T) {
			h := lookHandler(p.name, p.src)
			srv := httptest.NewServer(inFrame(h))
			defer srv.Close()
			dir := t.ArtifactDir()
			for _, lang := range []string{"vi", "en"} {
				dom := browse(t, "--dump-dom", "--virtual-time-budget=2000", srv.URL+"/frame/360"+p.path+"?lang="+lang)
				m := frameTitle.FindStringSubmatch(dom)
				if m == nil {
					t.Fatalf("%s: the frame did not load:\n%.2000s", lang, dom)
				}
				for _, px := range m[1:3] {
					if n, err := strconv.Atoi(px); err != nil || n > 360 {
						t.Errorf("%s: at 360 px the page is %s px wide, because of %s", lang, px, m[3])
					}
				}
				if strings.HasPrefix(p.name, "wall") {
					shot(t, dir, "narrow-1920-"+lang, "1920,1080", srv.URL+p.path+"?lang="+lang)
				}
				if kept() || !slices.Contains([]string{"confirmations", "certs", "status", "wall", "help", "help-chapter"}, p.name) { // a picture takes a second
					shot(t, dir, "wide-"+lang, "1366,3000", srv.URL+p.path+"?lang="+lang)
				}
				shot(t, dir, "narrow-"+lang, "360,5200", srv.URL+"/frame/360"+p.path+"?lang="+lang)
				shot(t, dir, "narrow-768-"+lang, "768,3000", srv.URL+"/frame/768"+p.path+"?lang="+lang)
			}
			shot(t, dir, "wide-dark", "1366,3000", srv.URL+p.path, "--blink-settings=preferredColorScheme=0")
		})
	}
}

// kept reports whether pictures are kept.
func kept() bool {
	f := flag.Lookup("test.artifacts")
	return f != nil && f.Value.String() == "true"
}

// shot takes a picture of a page. Unless pictures are kept (go test -artifacts) it takes those of wide pages in Vietnamese alone.
func shot(t *testing.T, dir, name, size, url string, more ...string) {
	t.Helper()
	if (strings.HasPrefix(name, "wide-") && name != "wide-vi" || strings.HasPrefix(name, "narrow-")) && !kept() {
		return
	}
	file := filepath.Join(dir, name+".png")
	browse(t, append([]string{"--screenshot=" + file, "--window-size=" + size, "--virtual-time-budget=2000", url}, more...)...)
	if fi, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) || err == nil && fi.Size() < 5000 {
		t.Errorf("%s shows nothing: %v", file, err)
	}
}

// TestScriptsOnAndOff renders the first page both ways: with scripts it asks for its main part by itself, without them
// it says that it is to be loaded again.
func TestScriptsOnAndOff(t *testing.T) {
	chromium(t)
	dir := t.ArtifactDir()
	tests := []struct {
		how, refresh, clock string
		parts               bool
	}{
		{"frame", `data-refresh="0"`, `data-clock="off"`, true},
		{"still", `data-refresh="1"`, `data-clock="off"`, false},
	}
	for _, tt := range tests {
		var parts atomic.Int64
		board := inFrame(NewHandler(newcomer(), Options{Now: func() time.Time { return noon }}))
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get(partParam) == "main" {
				parts.Add(1)
			}
			board.ServeHTTP(w, r)
		}))
		defer srv.Close()
		url := srv.URL + "/" + tt.how + "/1000/"
		dom := browse(t, "--dump-dom", "--virtual-time-budget=9000", url)
		for _, want := range []string{tt.refresh, tt.clock} {
			if !strings.Contains(dom, want) {
				t.Errorf("%s: the page that frames it lacks %s:\n%.1500s", tt.how, want, dom)
			}
		}
		if got := parts.Load() > 0; got != tt.parts {
			t.Errorf("%s: the main part was asked for %d times", tt.how, parts.Load())
		}
		shot(t, dir, tt.how, "1000,1500", url)
	}
}

// TestUpdateInPlace changes a state while a page is open: the page shows it by itself, and whoever is reading keeps the
// focus, the place, the part that was opened and the note that is half written.
func TestUpdateInPlace(t *testing.T) {
	chromium(t)
	f := newcomer()
	f.edit(func(v *View) {
		v.Incidents = []Incident{{ID: "x", Kind: KindService, Service: "lan", State: check.Down, Reason: check.Timeout, Since: noon, Opened: noon}}
	})
	h := NewHandler(f, Options{Now: func() time.Time { return noon }, Fresh: -1, User: func(context.Context) string { return "Mai" },
		Ack: func(context.Context, string, string, string) error { return nil }})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /watch", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!DOCTYPE html><html><body><iframe id="f" width="900" height="400" src="/"></iframe><script>
const f = document.getElementById("f");
f.addEventListener("load", () => {
  const d = f.contentDocument;
  d.getElementById("a-lan").focus();
  d.getElementById("unwatched").open = true;
  d.getElementById("i-x-n").value = "half a no";
  f.contentWindow.scrollTo({ top: 150, behavior: "instant" });
  const row = d.getElementById("r-lan");
  const look = () => {
    const down = d.querySelectorAll("td.down").length;
    if (!down) return setTimeout(look, 200);
    document.title = "down=" + down + " focus=" + d.activeElement.id + " open=" + d.getElementById("unwatched").open + " top=" + Math.round(f.contentWindow.scrollY) + " same=" + (row === d.getElementById("r-lan")) + " note=" + d.getElementById("i-x-n").value;
  };
  look();
});
</script></body></html>`)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get(partParam) == "main" {
			f.edit(func(v *View) {
				for i := range v.Cells[:2] {
					v.Cells[i].State, v.Cells[i].Reason = check.Down, check.ConnectRefused
				}
				v.Incidents[0].Reason = check.ConnectRefused
			})
		}
		h.ServeHTTP(framed{w}, r)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	dom := browse(t, "--dump-dom", "--virtual-time-budget=15000", srv.URL+"/watch")
	if want := "<title>down=2 focus=a-lan open=true top=150 same=true note=half a no</title>"; !strings.Contains(dom, want) {
		t.Errorf("want %s, got:\n%s", want, dom)
	}
}

// TestFormInABrowser writes a note and presses the button, with scripts in the page and without, behind the check that
// keeps other sites from writing; the browser names only the origin, as it does when it reaches a host without TLS.
func TestFormInABrowser(t *testing.T) {
	chromium(t)
	for _, sandbox := range []string{"", `sandbox="allow-same-origin allow-forms"`} {
		var calls []acked
		h := acking(troubled(), &calls)
		mux := http.NewServeMux()
		mux.HandleFunc("GET /watch", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `<!DOCTYPE html><html><body><iframe id="f" width="900" height="400" %[2]s src="/"></iframe><script>
const f = document.getElementById("f");
let loads = 0;
f.addEventListener("load", () => {
  const d = f.contentDocument, n = d.getElementById("i-%[1]s-n");
  if (loads++) {
    document.title = "loads=" + loads + " at=" + f.contentWindow.location.hash + " text=" + d.getElementById("i-%[1]s").innerText.includes("Mai, lúc 08:30 – đã gọi");
    return;
  }
  n.value = "đã gọi";
  d.getElementById("i-%[1]s-b").click();
});
</script></body></html>`, mailIncident, sandbox)
		})
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(framed{w}, r) })
		guard := http.NewCrossOriginProtection().Handler(mux)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			guard.ServeHTTP(w, r)
		}))
		defer srv.Close()
		dom := browse(t, "--dump-dom", "--virtual-time-budget=5000", srv.URL+"/watch")
		if want := "<title>loads=2 at=#i-" + mailIncident + " text=true</title>"; !strings.Contains(dom, want) {
			t.Errorf("%q: want %s, got:\n%.1500s", sandbox, want, dom)
		}
	}
}
