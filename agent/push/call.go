package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"egovmon/agent/journal"
	"egovmon/agent/wire"
)

// maxUnwell is the longest Retry-After that is obeyed of a collector that cannot take anything, or of a proxy before it: it
// may be well again at any time.
const maxUnwell = 10 * time.Minute

// A busyError says that the collector admits nobody for a while.
type busyError struct{ after time.Duration }

// Error says how long.
func (e *busyError) Error() string {
	return fmt.Sprintf("push: the collector is busy and asks to wait %s", e.after)
}

// A reply is an answer and what came with it.
type reply struct {
	status int // 200, 409 or 429
	answer wire.Answer
	proof  string // HeaderProof
	// dictionary is HeaderDictionary; "" from a collector that reads none.
	dictionary string
	after      time.Duration // Retry-After of a 429
}

// call makes one call whose answer is a wire.Answer, and measures the clock by it.
func (p *Pusher) call(ctx context.Context, method, path, contentType string, body []byte) (reply, error) {
	start, mono := p.now(), time.Now()
	status, header, data, err := p.exchange(ctx, method, path, contentType, body, wire.MaxAnswer)
	if err != nil {
		return reply{}, err
	}
	trip := time.Since(mono)
	re := reply{status: status, proof: header.Get(wire.HeaderProof), dictionary: header.Get(wire.HeaderDictionary)}
	switch status {
	case http.StatusOK, http.StatusConflict, http.StatusTooManyRequests:
	default:
		err := fmt.Errorf("push: %s %s: the collector answers %d: %w", method, path, status, refusal(status, data))
		if after := header.Get("Retry-After"); after != "" && (status == http.StatusServiceUnavailable || status == http.StatusInsufficientStorage) {
			err = errors.Join(err, &busyError{min(retryAfter(after, p.now()), maxUnwell)})
		}
		return reply{}, p.fail(class(status), err)
	}
	if status == http.StatusTooManyRequests {
		re.after = retryAfter(header.Get("Retry-After"), p.now())
	}
	if re.answer, err = wire.DecodeAnswer(bytes.NewReader(data)); err != nil {
		if status == http.StatusTooManyRequests { // a proxy in between may say so too
			p.count(class(status), false)
			return re, nil
		}
		return reply{}, p.fail("error", fmt.Errorf("push: %s %s: %w: %w", method, path, errAnswer, err))
	}
	p.count(class(status), status == http.StatusOK)
	p.measure(start, trip, re.answer.Time)
	return re, nil
}

// exchange makes one call, bounded in time and in the size of what comes back.
func (p *Pusher) exchange(ctx context.Context, method, path, contentType string, body []byte, most int) (int, http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, wire.TimeoutOfCall)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.o.Collector+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("push: %w", err)
	}
	req.Header.Set("User-Agent", "") // left out: the certificate says who this is
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if len(body) > manyBytes {
		req.Header.Set("Expect", "100-continue")
	}
	res, err := p.o.Client.Do(req)
	if err != nil {
		return 0, nil, nil, p.fail("error", fmt.Errorf("push: %s %s: %w", method, path, explain(err)))
	}
	defer res.Body.Close()
	data, err := wire.ReadAll(res.Body, most)
	if err != nil {
		return 0, nil, nil, p.fail("error", fmt.Errorf("push: %s %s: %w", method, path, err))
	}
	return res.StatusCode, res.Header, data, nil
}

// class is the outcome that a status is counted under.
func class(status int) string {
	switch {
	case status == http.StatusConflict || status == http.StatusTooManyRequests:
		return strconv.Itoa(status)
	case status >= 200 && status < 600:
		return strconv.Itoa(status/100) + "xx"
	}
	return "error"
}

func (p *Pusher) count(outcome string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Requests[outcome]++
	p.stats.Problem = ""
	if ok {
		p.stats.LastSuccess, p.stats.Failures = p.now(), 0
	} else {
		p.stats.Failures++
	}
}

func (p *Pusher) fail(outcome string, err error) error {
	p.count(outcome, false)
	p.mu.Lock()
	p.stats.Problem = ProblemOf(err)
	refused := p.stats.Problem == NoIdentity || p.stats.Problem == Revoked
	p.mu.Unlock()
	if refused { // perhaps the connection is older than our certificate, which it would show for ever
		p.o.Client.CloseIdleConnections()
	}
	return err
}

// measure takes the offset of our clock: the middle of the call against the time in the answer.
func (p *Pusher) measure(start time.Time, trip time.Duration, text string) {
	t, err := wire.ParseTime(text)
	if err != nil || trip < 0 || trip > maxTrip {
		return
	}
	middle := start.Add(trip / 2)
	offset := middle.Sub(t).Round(time.Millisecond)
	p.o.Journal.SetClock(journal.Clock{Offset: offset, Measured: middle.UTC().Truncate(time.Millisecond)})
	p.measured = time.Now()
	p.mu.Lock()
	p.stats.Offset, p.stats.Measured = offset, middle
	p.mu.Unlock()
}

// retryAfter reads Retry-After: seconds, or a date (RFC 9110, section 10.2.3), between a second and an hour.
func retryAfter(s string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if t, err := http.ParseTime(s); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, time.Second), maxRetry)
}
