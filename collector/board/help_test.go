package board

import (
	"regexp"
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/words"
	"egovmon/collector/verdict"
)

// TestHelp: the words of the field and every chapter of the runbook, in both languages.
func TestHelp(t *testing.T) {
	h := acking(troubled(), nil)
	for lang, wants := range map[string][]string{"vi": {"Trợ giúp", "Bộ phận Tiếp nhận và Trả kết quả (Bộ phận Một cửa)", "Sổ tay xử lý sự cố"}, "en": {"Help", "one-stop-shop section", "Runbook of incidents"}} {
		code, page := fetched(h, "/help?lang="+lang)
		for _, want := range wants {
			if code != 200 || !strings.Contains(page, want) {
				t.Errorf("%s: status %d, the page lacks %q", lang, code, want)
			}
		}
		for _, k := range verdict.Kinds() {
			if !strings.Contains(page, `href="/help/`+string(k)+`"`) {
				t.Errorf("%s: no way to the chapter %s", lang, k)
			}
			code, chapter := fetched(h, "/help/"+string(k)+"?lang="+lang)
			if e := verdict.Runbook(words.ParseLang(lang), k, k.Reasons()[0]); code != 200 || !strings.Contains(chapter, `<tr id="`+string(k.Reasons()[0])+`">`) || !strings.Contains(chapter, strings.ReplaceAll(e.First, "'", "&#39;")) ||
				strings.Count(chapter, "<tr id=") != len(k.Reasons()) || strings.Contains(chapter, "<help.") || strings.Contains(chapter, "<runbook.") {
				t.Errorf("%s: the chapter %s is not whole, status %d", lang, k, code)
			}
		}
	}
	if code, page := fetched(h, "/help/x%3Cscript%3E"); code != 404 || strings.Contains(page, "<script>") {
		t.Errorf("no such chapter: status %d", code)
	}
	seen := map[Name]bool{}
	for _, n := range terms() {
		if n.VI == "" || n.EN == "" || seen[n] {
			t.Errorf("the term %q (%q) lacks a language, or stands there twice", n.VI, n.EN)
		}
		seen[n] = true
	}
}

var guideLink = regexp.MustCompile(`id="guide-a" href="(/help/[a-z]+)#?([a-z_0-9]*)"`)

// TestGuide: the page of an open incident says what to do and leads to the runbook at its reason; of one that is over, it does not.
func TestGuide(t *testing.T) {
	h := acking(troubled(), nil)
	for _, i := range troubled().view.Incidents {
		code, page := fetched(h, incidentPage(i.ID))
		m := guideLink.FindStringSubmatch(page)
		if !i.Closed.IsZero() {
			if m != nil {
				t.Errorf("%s is over, and yet there is something to do", i.ID)
			}
			continue
		}
		if code != 200 || m == nil {
			t.Errorf("%s: status %d, no way to the runbook", i.ID, code)
			continue
		}
		if code, chapter := fetched(h, m[1]); code != 200 || m[2] != "" && !strings.Contains(chapter, `<tr id="`+m[2]+`">`) {
			t.Errorf("%s leads to %s#%s, which is not there: status %d", i.ID, m[1], m[2], code)
		}
		if want := verdict.Runbook(words.VI, verdict.Kind(i.Kind), i.Reason).First; i.Cause.Kind == "" && !strings.Contains(page, want) {
			t.Errorf("%s lacks %q", i.ID, want)
		}
	}
	for _, tt := range []struct {
		i    Incident
		link string
	}{
		{Incident{Kind: KindService, Reason: check.TLSExpired}, "/help/service#tls_expired"},
		{Incident{Kind: KindService, Reason: check.TLSExpired, Cause: Cause{Kind: "authority"}}, "/help/authority#tls_expired"},
		{Incident{Kind: KindFleet, Reason: check.TLSExpired}, "/help/fleet"},
		{Incident{Kind: "kind-of-tomorrow", Reason: check.TLSExpired}, ""},
	} {
		if g := guideOf(words.VI, tt.i); g == nil && tt.link != "" || g != nil && g.Link != tt.link {
			t.Errorf("%+v: %+v, want %q", tt.i, g, tt.link)
		}
	}
}
