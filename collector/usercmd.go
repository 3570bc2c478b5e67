package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"egovmon/collector/access"
	"egovmon/collector/profile"
)

// A usersRequest is one act on who may enter.
type usersRequest struct {
	Do     string        `json:"do"` // as the command's word
	ID     string        `json:"id,omitempty"`
	Name   string        `json:"name,omitempty"`
	Role   string        `json:"role,omitempty"`
	Unit   *string       `json:"unit,omitempty"`
	Scopes string        `json:"scopes,omitempty"`
	Life   time.Duration `json:"life,omitempty"`
}

// A usersAnswer is what came of it.
type usersAnswer struct {
	Link   string           `json:"link,omitempty"`  // path, then address, of a link for setting a password
	Token  string           `json:"token,omitempty"` // shown once
	Until  time.Time        `json:"until,omitzero"`
	Users  []access.Account `json:"users,omitempty"`
	Tokens []access.Token   `json:"tokens,omitempty"`
}

// actOnUsers does what a request asks for.
func actOnUsers(ctx context.Context, acc *access.Access, by string, now time.Time, q usersRequest) (a usersAnswer, err error) {
	role := access.Role(q.Role)
	off := q.Do == "disable"
	unit := ""
	if q.Unit != nil {
		unit = *q.Unit
	}
	switch q.Do {
	case "list":
		a.Users, a.Tokens = acc.Users(), acc.Tokens()
	case "add":
		u := access.Account{ID: q.ID, Name: q.Name, Role: role, Unit: unit}
		a.Link, err = acc.AddUser(ctx, by, u)
	case "role":
		c := access.Change{Unit: q.Unit}
		if q.Role != "" {
			c.Role = &role
		}
		err = acc.ChangeUser(ctx, by, q.ID, c)
	case "disable", "enable":
		err = acc.ChangeUser(ctx, by, q.ID, access.Change{Disabled: &off})
	case "reset":
		a.Link, err = acc.ResetUser(ctx, by, q.ID)
	case "remove":
		err = acc.RemoveUser(ctx, by, q.ID)
	case "token":
		var scopes []access.Scope
		if scopes, err = access.ParseScopes(q.Scopes); err == nil {
			a.Until = now.Add(q.Life).UTC().Truncate(time.Second)
			a.Token, err = acc.AddToken(ctx, by, access.Token{Name: q.ID, Scopes: scopes, Ends: a.Until, Unit: unit})
		}
	case "end-token":
		err = acc.EndToken(ctx, by, q.ID)
	default:
		err = fmt.Errorf("%q is none of add, list, role, disable, enable, reset, remove, token, end-token", q.Do)
	}
	if a.Link != "" {
		a.Until = now.Add(access.SetupLife)
	}
	return a, err
}

// usersHandler answers pathUsers.
func (c *center) usersHandler(acc *access.Access) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q usersRequest
		if !readRequest(w, r, 16<<10, &q) {
			return
		}
		if err := c.knowsUnit(q.Unit); err != nil {
			answer(w, nil, err)
			return
		}
		a, err := actOnUsers(r.Context(), acc, access.User(r.Context()), c.now(), q)
		if err == nil && a.Link != "" {
			a.Link = base(r) + a.Link
		}
		answer(w, a, err)
	}
}

// knowsUnit says when a unit is not in the profile.
func (c *center) knowsUnit(unit *string) error {
	if unit == nil || *unit == "" {
		return nil
	}
	if _, ok := c.district().Unit(*unit); !ok {
		return fmt.Errorf("unit %q is not in the profile: units.yaml lists them", *unit)
	}
	return nil
}

