package push

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"egovmon/agent/host"
	"egovmon/agent/wire"
)

// A Problem is a word of a closed list that says why the collector cannot be spoken to. Its words for people are the
// phrases "reach." and "reach.do." + Problem.
type Problem string

// The problems. The zero Problem is none.
const (
	TLSInspection    Problem = "tls_inspection"    // somebody on the way opens the connection and signs it anew
	WrongPeer        Problem = "wrong_peer"        // another server answers
	WrongClock       Problem = "wrong_clock"       // the key is right, but not at the time that our clock shows
	Unreachable      Problem = "unreachable"       // no connection, or no answer
	ProxyUnreachable Problem = "proxy_unreachable" // no connection to the proxy
	ProxySilent      Problem = "proxy_silent"      // the proxy does not answer
	ProxyAuth        Problem = "proxy_auth"        // it asks for a user name and password (407)
	ProxyRefused     Problem = "proxy_refused"     // it lets nobody through to the collector
	ProxyGarbage     Problem = "proxy_garbage"     // what answers there is no HTTP proxy
	ProxyUnusable    Problem = "proxy_unusable"    // what is configured of it cannot be used
	Revoked          Problem = "revoked"           // the district has taken the identity back
	NoIdentity       Problem = "no_identity"       // the collector does not know the identity, or a newer one
	BadAnswer        Problem = "bad_answer"        // the collector answered something else than was asked for
)

// Problems lists the closed list.
func Problems() []Problem {
	return []Problem{TLSInspection, WrongPeer, WrongClock, Unreachable, ProxyUnreachable, ProxySilent, ProxyAuth, ProxyRefused,
		ProxyGarbage, ProxyUnusable, Revoked, NoIdentity, BadAnswer}
}

// ProblemOf returns the problem that an error of a call to the collector comes from; "" for nil.
func ProblemOf(err error) Problem {
	if err == nil {
		return ""
	}
	if p, ok := errors.AsType[*ProxyError](err); ok {
		return p.Problem
	}
	if f, ok := errors.AsType[*host.ForeignError](err); ok {
		if f.Inspected {
			return TLSInspection
		}
		return WrongPeer
	}
	if r, ok := errors.AsType[*RefusedError](err); ok {
		switch r.Code {
		case wire.CodeRevoked:
			return Revoked
		case wire.CodeNoIdentity:
			return NoIdentity
		}
		return BadAnswer
	}
	err = explain(err)
	switch {
	case errors.Is(err, ErrWrongPeer):
		return WrongPeer
	case errors.Is(err, ErrClock):
		return WrongClock
	case errors.Is(err, errAnswer):
		return BadAnswer
	}
	return Unreachable
}

// errAnswer marks answers that are not what was asked for.
var errAnswer = errors.New("the answer is not the collector's")

// explain says what the failure of a call means, without the method and address that net/http adds.
func explain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	for _, known := range []error{ErrWrongPeer, ErrClock, ErrUnreachable, errAnswer} {
		if errors.Is(err, known) {
			return err
		}
	}
	if _, ok := errors.AsType[*ProxyError](err); ok {
		return err
	}
	if f, ok := errors.AsType[*host.ForeignError](err); ok {
		return fmt.Errorf("%w: %w", ErrWrongPeer, f)
	}
	if c, ok := errors.AsType[x509.CertificateInvalidError](err); ok && c.Reason == x509.Expired {
		return fmt.Errorf("%w: %w", ErrClock, err)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("%w: %w", ErrWrongPeer, err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return fmt.Errorf("%w: it does not speak TLS", ErrWrongPeer)
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return fmt.Errorf("%w: it broke off the TLS handshake (%w)", ErrWrongPeer, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// Probe makes one call as the machine, and reports why the collector does not take it.
func Probe(ctx context.Context, id *host.Identity, dial Dial) error {
	client, done := newClient(id.TLSConfig(nil), dial)
	defer done()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, id.Collector+wire.PathCheckpoint, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return explain(err)
	}
	defer res.Body.Close()
	data, err := wire.ReadAll(res.Body, wire.MaxAnswer)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusTooManyRequests {
		return refusal(res.StatusCode, data)
	}
	return nil
}
