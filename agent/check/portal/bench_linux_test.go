package portal

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// The peer of BenchmarkAgainstBare serves one page of 2 kB.
func TestMain(m *testing.M) {
	checktest.Child(Kinds())
	page := []byte("<p>Tứ Kỳ</p>" + strings.Repeat("x", 2000))
	checktest.MainWithPeer(m, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	}))
}

// BenchmarkAgainstBare compares the processor time of a check with that of a plain Go client that opens a fresh
// connection and reads the body, turn by turn in one process against the same server in another.
func BenchmarkAgainstBare(b *testing.B) {
	a := checktest.NewAuthority(b, "portal.test")
	plain, secure := checktest.StartPeer(b, a)
	roots, bare := a.Roots(), checktest.BareClient(a)
	for _, bb := range []struct{ name, url string }{{"http", "http://" + plain + "/"}, {"https", "https://" + secure + "/"}} {
		for _, with := range []struct {
			name string
			o    check.Options
		}{{"", check.Options{}}, {"+content", check.Options{"contains": []string{"Tứ Kỳ"}, "absent": []string{"bảo trì"}}}} {
			b.Run(bb.name+with.name, func(b *testing.B) {
				with.o["url"], with.o["roots"] = bb.url, roots
				f := checktest.NewFunc(b, httpKind(), with.o, check.Env{})
				checktest.Compare(b, 20, func(ctx context.Context) error {
					if r := f(ctx); r.Reason != check.OK {
						return fmt.Errorf("%s: %s", r.Reason, r.Detail)
					}
					return nil
				}, func(ctx context.Context) error { return bare(ctx, bb.url) })
			})
		}
	}
}
