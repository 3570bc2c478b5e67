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
p{margin:.5rem 0}
label{display:block;margin:1rem 0 .25rem;font-weight:600}
input{font:inherit;width:100%;box-sizing:border-box;padding:.55rem .6rem;border:1px solid color-mix(in srgb,currentColor 55%,transparent);border-radius:.3rem;background:Field;color:FieldText}
input:focus-visible,button:focus-visible,a:focus-visible{outline:3px solid #1a73e8;outline-offset:2px}
button{font:inherit;font-weight:600;margin:1.5rem 0 0;padding:.6rem 1.4rem;border:0;border-radius:.3rem;background:#0b57a4;color:#fff;cursor:pointer}
nav{display:flex;justify-content:space-between;gap:1rem;font-size:.95rem;margin-bottom:2rem}
.wrong{border-left:.35rem solid #b3261e;padding:.5rem .8rem;background:color-mix(in srgb,#b3261e 12%,transparent)}
.hint{font-size:.92rem;opacity:.85;margin:.2rem 0 0}
.key{font:1rem/1.4 ui-monospace,"Cascadia Mono","Noto Sans Mono",monospace;overflow-wrap:anywhere}
img{background:#fff;padding:8px;display:block;max-width:100%;height:auto}`

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

// formText is the page for entering and for setting a password: usable without scripts, with a password manager, and with
// a keyboard alone.
const formText = `<!DOCTYPE html>
<html lang="{{.Lang}}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{if .Setup}}{{.Say "access.setup"}}{{else}}{{.Say "access.login"}}{{end}} – egovmon</title>
<style>` + pageStyle + `</style>
</head>
<body>
<nav aria-label="{{.Say "board.language"}}"><span>{{.Say "board.brand"}}</span>{{if eq .Lang "vi"}}<a href="{{.Other}}" lang="en" hreflang="en">English</a>{{else}}<a href="{{.Other}}" lang="vi" hreflang="vi">Tiếng Việt</a>{{end}}</nav>
<main>
<h1>{{if .Setup}}{{.Say "access.setup"}}{{else}}{{.Say "access.login"}}{{end}}</h1>
{{if .Wrong}}<p class="wrong" role="alert">{{.Wrong}}</p>
{{end}}{{if .Setup}}<form method="post">
<input type="text" name="user" value="{{.User}}" autocomplete="username" readonly hidden>
<p>{{.Say "access.for" .User}}</p>
<label for="password">{{.Say "access.fresh"}}</label>
<input id="password" name="password" type="password" autocomplete="new-password" required maxlength="128" aria-describedby="least">
<p class="hint" id="least">{{if .Must}}{{.Say "access.least.must" .Least}}{{else}}{{.Say "access.least" .Alone .Least}}{{end}}</p>
<label for="again">{{.Say "access.again"}}</label>
<input id="again" name="again" type="password" autocomplete="new-password" required maxlength="128">
<label for="code">{{if .Must}}{{.Say "access.code"}}{{else}}{{.Say "access.code.maybe"}}{{end}}</label>
<p>{{.Say "access.scan"}}</p>
{{if .Picture}}<p><img src="{{.Picture}}" width="220" height="220" alt="{{.Say "access.picture"}}"></p>
{{end}}<p class="key">{{.Key}}</p>
<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="10"{{if .Must}} required{{end}}>
<button>{{.Say "access.set"}}</button>
</form>{{else}}<form method="post" action="/login">
<input type="hidden" name="next" value="{{.Next}}">
<label for="user">{{.Say "access.user"}}</label>
<input id="user" name="user" value="{{.User}}" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="32"{{if not .User}} autofocus{{end}}>
<label for="password">{{.Say "access.password"}}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required maxlength="128"{{if .User}} autofocus{{end}}>
<label for="code">{{.Say "access.code.enter"}}</label>
<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="10">
<p class="hint">{{.Say "access.code.hint"}}</p>
<button>{{.Say "access.enter.button"}}</button>
</form>
<p class="hint">{{.Say "access.forgotten"}}</p>{{end}}
</main>
</body>
</html>
`

func parsePages() (*template.Template, error) {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return nil, err
	}
	_, err = t.New("form").Parse(formText)
	return t, err
}

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