func runUser(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("user", "People who may use the board, and tokens for programs. Each change is a leaf of the log.\n\n"+
		"  user list                                      who there is\n"+
		"  user add NAME --role ROLE [--unit ID]          prints a link with which the person sets a password, once, within 72 h\n"+
		"  user role NAME [--role ROLE] [--unit ID]       another role or unit; ends the person's sessions\n"+
		"  user disable|enable NAME                       no entry for now, and again\n"+
		"  user reset NAME                                a new link: password forgotten, phone lost\n"+
		"  user remove NAME                               what the person did stays in the log\n"+
		"  user token NAME --scopes A,B [--days N] [--unit ID]\n"+
		"                                                 a token for a program\n"+
		"  user end-token NAME                            ends it at once\n\n"+
		"Roles: viewer (looks), officer (takes note of incidents, enters documents), auditor (reads everything), operator (the\n"+
		"office in charge), admin (users too). With --unit, a viewer or officer sees that unit alone. Operators and administrators\n"+
		"need a one-time code; a password has 8 characters with one and 14 without. Five wrong tries lock for 15 minutes.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	role := fs.String("role", "", "viewer, officer, auditor, operator or admin")
	unit := fs.String("unit", "", "the only unit that the person, or the token, sees, an `ID` of the profile; - for all")
	name := fs.String("name", "", "the person's `NAME`, for people; it is not written into the log")
	scopes := fs.String("scopes", "", "what a token opens: some of board, metrics, series, log, figures, attest, enrol")
	days := fs.Int("days", 90, "how long a token is good, at most 366")
	asJSON := fs.Bool("json", false, "write one JSON object")
	words, ok, code := parseNamed(fs, args, 2)
	if !ok {
		return code
	}
	if len(words) == 0 || len(words) == 1 && words[0] != "list" {
		fmt.Fprintln(stderr, "collector user: write list, or what to do and with whom, e.g. collector user add lan.nt --role operator; see --help")
		return exitUsage
	}
	q := usersRequest{Do: words[0], Name: *name, Role: *role, Scopes: *scopes, Life: time.Duration(*days) * 24 * time.Hour}
	if len(words) == 2 {
		q.ID = words[1]
	}
	if *unit != "" {
		q.Unit = new(strings.TrimPrefix(*unit, "-"))
	}
	if q.Do == "role" && q.Role == "" && q.Unit == nil {
		fmt.Fprintln(stderr, "collector user role: give --role ROLE, --unit ID, or both")
		return exitUsage
	}
	var a usersAnswer
	err := withCenter(ctx, *data, stderr, func(dir string) error {
		return call(ctx, dir, http.MethodPost, pathUsers, q, &a)
	}, func(c *center) error {
		if err := c.knowsUnit(q.Unit); err != nil {
			return err
		}
		acc, err := access.New(access.Options{Dir: c.dir, Now: c.now, Logger: c.log, Log: c.store})
		if err == nil {
			a, err = actOnUsers(ctx, acc, access.Program, c.now(), q)
		}
		if err == nil && a.Link != "" {
			a.Link = "http://" + cmp.Or(c.config.Listen, defaultListen) + a.Link
		}
		return err
	})
	if err != nil {
		fmt.Fprintf(stderr, "collector user: %v\n", err)
		return exitFailed
	}
	if *asJSON {
		return printJSON(stdout, stderr, a)
	}
	printUsers(stdout, stderr, q, a)
	return exitDone
}

// printUsers writes an answer for people.
func printUsers(stdout, stderr io.Writer, q usersRequest, a usersAnswer) {
	until := a.Until.In(profile.Zone()).Format("15:04 02/01/2006")
	switch {
	case a.Link != "":
		fmt.Fprintln(stdout, a.Link)
		fmt.Fprintf(stderr, "Hand this link to %s alone: it sets the password, once, until %s.\n", q.ID, until)
	case a.Token != "":
		fmt.Fprintln(stdout, a.Token)
		fmt.Fprintf(stderr, "Shown once. It opens %s until %s, sent as Authorization: Bearer TOKEN.\n", q.Scopes, until)
	case q.Do == "list":
		t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "USER\tROLE\tUNIT\tSTATE\tCODE\tLAST ENTRY")
		for _, u := range a.Users {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", u.ID, u.Role, cmp.Or(u.Unit, "-"), stateOf(u), yes(u.Code), when(u.Entered))
		}
		for _, x := range a.Tokens {
			var s []string
			for _, y := range x.Scopes {
				s = append(s, string(y))
			}
			fmt.Fprintf(t, "%s@token\t%s\t%s\tuntil %s\t\t\n", x.Name, strings.Join(s, ","), cmp.Or(x.Unit, "-"), when(x.Ends))
		}
		_ = t.Flush()
	default:
		fmt.Fprintln(stdout, "Done; it is in the log.")
	}
}

func stateOf(u access.Account) string {
	switch {
	case u.Disabled:
		return "disabled"
	case !u.Locked.IsZero():
		return "locked until " + when(u.Locked)
	case !u.Ready && !u.Invited.IsZero():
		return "invited until " + when(u.Invited)
	case !u.Ready:
		return "no password: reset"
	}
	return "active"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(profile.Zone()).Format("15:04 02/01/2006")
}
