package incident

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// An Act is what a person does to an incident, beyond acknowledging it. User, What and what that needs must be set.
type Act struct {
	What    What // Assigned, Commented, Classified, Escalated or Concluded
	User    string
	Note    string // a comment; of a conclusion: what the cause was
	To      string // to whom it is assigned, or to which step or office it is taken
	Class   Class
	Measure string // of a conclusion: what was done
}

// ErrAct is the error of an act that lacks something, or is none.
var ErrAct = errors.New("not to be recorded")

// check returns the act as it goes into a leaf. The error wraps ErrAct and says what is missing.
func (a Act) check() (Act, error) {
	a.User, a.To = said(a.User, maxUser), said(a.To, maxUser)
	a.Note, a.Measure = said(a.Note, maxNote), said(a.Measure, maxNote)
	missing := func(what string) (Act, error) { return a, fmt.Errorf("%w: %s", ErrAct, what) }
	switch {
	case a.User == "":
		return missing("nobody says who does it")
	case a.What == Assigned && a.To == "":
		return missing("assigned needs `to`: whom")
	case a.What == Escalated && a.To == "":
		return missing("escalated needs `to`: which step or office")
	case a.What == Commented && a.Note == "":
		return missing("commented needs a `note`")
	case a.What == Classified && !a.Class.known():
		return missing(fmt.Sprintf("classified needs a `class`, one of %v", Classes()))
	case a.What == Concluded && (a.Note == "" || a.Measure == ""):
		return missing("concluded needs a `note`, the cause, and a `measure`, what was done")
	case !a.What.byPerson() || a.What == Acknowledged:
		return missing(fmt.Sprintf("%.40q is nothing that a person does", a.What))
	}
	if a.What != Classified {
		a.Class = Unclassified
	}
	return a, nil
}

// Act records what a person does, of an incident that is open or closed. An incident is concluded once it is closed: while
// it goes on nobody can say what ended it. The error wraps ErrUnknown, ErrAct or ErrConcluded.
func (m *Manager) Act(ctx context.Context, id string, a Act) error {
	a, err := a.check()
	if err != nil {
		return err
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	i := m.book.find(id)
	switch {
	case i == nil:
		return fmt.Errorf("incident %.*q: %w", maxID, id, ErrUnknown)
	case a.What == Concluded && i.IsOpen():
		return fmt.Errorf("incident %s: %w: it goes on; conclude it once it is closed", i.ID, ErrAct)
	case a.What == Concluded && !i.Life.Concluded.IsZero():
		return fmt.Errorf("incident %s: %w", i.ID, ErrConcluded)
	}
	return m.write(ctx, []Event{{Incident: i.ID, What: a.What, At: m.opts.Now().UTC().Truncate(time.Millisecond), User: a.User, Note: a.Note, To: a.To, Class: a.Class, Measure: a.Measure}})
}

// Find returns an incident that is open, or closed and remembered.
func (m *Manager) Find(id string) (Incident, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := m.book.find(id); i != nil {
		return *i, true
	}
	return Incident{}, false
}
