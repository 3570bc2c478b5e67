package portal

import (
	"encoding/base64"
	"fmt"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// A login is a user name and where its password is kept. The zero value is none.
type login struct {
	user     string
	password func() (string, error)
}

// newLogin reads the two options of a login.
func newLogin(o check.Options, env check.Env, user, password string) (login, error) {
	l := login{user: o.String(user)}
	name := o.String(password)
	switch {
	case l.user == "" && name == "":
		return login{}, nil
	case l.user == "":
		return login{}, fmt.Errorf("option %q: a password needs its user: write %s", password, user)
	case name == "":
		return login{}, fmt.Errorf("option %q: user %q has no password: write %s: {secret: NAME}", user, l.user, password)
	case strings.Contains(l.user, ":"):
		return login{}, fmt.Errorf("option %q: %q holds a colon, which basic authentication cannot send (RFC 7617, section 2)", user, l.user)
	}
	l.password = func() (string, error) { return reach.Secret(env, name) }
	return l, nil
}

// basic returns the value of an Authorization header; "" for the zero login.
func (l login) basic() (string, error) {
	if l.password == nil {
		return "", nil
	}
	p, err := l.password()
	if err != nil {
		return "", err
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.user+":"+p)), nil
}
