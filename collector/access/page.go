package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"

	"egovmon/agent/words"
)

// The pages that are shown without a session: the keys of their first phrase.
const (
	pageEnter = "access.enter"
	pageGone  = "access.gone"
)

// pageStyle is allowed by its hash, so that these pages need no second request, which would need a session.
const pageStyle = `:root{color-scheme:light dark}
body{font:1.0625rem/1.6 system-ui,"Segoe UI","Noto Sans",Roboto,sans-serif;max-width:36rem;margin:12vh auto 2rem;padding:0 1.25rem}
h1{font-size:1.35rem;line-height:1.3;margin:0 0 .5rem}
h2{font-size:1.1rem;line-height:1.3;margin:0 0 .5rem}
section+section{margin-top:2.5rem;padding-top:1.5rem;border-top:1px solid color-mix(in srgb,currentColor 25%,transparent)}
code{font:.95em/1.4 ui-monospace,"Cascadia Mono","Noto Sans Mono",monospace;background:color-mix(in srgb,currentColor 10%,transparent);padding:.15em .4em;border-radius:.25em}
p{margin:.5rem 0}`

const pageText = `<!DOCTYPE html>
<html lang="vi">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Vi.Title}} – egovmon</title>
<style>` + pageStyle + `</style>
</head>
<body>
<main>
<section>
<h1>{{.Vi.Title}}</h1>
<p>{{.Vi.How}}</p>
<p><code>collector link</code></p>
<p>{{.Vi.Then}}</p>
</section>
<section lang="en">
<h2>{{.En.Title}}</h2>
<p>{{.En.How}}</p>
<p><code>collector link</code></p>
<p>{{.En.Then}}</p>
</section>
</main>
</body>
</html>
`

type pageWords struct{ Title, How, Then string }

func parsePages() (*template.Template, error) { return template.New("page").Parse(pageText) }

// page writes one of the pages, in both languages.
func (a *Access) page(w http.ResponseWriter, status int, key string) {
	in := func(l words.Lang) pageWords {
		return pageWords{words.Say(l, key), words.Say(l, "access.how"), words.Say(l, "access.then")}
	}
	var b bytes.Buffer
	if err := a.pages.Execute(&b, struct{ Vi, En pageWords }{in(words.VI), in(words.EN)}); err != nil {
		a.log.Error("page not written", "err", err)
		http.Error(w, "Internal error; the log says more.", http.StatusInternalServerError)
		return
	}
	sum := sha256.Sum256([]byte(pageStyle))
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}
