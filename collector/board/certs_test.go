package board

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check/certlist"
	"egovmon/agent/check/signature"
	"egovmon/collector/certs"
)

// A cabinet is a Registry in memory.
type cabinet struct {
	by, unit string
	names    bool
	list     []Certificates
	did      []string
	err      error
}

func (c *cabinet) Rights(context.Context) (string, string, bool) { return c.by, c.unit, c.names }
func (c *cabinet) Certificates(context.Context) ([]Certificates, error) {
	return c.list, nil
}
func (c *cabinet) Enter(_ context.Context, unit string, text []byte) (certs.Added, error) {
	c.did = append(c.did, fmt.Sprintf("enter %s %d bytes", unit, len(text)))
	return certs.Added{New: 2, Known: 1}, c.err
}
func (c *cabinet) Remove(_ context.Context, leaf int64) error {
	c.did = append(c.did, fmt.Sprintf("remove %d", leaf))
	return c.err
}

func holder(leaf int64, name, org string, days int) certs.Entry {
	return certs.Entry{Leaf: leaf, Unit: "xa-07", Cert: &x509.Certificate{SerialNumber: big.NewInt(leaf), Subject: pkix.Name{CommonName: name, Organization: []string{org}},
		NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.Add(time.Duration(days)*24*time.Hour + time.Hour)}}
}

func cabinetHandler(c *cabinet) http.Handler {
	return NewHandler(troubled(), Options{Now: func() time.Time { return noon }, Registry: c})
}

func (c *cabinet) send(h http.Handler, file []byte, fields ...string) *httptest.ResponseRecorder {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = m.WriteField(fields[i], fields[i+1])
	}
	if file != nil {
		w, _ := m.CreateFormFile("file", "x.cer")
		_, _ = w.Write(file)
	}
	_ = m.Close()
	r := httptest.NewRequest("POST", "/certs", &b)
	r.Header.Set("Content-Type", m.FormDataContentType())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// standing is a certificate of which something was learnt.
func standing(e certs.Entry, s signature.Standing) certs.Entry {
	e.Standing = s
	return e
}

func TestCertsPage(t *testing.T) {
	c := &cabinet{by: "an", names: true, list: []Certificates{
		{Name: Name{VI: "Xã Chí Minh"}, Tally: certs.Tally{Unit: "xa-07", Classes: [certlist.Classes]int{1, 0, 2, 0, 4}, Other: 3, Renewed: 5, Erased: 6, Revoked: 2, Stray: 3, First: noon.AddDate(0, 0, 20)},
			List: []certs.Entry{holder(4, "<script>alert(1)</script>", "UBND <b>xã</b>", 20), holder(5, "Trần Hoa", "x", -2), {Leaf: 6, Unit: "xa-07"}, standing(holder(7, "Lê Nam", "x", 50), signature.Revoked), standing(holder(8, "Vũ Hà", "x", 51), signature.Stray)}},
		{Name: Name{VI: "Xã Khác"}, Tally: certs.Tally{Unit: "xa-08", Classes: [certlist.Classes]int{certlist.Later: 9}}},
	}}
	h := cabinetHandler(c)
	code, page := fetched(h, "/certs")
	for _, want := range []string{"Chứng thư số", "Xã Chí Minh", "3 chứng thư ghi tên đơn vị khác", "5 chứng thư đã được gia hạn", "6 chứng thư đã xóa", "2 chứng thư đã bị thu hồi", "3 chứng thư không dẫn tới", "đã bị thu hồi: không ký được", "còn 51 ngày · không dẫn tới chứng thư gốc đã khai", "&lt;script&gt;", "UBND &lt;b&gt;", "còn 20 ngày",
		"Trần Hoa", "đã hết hạn", "(đã xóa khỏi kho chứng cứ)", `name="leaf" value="4"`, "Thêm chứng thư"} {
		if code != 200 || !strings.Contains(page, want) {
			t.Errorf("status %d; the page lacks %q", code, want)
		}
	}
	if strings.Contains(page, "<script>alert") {
		t.Error("a name is script")
	}
	if got := get(h, "/certs").Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q: names would stay in caches", got)
	}
	if _, page := fetched(h, "/"); !strings.Contains(page, `href="/certs"`) {
		t.Error("no way to the page")
	}
	for _, tt := range []struct {
		file   []byte
		fields []string
		err    error
		status int
		did    string
		say    string
	}{
		{[]byte("abc"), []string{"do", "add", "unit", "xa-07"}, nil, 200, "enter xa-07 3 bytes", "Đã ghi 2 chứng thư mới; 1 đã có"},
		{nil, []string{"do", "add", "unit", "xa-07"}, nil, 422, "", "no file was chosen"},
		{make([]byte, certs.MaxUpload+1), []string{"do", "add", "unit", "xa-07"}, nil, 200, "enter xa-07 1048577 bytes", ""},
		{make([]byte, certs.MaxUpload+128<<10), []string{"do", "add", "unit", "xa-07"}, nil, 400, "", "lớn hơn 1 MB"},
		{[]byte("abc"), []string{"do", "add", "unit", "xa-07"}, fmt.Errorf("file: %w", certlist.ErrPrivateKey), 422, "enter xa-07 3 bytes", "có khóa bí mật nên bị từ chối"},
		{[]byte("abc"), []string{"do", "add", "unit", "xa-07"}, certlist.ErrPKCS12, 422, "enter xa-07 3 bytes", "có khóa bí mật nên bị từ chối"},
		{[]byte("abc"), []string{"do", "add", "unit", "xa-07"}, certs.ErrNobody, 422, "enter xa-07 3 bytes", "cơ quan chứng thực"},
		{[]byte("abc"), []string{"do", "add", "unit", "xa-07"}, errors.New("<b>"), 422, "enter xa-07 3 bytes", "&lt;b&gt;"},
		{nil, []string{"do", "remove", "leaf", "4"}, nil, 200, "remove 4", "Đã bỏ khỏi danh sách"},
		{nil, []string{"do", "remove", "leaf", "x"}, nil, 400, "", ""},
		{nil, []string{"do", "drop"}, nil, 400, "", ""},
	} {
		c.did, c.err = nil, tt.err
		w := c.send(h, tt.file, tt.fields...)
		if got := strings.Join(c.did, ";"); w.Code != tt.status || got != tt.did || !strings.Contains(w.Body.String(), tt.say) {
			t.Errorf("%v: status %d, did %q; want %d, %q, %q", tt.fields, w.Code, got, tt.status, tt.did, tt.say)
		}
	}
}

