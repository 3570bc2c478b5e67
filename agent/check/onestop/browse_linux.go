//go:build browser

package onestop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

const (
	look       = 150 * time.Millisecond // between two looks at a page whose scripts are at work
	settle     = 5 * time.Second        // how long scripts may take until a page is as it must be
	maxPicture = check.MaxNotes - 16<<10
)

// browse goes the journey in a browser of its own, which ends with it whatever it does, and keeps a picture of where it ended.
func (j *journey) browse(ctx context.Context, w *walk, phases *check.Phases) (passed int, bad *reach.Fault) {
	keys, bad := j.accepted(ctx, w)
	if bad != nil {
		return 0, bad
	}
	b, bad := startBrowser(ctx, j.program, keys)
	if bad != nil {
		return 0, bad
	}
	defer b.stop()
	b.allows = func(address string) bool {
		u, err := url.Parse(address)
		w.requests++
		return err == nil && (u.Scheme == "data" || u.Scheme == "about" || u.Scheme == "blob" || (u.Scheme == "http" || u.Scheme == "https") && j.mayGo(u))
	}
	if bad = b.open(); bad != nil {
		return 0, bad
	}
	passed, bad = j.goAll(phases, func(s *step) *reach.Fault { return j.browseStep(ctx, b, w, s) })
	if ctx.Err() != nil {
		return passed, bad
	}
	if text := j.evidence(b, w); text != "" && bad != nil {
		bad.Detail = w.mask(bad.Detail)
		bad.Detail = bad.Detail[:min(len(bad.Detail), check.MaxDetail-len(text)-8)] + text
	}
	return passed, bad
}

