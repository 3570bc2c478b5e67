// Package reach holds what every kind that talks to a server over TCP has in common: the connection, timed step by
// step; the certificate chain, read before it is judged; host names and secrets as a plan writes them. It knows no
// protocol above TLS and decides nothing about a check: a family makes its result of what it finds here.
package reach

import (
	"context"
	"errors"
	"fmt"

	"egovmon/agent/check"
)

// A Fault is why a run did not end well: the reason, and what a person should know. The nil Fault is none.
type Fault struct {
	Reason check.Reason
	Detail string
}

// Failf makes a Fault.
func Failf(r check.Reason, format string, args ...any) *Fault {
	return &Fault{r, fmt.Sprintf(format, args...)}
}

// UnlessCalledOff returns f, or says that the run was called off, which is nobody's fault.
func (f *Fault) UnlessCalledOff(ctx context.Context) *Fault {
	if f != nil && errors.Is(ctx.Err(), context.Canceled) {
		return &Fault{check.Internal, "called off: " + f.Detail}
	}
	return f
}

// Result makes the Result of a run that ended with f, or well when f is nil.
func (f *Fault) Result() check.Result {
	if f == nil {
		return check.Because(check.OK, "")
	}
	return check.Because(f.Reason, "%s", f.Detail)
}