// Who may not see names sees counts, even when the list slips through; who may not enter gets no form.
func TestCertsPageWithoutNames(t *testing.T) {
	c := &cabinet{list: []Certificates{{Name: Name{VI: "Xã Chí Minh"}, Tally: certs.Tally{Unit: "xa-07", Classes: [certlist.Classes]int{1, 0, 2, 0, 4}},
		List: []certs.Entry{holder(4, "Trần Hoa", "UBND xã", 20)}}}}
	h := cabinetHandler(c)
	code, page := fetched(h, "/certs")
	if code != 200 || !strings.Contains(page, "Xã Chí Minh") {
		t.Errorf("status %d", code)
	}
	for _, bad := range []string{"Trần Hoa", "UBND xã", "<form method=\"post\" action=\"/certs\""} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if w := c.send(h, []byte("abc"), "do", "add", "unit", "xa-07"); w.Code != 403 || len(c.did) > 0 {
		t.Errorf("status %d, did %v", w.Code, c.did)
	}
}

// certified is a register with people of every class.
func certified() []Certificates {
	return []Certificates{
		{Name: Name{VI: "Xã Đại Hợp", EN: "Đại Hợp commune"}, Tally: certs.Tally{Unit: "xa-07", Classes: [certlist.Classes]int{1, 1, 2, 0, 4}, Other: 3, Renewed: 5, Erased: 1, First: noon.AddDate(0, 0, 12)},
			List: []certs.Entry{holder(5, "Trần Thị Hoa", "Ủy ban nhân dân xã Đại Hợp", -2), holder(8, "Nguyễn Văn Bình", "Ủy ban nhân dân xã Đại Hợp, huyện Tứ Kỳ, tỉnh Hải Dương", 12),
				holder(4, "Lê Thị Phương Thảo", "Văn phòng HĐND và UBND", 20), holder(9, "Phạm Quang Vinh", "Ủy ban nhân dân xã Đại Hợp", 300), {Leaf: 6, Unit: "xa-07"}}},
		{Name: Name{VI: "Xã Văn Tố", EN: "Văn Tố commune"}, Tally: certs.Tally{Unit: "xa-08", Classes: [certlist.Classes]int{certlist.Later: 9}, First: noon.AddDate(0, 8, 0)}},
		{Name: Name{VI: "Xã An Thanh", EN: "An Thanh commune"}, Tally: certs.Tally{Unit: "xa-09", Erased: 1}},
	}
}

// TestCardsAreLabelled: on a phone each row is a card, where a figure without its column's name says nothing.
func TestCardsAreLabelled(t *testing.T) {
	for path, h := range map[string]http.Handler{"/certs": cabinetHandler(&cabinet{by: "an", names: true, list: certified()}), "/confirmations": clerkHandler(&clerk{name: "an", list: confirming()}, ""),
		"/history": historyHandler(nil, chronicled(), nil), "/suspensions": notaryHandler(&notary{name: "an", list: suspending().view.Suspensions}, "")} {
		_, page := fetched(h, path)
		cells := strings.Count(page, "<td")
		for _, own := range []string{"<td><details>", `<td class="void">–`} { // what is done with a row names itself
			cells -= strings.Count(page, own)
		}
		if n := strings.Count(page, "data-label="); n == 0 || n != cells {
			t.Errorf("%s: %d of %d cells are labelled", path, n, cells)
		}
	}
}

// TestChooseTheUnit: no unit is chosen beforehand, so that nobody enters certificates for the first one of the list; a notice
// that was taken back before it began shows when it would have held.
func TestChooseTheUnit(t *testing.T) {
	c := &cabinet{by: "an"}
	if _, page := fetched(cabinetHandler(c), "/certs"); !strings.Contains(page, `required><option value="">(chọn đơn vị)`) {
		t.Error("a unit is chosen beforehand")
	}
	c.unit = "xa-07"
	if _, page := fetched(cabinetHandler(c), "/certs"); strings.Contains(page, "(chọn đơn vị)") || !strings.Contains(page, `<option value="xa-07">`) {
		t.Error("who is of one unit has to choose it")
	}
	if _, page := fetched(notaryHandler(&notary{list: suspending().view.Suspensions[3:]}, ""), "/suspensions"); !strings.Contains(page, "08:30:20 ngày 26/11/2026 – 16:30:20 ngày 26/11/2026") {
		t.Error("what was taken back has no end")
	}
}

// TestCertsStayOffTheDisk: a file of the largest size is taken though there is no folder for what does not fit into memory.
func TestCertsStayOffTheDisk(t *testing.T) {
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, t.TempDir()+"/gone")
	}
	c := &cabinet{by: "an"}
	if w := c.send(cabinetHandler(c), make([]byte, certs.MaxUpload), "do", "add", "unit", "xa-07"); w.Code != http.StatusOK || len(c.did) != 1 {
		t.Errorf("status %d, did %v: the file was to go to the disk", w.Code, c.did)
	}
}
