package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// A Role says what a person may do. The list is closed.
type Role string

// The roles. A role that is bound to a unit sees and acts for that unit alone.
const (
	RoleViewer   Role = "viewer"   // looks
	RoleOfficer  Role = "officer"  // looks, takes note of incidents, enters documents
	RoleOperator Role = "operator" // the office in charge: that, and figures, reports, machines
	RoleAuditor  Role = "auditor"  // reads everything, changes nothing
	RoleAdmin    Role = "admin"    // everything, users too
)

// Roles lists the roles, the one with the fewest rights first.
func Roles() []Role { return []Role{RoleViewer, RoleOfficer, RoleAuditor, RoleOperator, RoleAdmin} }

// needsCode reports whether a role must enter with a second factor, whatever the length of its password.
func (r Role) needsCode() bool { return r == RoleOperator || r == RoleAdmin }

// A Scope is one right. The list is closed.
type Scope string

// The scopes.
const (
	ScopeBoard   Scope = "board"   // the pages and what they show, in JSON
	ScopeMetrics Scope = "metrics" // /metrics, /probe and service discovery
	ScopeSeries  Scope = "series"  // PromQL
	ScopeLog     Scope = "log"     // the tiles and entries of the log
	ScopeFigures Scope = "figures" // availability, reports, exports, the fleet, plans
	ScopeAck     Scope = "ack"     // takes note of incidents; a person's alone
	ScopeAttest  Scope = "attest"  // enters documents
	ScopeEnrol   Scope = "enrol"   // makes tokens for machines, ends identities
	ScopeUsers   Scope = "users"   // adds and changes users, tokens and keys
)

// Scopes lists the scopes that a program's token may have.
func Scopes() []Scope {
	return []Scope{ScopeBoard, ScopeMetrics, ScopeSeries, ScopeLog, ScopeFigures, ScopeAttest, ScopeEnrol}
}

// rights are the scopes of a role that is bound to no unit.
func (r Role) rights() []Scope {
	reads := []Scope{ScopeBoard, ScopeMetrics, ScopeSeries, ScopeLog, ScopeFigures}
	switch r {
	case RoleViewer:
		return []Scope{ScopeBoard, ScopeSeries}
	case RoleOfficer:
		return []Scope{ScopeBoard, ScopeSeries, ScopeAck, ScopeAttest}
	case RoleAuditor:
		return reads
	case RoleOperator:
		return append(reads, ScopeAck, ScopeAttest, ScopeEnrol)
	case RoleAdmin:
		return append(reads, ScopeAck, ScopeAttest, ScopeEnrol, ScopeUsers)
	}
	return nil
}

// ofUnit are the scopes that can be bound to a unit: those whose pages and answers are narrowed to it. The others show what
// is of every unit.
func ofUnit(s Scope) bool {
	return s == ScopeBoard || s == ScopeSeries || s == ScopeAck || s == ScopeAttest
}

// ParseRole reads a role.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(Roles(), r) {
		return r, nil
	}
	return "", fmt.Errorf("role %q: write one of %s", s, join(Roles()))
}

// ParseScopes reads scopes of a token, separated by commas.
func ParseScopes(s string) ([]Scope, error) {
	var out []Scope
	for word := range strings.SplitSeq(s, ",") {
		x := Scope(strings.TrimSpace(word))
		if !slices.Contains(Scopes(), x) {
			return nil, fmt.Errorf("scope %q: write some of %s", x, join(Scopes()))
		}
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out, nil
}

func join[T ~string](list []T) string {
	var s []string
	for _, x := range list {
		s = append(s, string(x))
	}
	return strings.Join(s, ", ")
}

// Who acts in a request. The zero Who is nobody.
type Who struct {
	Name   string // as it stands in the log
	Unit   string // the only unit that it sees and acts for; "" is all
	Role   Role   // "" of a program
	Person bool   // not a program: only persons take note and approve
	scopes []Scope
}

// May reports whether it has a right.
func (w Who) May(s Scope) bool { return slices.Contains(w.scopes, s) }

// newWho is a person of a role.
func newWho(name string, r Role, unit string) Who {
	return Who{Name: name, Role: r, Person: true, scopes: r.rights()}.bound(unit)
}

// bound is w with a unit that is all it sees, and without the rights that cannot be bound to one.
func (w Who) bound(unit string) Who {
	if w.Unit = unit; unit != "" {
		w.scopes = slices.DeleteFunc(slices.Clone(w.scopes), func(s Scope) bool { return !ofUnit(s) })
	}
	return w
}

// newProgram is the holder of a token.
func newProgram(name string, scopes []Scope) Who {
	return Who{Name: name, scopes: slices.DeleteFunc(slices.Clone(scopes), func(s Scope) bool { return s == ScopeAck })}
}

type whoKey struct{}

// With returns a context in which w is known to act.
func With(ctx context.Context, w Who) context.Context { return context.WithValue(ctx, whoKey{}, w) }

// Of returns who acts in a request that passed [Access.Middleware]; nobody in any other context.
func Of(ctx context.Context) Who {
	w, _ := ctx.Value(whoKey{}).(Who)
	return w
}

// User returns the name of who acts; "" for nobody.
func User(ctx context.Context) string { return Of(ctx).Name }

// WithUser returns a context in which a person is known to act as an operator, for a layer before [Access.Middleware]
// that has established who it is.
func WithUser(ctx context.Context, user string) context.Context {
	return With(ctx, newWho(user, RoleOperator, ""))
}
