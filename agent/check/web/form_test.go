package web

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParse(t *testing.T) {
	got := Parse([]byte(`<FORM id=a METHOD=Post action=" /x "><input name=u><input type=Hidden name=t value="a&amp;b" value=c><form><select name=s></form>
		<textarea name=z form=a><input name=no></textarea><button name=k form=none>` + `<img src=c.png alt="mã">`))
	want := Elements{
		Forms:  []Form{{Action: "/x", Method: "post", Fields: []Field{{Name: "u", Type: "text"}, {Name: "t", Type: "hidden", Value: "a&b"}, {Name: "s", Type: "select"}, {Name: "z", Type: "textarea"}}}},
		Images: []Image{{"c.png", "   mã"}},
		Loose:  []Field{{Name: "k", Type: "button"}},
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Form{}, Field{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if v, ok := got.Value("t"); v != "a&b" || !ok {
		t.Errorf("the token is %q %v", v, ok)
	}
	if _, ok := got.Value("gone"); ok {
		t.Error("a field that is not there has a value")
	}
}

func TestParseIsBounded(t *testing.T) {
	e := Parse([]byte(strings.Repeat("<form><input></form><img>", 100_000)))
	if len(e.Forms) != MaxForms || len(e.Images) != MaxForms || len(e.Forms[0].Fields) != 1 {
		t.Errorf("%d forms, %d images", len(e.Forms), len(e.Images))
	}
	if e = Parse([]byte(strings.Repeat("<div>", 1_000_000) + "<form><input name=a>")); len(e.Forms) != 1 || !e.Forms[0].Has("a") {
		t.Error("a form deep down was not found")
	}
	if e = Parse([]byte("<form><input name=a><p " + strings.Repeat("x", 2<<20) + "><input name=b>")); len(e.Forms) != 1 || e.Forms[0].Has("b") {
		t.Error("a tag without end was read on")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("<form><input name=a value='&#x110;'><template><form></template></form>"))
	f.Add([]byte("</form></template><input form=x><form id=x><form"))
	f.Add([]byte("<textarea><input name=a>"))
	f.Fuzz(func(t *testing.T, page []byte) {
		e := Parse(page)
		n := len(e.Loose)
		for _, x := range e.Forms {
			n += len(x.Fields)
			for _, y := range x.Fields {
				if v, ok := e.Value(y.Name); !ok || len(v) > 4*len(page) {
					t.Errorf("field %q: value %q %v", y.Name, v, ok)
				}
			}
		}
		if n > MaxFields || len(e.Forms) > MaxForms || len(e.Images) > MaxForms {
			t.Errorf("%d fields, %d forms, %d images", n, len(e.Forms), len(e.Images))
		}
	})
}
