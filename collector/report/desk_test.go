package report

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/words"
	"egovmon/collector/evidence"
)

// A rig is a desk over a real log.
type rig struct {
	*Desk
	t   *testing.T
	log *evidence.Store
	now time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	signer, key := logKey(t)
	v, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	log, err := evidence.Open(evidence.Options{Dir: t.TempDir(), Origin: v.Name(), Signer: signer, Verifier: v, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	r := &rig{t: t, log: log, now: day(2026, 9, 15).Add(10 * time.Hour)}
	r.Desk = NewDesk(filepath.Join(t.TempDir(), "reports"), log, func() time.Time { return r.now })
	return r
}

var quarter = Scope{Period: "2026-Q3"}

// issue drafts, reviews and issues.
func (r *rig) issue(s Scope, m Model, why string) Issued {
	r.t.Helper()
	x, err := r.Put(s, m, Program)
	if err == nil {
		_, err = r.Review(s, x.SHA256[:12], "binh")
	}
	var i Issued
	if err == nil {
		i, err = r.Issue(r.t.Context(), s, "an", why)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return i
}

// A report that was issued is made again from the log with the same bytes, whatever came later.
func TestIssuedIsFrozen(t *testing.T) {
	r := newRig(t)
	m := full(t)
	first := r.issue(quarter, m, "")
	if first.Number != 1 || first.Supersedes != -1 || first.ReviewedBy != "binh" || first.By != "an" {
		t.Errorf("issued %+v", first)
	}
	if ds, err := r.Drafts(); err != nil || len(ds) != 0 {
		t.Errorf("%d drafts are left, %v", len(ds), err)
	}
	makes := map[string]func(Model) ([]byte, error){
		"json": JSON,
		"docx": func(m Model) ([]byte, error) { return DOCX(m, words.VI) },
		"xlsx": func(m Model) ([]byte, error) { return XLSX(m, words.VI) },
		"pdf":  func(m Model) ([]byte, error) { return PDF(m, words.VI) },
		"csv":  CSV,
	}
	before := map[string][]byte{}
	for name, f := range makes {
		b, err := f(m)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = b
	}
	r.now = r.now.AddDate(0, 1, 0)
	other := sample(t)
	other.Rows[0].Calendars[0].Account.Down += 60
	second := r.issue(quarter, other, "sửa  theo\nbiên bản 12")
	if second.Number != 2 || second.Supersedes != first.Leaf || second.Why != "sửa theo biên bản 12" {
		t.Errorf("the second version: %+v", second)
	}
	again := NewDesk(r.dir, r.log, r.Desk.now) // as after a restart
	for name, f := range makes {
		got, i, err := again.Model(quarter, 1)
		if err != nil || i != first {
			t.Fatalf("version 1: %+v, %v", i, err)
		}
		b, err := f(got)
		if err != nil || !bytes.Equal(b, before[name]) {
			t.Errorf("%s made again has other bytes (%v)", name, err)
		}
	}
	if _, i, err := again.Model(quarter, 0); err != nil || i.Number != 2 {
		t.Errorf("the latest is version %d, %v", i.Number, err)
	}
	if _, _, err := again.Model(quarter, 3); err == nil {
		t.Error("there is a third version")
	}
	if _, _, err := again.Model(Scope{Period: "2026-Q3", Unit: "xa-a"}, 0); err == nil {
		t.Error("a unit's report is that of the district")
	}
}

func TestIssueRefuses(t *testing.T) {
	early := func(m *Model) { m.Counted = m.To.Add(-time.Hour) }
	for name, do := range map[string]func(r *rig, m Model) error{
		"without a draft": func(r *rig, _ Model) error { _, err := r.Issue(r.t.Context(), quarter, "an", ""); return err },
		"without a review": func(r *rig, m Model) error {
			if _, err := r.Put(quarter, m, Program); err != nil {
				r.t.Fatal(err)
			}
			_, err := r.Issue(r.t.Context(), quarter, "an", "")
			return err
		},
		"a draft that was made again after its review": func(r *rig, m Model) error {
			x, err := r.Put(quarter, m, Program)
			if err == nil {
				_, err = r.Review(quarter, x.SHA256, "binh")
			}
			if err == nil {
				_, err = r.Put(quarter, m, Program)
			}
			if err != nil {
				r.t.Fatal(err)
			}
			_, err = r.Issue(r.t.Context(), quarter, "an", "")
			return err
		},
		"review of another draft": func(r *rig, m Model) error {
			if _, err := r.Put(quarter, m, Program); err != nil {
				r.t.Fatal(err)
			}
			_, err := r.Review(quarter, strings.Repeat("0", 64), "binh")
			return err
		},
		"review by nobody": func(r *rig, m Model) error {
			x, err := r.Put(quarter, m, Program)
			if err != nil {
				r.t.Fatal(err)
			}
			_, err = r.Review(quarter, x.SHA256, Program)
			return err
		},
		"of a period that has not ended": func(r *rig, m Model) error {
			early(&m)
			x, err := r.Put(quarter, m, Program)
			if err == nil {
				_, err = r.Review(quarter, x.SHA256, "binh")
			}
			if err != nil {
				r.t.Fatal(err)
			}
			_, err = r.Issue(r.t.Context(), quarter, "an", "")
			return err
		},
		"a second version without a reason": func(r *rig, m Model) error {
			r.issue(quarter, m, "")
			x, err := r.Put(quarter, m, Program)
			if err == nil {
				_, err = r.Review(quarter, x.SHA256, "binh")
			}
			if err != nil {
				r.t.Fatal(err)
			}
			_, err = r.Issue(r.t.Context(), quarter, "an", " \n")
			return err
		},
		"a draft that was changed by hand": func(r *rig, m Model) error {
			x, err := r.Put(quarter, m, Program)
			if err == nil {
				_, err = r.Review(quarter, x.SHA256, "binh")
			}
			path := filepath.Join(r.dir, quarter.ID()+".json")
			b, e := os.ReadFile(path)
			if err != nil || e != nil {
				r.t.Fatal(err, e)
			}
			if err := os.WriteFile(path, bytes.Replace(b, []byte(`"down": 9000`), []byte(`"down": 9`), 1), 0o600); err != nil {
				r.t.Fatal(err)
			}
			_, err = r.Issue(r.t.Context(), quarter, "an", "")
			return err
		},
		"by who reviewed it": func(r *rig, m Model) error {
			x, err := r.Put(quarter, m, Program)
			if err == nil {
				_, err = r.Review(quarter, x.SHA256, "binh")
			}
			if err != nil {
				r.t.Fatal(err)
			}
			_, err = r.Issue(r.t.Context(), quarter, "Binh", "")
			return err
		},
		"by who reviewed it, by another way in": func(r *rig, m Model) error {
			x, err := r.Put(quarter, m, Program)
			if err == nil {
				_, err = r.Review(quarter, x.SHA256, "operator@local")
			}
			if err != nil {
				r.t.Fatal(err)
			}
			_, err = r.Issue(r.t.Context(), quarter, "program@local", "")
			return err
		},
		"by who made it": func(r *rig, m Model) error {
			x, err := r.Put(quarter, m, "an")
			if err == nil {
				_, err = r.Review(quarter, x.SHA256, "binh")
			}
			if err != nil {
				r.t.Fatal(err)
			}
			_, err = r.Issue(r.t.Context(), quarter, "an", "")
			return err
		},
		"a name that leaves the folder": func(r *rig, m Model) error { _, err := r.Put(Scope{Period: "../x"}, m, Program); return err },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			size := func() int {
				all, err := r.Issued()
				if err != nil {
					t.Fatal(err)
				}
				return len(all)
			}
			err := do(r, sample(t))
			if err == nil || name == "without a review" && !strings.Contains(err.Error(), "is not reviewed") {
				t.Errorf("refused with %v", err)
			}
			if n := size(); n > 1 || n == 1 && name != "a second version without a reason" {
				t.Errorf("%d reports were issued", n)
			}
		})
	}
}

// A log in which versions are skipped, or two supersede one, has no such register.
func TestRegisterInOrder(t *testing.T) {
	at := day(2026, 9, 20)
	good := Issued{Scope: quarter, Number: 1, At: at, By: "an", ReviewedBy: "binh", ReviewedAt: at, Supersedes: -1}
	for name, change := range map[string]func(i *Issued){
		"the second version first": func(i *Issued) { i.Number = 2 },
		"it supersedes nothing":    func(i *Issued) { i.Supersedes = 7 },
	} {
		i := good
		change(&i)
		e, err := i.Entry([]byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		var r Register
		if err := r.Apply(evidence.Stored{Entry: e}); err == nil || len(r.All()) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	var r Register
	e, err := good.Entry([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(evidence.Stored{Entry: e, Index: 4}); err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(evidence.Stored{Entry: e, Index: 5}); err == nil {
		t.Error("the first version comes twice")
	}
	if e, err = good.Entry(nil); err != nil {
		t.Fatal(err)
	}
	if err := new(Register).Apply(evidence.Stored{Entry: e}); err == nil {
		t.Error("a report without a report")
	}
}
