package board

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed assets templates
var files embed.FS

// assets are the style, the script and the icon, each served under a name that has its hash in it, so that a browser may
// keep it for ever.
type assets struct {
	hashed map[string]string // plain name → address
	data   map[string][]byte // hashed name → content
}

// loadAssets panics when what was built in cannot be read.
func loadAssets() *assets {
	a := &assets{hashed: map[string]string{}, data: map[string][]byte{}}
	names, err := fs.ReadDir(files, "assets")
	if err != nil {
		panic(err)
	}
	for _, e := range names {
		data, err := files.ReadFile(path.Join("assets", e.Name()))
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(data)
		ext := path.Ext(e.Name())
		name := strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:6]) + ext
		a.hashed[e.Name()], a.data[name] = "/assets/"+name, data
	}
	return a
}

func (a *assets) path(name string) string { return a.hashed[name] }

func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	data, ok := a.data[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	h := w.Header()
	h.Set("Content-Type", types[path.Ext(name)])
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}

// parsePages panics when the templates that were built in are no templates.
func parsePages() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{"pair": pair}).ParseFS(files, "templates/*.html"))
}

// pair gives a template two values: the frame, for its words, and what it is about.
func pair(f frame, item any) struct {
	F frame
	X any
} {
	return struct {
		F frame
		X any
	}{f, item}
}
