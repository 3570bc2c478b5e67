package cosign

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

// A Poller lets a witness sign what a collector publishes.
type Poller struct {
	Witness   *Witness
	Origin    string // of the log
	Collector string // base URL of the agents' port
	Client    *http.Client
	Logger    *slog.Logger
}

// NewClient returns a client for a collector whose chain holds a certificate with this SHA-256 of its public key (the last
// part of an enrolment token names that of the district's CA). Without a pin any certificate is taken: what is read is
// signed by the log, and what is sent is no secret.
func NewClient(pin []byte) *http.Client {
	conf := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // VerifyConnection does it, by the pin; without one nothing rests on the connection
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(pin) == 0 {
				return nil
			}
			for _, c := range cs.PeerCertificates {
				if sum := sha256.Sum256(c.RawSubjectPublicKeyInfo); bytes.Equal(sum[:], pin) {
					return nil
				}
			}
			return errors.New("the collector's certificate does not lead to the key that was named")
		},
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig, t.ForceAttemptHTTP2 = conf, false
	return &http.Client{Transport: t, Timeout: wire.TimeoutOfCall,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Poll signs the checkpoint that the collector publishes now, and brings it the cosignature. An error that wraps ErrSplit
// says that the log has two histories, or was set back; the collector was shown what it signed before.
func (p *Poller) Poll(ctx context.Context) (wire.Cosignature, tlog.Tree, error) {
	last, signed, err := p.Witness.Last(p.Origin)
	if err != nil {
		return wire.Cosignature{}, tlog.Tree{}, err
	}
	msg, proof, err := p.fetch(ctx, fmt.Sprintf("?%s=%d", wire.ParamFrom, last.N))
	if errors.Is(err, errAnswered) { // perhaps it has fewer leaves than that
		msg, proof, err = p.fetch(ctx, "")
	}
	if err != nil {
		return wire.Cosignature{}, tlog.Tree{}, err
	}
	t, err := openBy(msg, p.Witness.logs[p.Origin])
	if err != nil {
		return wire.Cosignature{}, t, fmt.Errorf("witness: %w", err)
	}
	if t.N < last.N {
		return wire.Cosignature{}, t, p.shorter(ctx, msg, t, last, signed)
	}
	c, err := p.Witness.Sign(msg, last.N, proof)
	if errors.Is(err, errUnproven) {
		err = p.unproven(ctx, msg, t, last, signed, err)
	} else if errors.Is(err, ErrSplit) {
		p.show(ctx, signed)
	}
	if err != nil {
		return c, t, err
	}
	plain := wire.FormatCheckpoint(p.Origin, t)
	return c, t, p.send(ctx, wire.PathLogCosignature, wire.Cosigned(plain, c))
}

// shorter judges a checkpoint with fewer leaves than one that was signed: a log that still has those leaves, and proves
// it, has given an older answer; any other one was set back or written anew.
func (p *Poller) shorter(ctx context.Context, msg []byte, t, last tlog.Tree, signed []byte) error {
	_, proof, err := p.fetch(ctx, fmt.Sprintf("?%s=%d&%s=%d", wire.ParamFrom, t.N, wire.ParamSize, last.N))
	if err == nil && tlog.CheckTree(proof, last.N, last.Hash, t.N, t.Hash) == nil {
		return fmt.Errorf("witness: the collector publishes %d leaves and %d were signed before; nothing is missing: ask again later", t.N, last.N)
	}
	if err != nil && !errors.Is(err, errAnswered) {
		return err // it says nothing of the log
	}
	p.show(ctx, signed)
	return p.Witness.Contradicts(msg, fmt.Errorf("%d leaves were signed before, now the log shows %d and does not prove that the others are there", last.N, t.N))
}

// unproven asks for the proof once more before it is held against the log.
func (p *Poller) unproven(ctx context.Context, msg []byte, t, last tlog.Tree, signed []byte, why error) error {
	_, proof, err := p.fetch(ctx, fmt.Sprintf("?%s=%d&%s=%d", wire.ParamFrom, last.N, wire.ParamSize, t.N))
	switch {
	case err != nil && !errors.Is(err, errAnswered):
		return errors.Join(why, err)
	case err == nil && tlog.CheckTree(proof, t.N, t.Hash, last.N, last.Hash) == nil:
		return fmt.Errorf("witness: the proof was wrong, and right when it was asked for again: ask once more: %w", why)
	}
	p.show(ctx, signed)
	return p.Witness.Contradicts(msg, why)
}

// show gives the collector back what it signed and does not continue. It signs nothing more then.
func (p *Poller) show(ctx context.Context, signed []byte) {
	if err := p.send(ctx, wire.PathLogCheckpoint, signed); err != nil {
		p.Logger.Warn("witness: the collector was shown what it signed before", "answer", err)
	}
}

// errAnswered is wrapped by errors that the collector itself gives.
var errAnswered = errors.New("the collector refuses")

func (p *Poller) fetch(ctx context.Context, query string) (msg []byte, proof tlog.TreeProof, err error) {
	res, body, err := p.do(ctx, http.MethodGet, wire.PathLogCheckpoint+query, nil)
	if err != nil {
		return nil, nil, err
	}
	hashes, err := wire.DecodeProof(res.Header.Get(wire.HeaderProof))
	if err != nil {
		return nil, nil, fmt.Errorf("witness: %w: %w", err, errAnswered)
	}
	return body, hashes, nil
}

func (p *Poller) send(ctx context.Context, path string, body []byte) error {
	_, _, err := p.do(ctx, http.MethodPost, path, body)
	return err
}

func (p *Poller) do(ctx context.Context, method, path string, body []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(p.Collector, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("witness: %w", err)
	}
	res, err := p.Client.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("witness: %w", err)
	}
	defer res.Body.Close()
	data, err := wire.ReadAll(res.Body, wire.MaxAnswer)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("witness: %s %s: %w", method, path, err)
	case res.StatusCode == http.StatusConflict || res.StatusCode == http.StatusBadRequest:
		return nil, nil, fmt.Errorf("witness: %s %s: %s: %.300q: %w", method, path, res.Status, data, errAnswered)
	case res.StatusCode != http.StatusOK:
		return nil, nil, fmt.Errorf("witness: %s %s: %s: %.300q", method, path, res.Status, data)
	}
	return res, data, nil
}

// Run polls every so often until ctx ends, and tells each outcome.
func (p *Poller) Run(ctx context.Context, every time.Duration, told func(wire.Cosignature, tlog.Tree, error)) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		c, tree, err := p.Poll(ctx)
		if ctx.Err() != nil {
			return
		}
		told(c, tree, err)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
