package web

import (
	"bytes"
	"strings"
	"testing"

	"github.com/andybalholm/cascadia"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

const newsPage = `<!doctype html><html lang="vi-VN"><head><title> Cổng
 TTĐT </title><meta property="og:site" content="x"><script>if (1 < 2) { "<p class=tin>" }</script></head>
<body><div id=top class="a b"><h1>Tứ <b>Kỳ</b></h1><ul class="tin moi"><li>một<li class=x>hai <a href="/2" data-k="">Xem</a><li>ba<ul><li>bốn</ul></ul>
<p>mở đầu<p class=tin>tin <span class="ngay">23/11/2026</span></p><div class=tin><p>trong</p></div>
<table><tr><td>1<td class=c>2<tr><td>3</table><img src=a.png><br/><time datetime="2026-11-23">hôm nay</time></div></body></html>`

// What the selector finds is what an independent implementation finds on the tree of the same page.
func TestSelectorAgainstCascadia(t *testing.T) {
	tree, err := html.Parse(strings.NewReader(newsPage))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"li", "ul *", "#top", ".a.b", "div#top.a", "ul > li", "ul ul li", "ul li ul > li", "li + li", "li ~ li", "li.x", ".tin", "p.tin span.ngay", "p + p", "h1 b",
		"[lang|=vi]", "[lang|=v]", "a[href]", "a[href='/2']", `a[href^="/"]`, "a[href$='2']", "a[data-k]", "a[data-k^='']", "[class~=moi]", "[class*=o]", "td:first-child", "td:nth-child(2)",
		"li:not(.x)", "li:not(:first-child)", "p:not([class])", "b, time , img", "div p", "div > div > p", "body div ~ table td", "h1 ~ ul > li + li", "table td + td", "section", "title", "script",
	} {
		sel, err := ParseSelector(s)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		want, err := cascadia.ParseGroup(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		var texts []string
		for _, n := range cascadia.QueryAll(tree, want) {
			texts = append(texts, folded(n))
		}
		got := sel.Find([]byte(newsPage), 1000)
		if d := cmp.Diff(texts, got); d != "" {
			t.Errorf("%s (-cascadia +ours):\n%s", s, d)
		}
	}
}

func folded(n *html.Node) string {
	var b strings.Builder
	var add func(*html.Node)
	add = func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(" " + n.Data)
		}
		for c := range n.ChildNodes() {
			add(c)
		}
	}
	add(n)
	return strings.Join(strings.Fields(b.String()), " ")
}

func TestSelectorFinds(t *testing.T) {
	for _, tt := range []struct {
		selector, page string
		most           int
		want           []string
	}{
		{"time@datetime", newsPage, 9, []string{"2026-11-23"}},
		{"meta[property='og:site']@content", newsPage, 9, []string{"x"}},
		{"li, td@class", newsPage, 9, []string{"x", "c"}},
		{"li", newsPage, 2, []string{"một", "hai Xem"}},
		{"li@class", newsPage, 1, []string{"x"}},
		{"b", "<div><b>một</div>hai", 9, []string{"một"}},
		{"b", "<b>một</i></b>hai", 9, []string{"một"}},
		{"script", newsPage, 9, []string{`if (1 < 2) { "<p class=tin>" }`}},
		{"p", strings.Repeat("<div>", 1_000_000) + "<p>", 9, nil},
		{"p", strings.Repeat("<div>", 300) + "x" + strings.Repeat("</div>", 300) + "<p>đây", 9, []string{"đây"}},
		{"p", "<p>" + strings.Repeat("x", 10_000), 9, []string{strings.Repeat("x", maxFound)}},
	} {
		s, err := ParseSelector(tt.selector)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, s.Find([]byte(tt.page), tt.most)); d != "" {
			t.Errorf("%s in %.40s (-want +got):\n%.300s", tt.selector, tt.page, d)
		}
	}
}

func TestSelectorsThatAreNone(t *testing.T) {
	for _, s := range []string{"", " ", ">", "a >", "a,", "a[", "a[b=", "a[b=']", "a[b=c", ".", "#", "a:hover", "a::before", ":nth-child(2n)", ":nth-child(0)", ":not(a b)", ":not(a.b)", ":not(:not(a))",
		"a@", "a@b c", "a!b", "a|b", strings.Repeat("a,", 8) + "a", strings.Repeat("a ", 17), strings.Repeat("a", 513), ")"} {
		if _, err := ParseSelector(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestWords(t *testing.T) {
	leave, err := ParseSelector(".ngay")
	if err != nil {
		t.Fatal(err)
	}
	title, headings, lines := Words([]byte(newsPage), leave, 1<<20)
	want := []string{"Tứ", "Kỳ", "một", "hai", "Xem", "ba", "bốn", "mở đầu", "tin", "trong", "1", "2", "3", "hôm nay"}
	if d := cmp.Diff(want, lines); d != "" || title != "Cổng TTĐT" || !cmp.Equal(headings, []string{"Tứ", "Kỳ"}) {
		t.Errorf("title %q, headings %q (-want +got):\n%s", title, headings, d)
	}
	if _, _, lines = Words(bytes.Repeat([]byte("a<b>"), 1_000_000), nil, 64<<10); len(lines) > 2000 {
		t.Errorf("%d lines", len(lines))
	}
}

func FuzzSelector(f *testing.F) {
	f.Add("ul > li:not(.x) + li, a[href^='/']@href", []byte(newsPage))
	f.Add("*", []byte("<li><table><td><li></table></li></p>"))
	f.Fuzz(func(t *testing.T, s string, page []byte) {
		sel, err := ParseSelector(s)
		if err != nil {
			return
		}
		found := sel.Find(page, 16)
		if len(found) > 16 {
			t.Errorf("%d were found", len(found))
		}
		for _, v := range found {
			if len(v) > 2*maxFound+maxTag {
				t.Errorf("%d bytes were found", len(v))
			}
		}
		Words(page, sel, 1<<16)
	})
}
