package board

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"egovmon/agent/words"
)

// A seal is a Prover in memory.
type seal struct {
	standing Standing
	err      error
	got      string
	proof    Proof
	wrong    error
}

func (s *seal) Standing(context.Context) (Standing, error) { return s.standing, s.err }

func (s *seal) Prove(_ context.Context, _ words.Lang, key string, export io.Reader) (Proof, error) {
	b, err := io.ReadAll(export)
	s.got = key + "|" + string(b)
	return s.proof, errors.Join(err, s.wrong)
}

func sealed() Standing {
	return Standing{Origin: "egovmon/huyen-tu-ky/log/1", Key: "egovmon/huyen-tu-ky/log/1+1234abcd+AZ5f3m1Zr0T6b1n5bQ0xG4Jr2pQ3C1u7d8aYk2lM4nOp", Size: 1234567,
		Root: "qL8k2mQ0sZ4eT1rVxB7uC3yD5wE9fG6hJ0aKpNiMoS8=", Checkpoint: "egovmon/huyen-tu-ky/log/1\n1234567\nqL8k2mQ0sZ4eT1rVxB7uC3yD5wE9fG6hJ0aKpNiMoS8=\n\n— egovmon/huyen-tu-ky/log/1 EjSrzQ==\n",
		Round: 1234000, Begun: noon.Add(-20 * time.Minute), Every: time.Hour, Stamping: true, Stamped: noon.Add(-3 * time.Hour), StampSize: 1230000,
		Signers: []Signer{{Name: "egovmon/huyen-tu-ky/witness/may-chu", At: noon.Add(-10 * time.Minute)}, {Name: "egovmon/huyen-tu-ky/witness/so", At: noon.Add(-26 * time.Hour)},
			{Name: "egovmon/huyen-tu-ky/witness/tinh"}, {Name: "egovmon/huyen-tu-ky/witness/cu", Ended: true}}}
}

func sealHandler(s *seal) http.Handler {
	return NewHandler(troubled(), Options{Now: func() time.Time { return noon }, Prover: s})
}

func TestAuditPage(t *testing.T) {
	s := &seal{standing: sealed()}
	s.standing.Signers = append(s.standing.Signers, Signer{Name: "<script>alert(1)</script>"})
	w := httptest.NewRecorder()
	sealHandler(s).ServeHTTP(w, httptest.NewRequest("GET", "/audit", nil))
	page := w.Body.String()
	for _, want := range []string{"1.234.567", "qL8k2mQ0", "cách đây 10 phút", "đã lỡ hơn hai lượt", "chưa ký lần nào", "Dấu thời gian cho 1.230.000 mục", "EjSrzQ==", "&lt;script&gt;", `type="file"`, `href="/audit"`} {
		if w.Code != 200 || !strings.Contains(page, want) {
			t.Errorf("status %d; the page lacks %q", w.Code, want)
		}
	}
	if strings.Contains(page, "<script>alert") || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Error("a name is script, or the policy is gone")
	}
	s.standing, s.err = Standing{}, fmt.Errorf("x: %w", ErrForbidden)
	for _, method := range []string{"GET", "POST"} {
		w = httptest.NewRecorder()
		sealHandler(s).ServeHTTP(w, httptest.NewRequest(method, "/audit", nil))
		if w.Code != 403 || s.got != "" {
			t.Errorf("%s of who may not: status %d", method, w.Code)
		}
	}
}

// upload sends an export with its key before it.
func upload(h http.Handler, key, field, file, text string) *httptest.ResponseRecorder {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	_ = m.WriteField("key", key)
	f, _ := m.CreateFormFile(field, file)
	_, _ = io.WriteString(f, text)
	_ = m.Close()
	r := httptest.NewRequest("POST", "/audit", &b)
	r.Header.Set("Content-Type", m.FormDataContentType())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestProveAnExport(t *testing.T) {
	tests := []struct {
		name             string
		key, field, file string
		s                seal
		status           int
		want, got        string
	}{
		{"passes", " k+1 ", "export", "a.zip", seal{proof: Proof{true, "ĐẠT <b>"}}, 200, "ĐẠT &lt;b&gt;", "k+1|zip"},
		{"fails", "", "export", "a.zip", seal{proof: Proof{false, "sai"}}, 200, "KHÔNG đạt", "|zip"},
		{"no export", "", "export", "a.zip", seal{wrong: errors.New("no <zip>")}, 422, "no &lt;zip&gt;", "|zip"},
		{"too large", "", "export", "a.zip", seal{wrong: ErrExportLarge}, 413, "1 GB", "|zip"},
		{"another one", "", "export", "a.zip", seal{wrong: ErrProving}, 503, "bản xuất khác", "|zip"},
		{"none chosen", "", "export", "", seal{}, 400, "", ""},
		{"another field", "", "x", "a.zip", seal{}, 400, "", ""},
		{"a long key", strings.Repeat("k", maxKey+1), "export", "a.zip", seal{}, 400, "", ""},
	}
	for _, tt := range tests {
		tt.s.standing = sealed()
		w := upload(sealHandler(&tt.s), tt.key, tt.field, tt.file, "zip")
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) || tt.s.got != tt.got {
			t.Errorf("%s: status %d, want %d; %.60q was proven, want %q; the page lacks %q", tt.name, w.Code, tt.status, tt.s.got, tt.got, tt.want)
		}
	}
	w := sendForm(sealHandler(&seal{standing: sealed()}), "/audit", "key", "k")
	if w.Code != 400 {
		t.Errorf("a form without parts: status %d", w.Code)
	}
}