// accepted judges the certificates of the plan's own addresses, as a journey without a browser does, and returns the hashes of the keys
// that hold, as Chromium takes them: the browser trusts the system's roots, and beside them these keys alone.
func (j *journey) accepted(ctx context.Context, w *walk) (keys []string, bad *reach.Fault) {
	all := []*url.URL{j.base}
	for _, s := range j.steps {
		if u, err := j.address(blank(s.address)); err == nil {
			all = append(all, u)
		}
	}
	seen := map[string]bool{}
	for _, u := range all {
		if u.Scheme != "https" || seen[web.HostPort(u)] {
			continue
		}
		seen[web.HostPort(u)] = true
		key, bad := w.key(ctx, u)
		if bad != nil {
			return nil, &reach.Fault{Reason: bad.Reason, Detail: fmt.Sprintf("before the browser began, %s: %s", u.Host, bad.Detail)}
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// key is the hash of the public key of a server whose certificate holds.
func (w *walk) key(ctx context.Context, u *url.URL) (string, *reach.Fault) {
	conn, bad := w.connect(ctx, u)
	if bad != nil {
		return "", bad
	}
	defer conn.Close()
	defer reach.Bind(ctx, conn)()
	w.ip, w.address = reach.IPFamily(conn), reach.AddressCode(conn)
	if _, bad := w.secure(conn, u); bad != nil {
		return "", bad
	}
	sum := sha256.Sum256(w.peer.Certificates()[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

// browseStep does one step: it opens a page, or fills in the form that goes to the step's address and submits it.
func (j *journey) browseStep(ctx context.Context, b *browser, w *walk, s *step) *reach.Fault {
	u, err := j.address(fillAddress(s.address, w.vars))
	if err != nil || !j.mayGo(u) {
		return reach.Failf(check.Misconfigured, "the address cannot be used with the variables that were found")
	}
	values, bad := w.values(s)
	if bad != nil {
		return bad
	}
	b.status, b.loaded, b.refused = 0, false, ""
	if s.post {
		bad = b.submit(u, values)
	} else {
		if len(values) > 0 {
			q := u.Query()
			maps.Copy(q, values)
			u.RawQuery = q.Encode()
		}
		bad = b.navigate(u.String())
	}
	if bad == nil {
		bad = b.await()
	}
	if w.status = b.status; bad != nil {
		return bad
	}
	if b.status != 0 && !containsStatus(s.status, b.status) {
		return w.unwanted(s, b.status)
	}
	until := time.Now().Add(settle)
	for {
		page, bad := b.page(j.max)
		if bad != nil {
			return bad
		}
		if bad = s.judge(page, "text/html; charset=utf-8", w.vars); bad == nil || bad.Reason != check.ContentMissing || time.Now().After(until) {
			return bad
		}
		if bad := b.wait(ctx, look); bad != nil {
			return bad
		}
	}
}

func containsStatus(list []int64, status int) bool {
	return slices.Contains(list, int64(status))
}

// evidence keeps a picture of the page with every field made unreadable, and returns how a detail names it, "" for none.
func (j *journey) evidence(b *browser, w *walk) string {
	b.grace()
	if b.run(`(() => { const s = document.createElement("style");
		s.textContent = "input,textarea,select,[contenteditable]{filter:blur(8px)!important;color:transparent!important;text-shadow:none!important}";
		(document.head || document.documentElement).appendChild(s);
		for (const e of document.querySelectorAll("input,textarea")) if (e.type !== "submit" && e.type !== "button") e.value = "";
		return true })()`, nil) != nil {
		return ""
	}
	if !b.hide(w) {
		return ""
	}
	for _, quality := range []int{50, 20, 5} {
		var shot struct{ Data string }
		if b.call("Page.captureScreenshot", map[string]any{"format": "jpeg", "quality": quality, "captureBeyondViewport": false}, &shot) != nil {
			return ""
		}
		picture, err := base64.StdEncoding.DecodeString(shot.Data)
		if err != nil || len(picture) == 0 {
			return ""
		}
		if len(picture) <= maxPicture {
			j.notes.Keep("screenshot", picture)
			w.picture = len(picture)
			return fmt.Sprintf("; picture %x", sha256.Sum256(picture))[:len("; picture ")+16]
		}
	}
	return ""
}

// hide takes what was sent or found out of the page's texts.
func (b *browser) hide(w *walk) bool {
	words := []string{}
	for _, v := range w.hidden() {
		words = append(words, strings.ToValidUTF8(v, ""))
	}
	text, err := json.Marshal(words)
	if err != nil {
		return false
	}
	return b.run(`((words) => { const all = document.createTreeWalker(document, NodeFilter.SHOW_TEXT); const nodes = [];
		while (all.nextNode()) nodes.push(all.currentNode);
		for (const n of nodes) for (const w of words) if (w) n.nodeValue = n.nodeValue.split(w).join("***");
		return true })(`+string(text)+`)`, nil) == nil
}

// submit fills in the form of the page that goes to an address, and submits it as a person would.
func (b *browser) submit(to *url.URL, values url.Values) *reach.Fault {
	given := map[string]string{}
	for name := range values {
		given[name] = values.Get(name)
	}
	text, err := json.Marshal(map[string]any{"to": to.Scheme + "://" + to.Host + to.EscapedPath(), "values": given})
	if err != nil {
		return reach.Failf(check.Internal, "the form cannot be written down")
	}
	var said string
	if bad := b.run(`((o) => { for (const f of document.forms) { const u = new URL(f.getAttribute("action") || location.href, location.href);
			if (u.origin + u.pathname !== o.to) continue;
			for (const name in o.values) { const e = f.elements.namedItem(name);
				if (!e) return "no field " + name;
				if (e.type === "hidden" && e.value) continue;
				e.value = o.values[name];
				e.dispatchEvent(new Event("input", {bubbles: true})); e.dispatchEvent(new Event("change", {bubbles: true})); }
			f.requestSubmit(); return "done" }
		return "no form" })(`+string(text)+`)`, &said); bad != nil {
		return bad
	}
	switch {
	case said == "done":
		return nil
	case said == "no form":
		return reach.Failf(check.ContentMissing, "the page has no form that goes to %s", to.EscapedPath())
	}
	return reach.Failf(check.ContentMissing, "the form that goes to %s has %s", to.EscapedPath(), said)
}

// page returns the page as its scripts have made it, cut to most bytes and one.
func (b *browser) page(most int64) ([]byte, *reach.Fault) {
	var text string
	bad := b.run(fmt.Sprintf("document.documentElement ? document.documentElement.outerHTML.slice(0, %d) : ''", most+1), &text)
	if bad == nil && int64(len(text)) > most {
		bad = reach.Failf(check.TooLarge, "the page has more than %d bytes", most)
	}
	return bytes.ToValidUTF8([]byte(text), nil), bad
}
