package network

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

const (
	// uploadBuffer bounds what the system holds of what we send and the line has not taken yet. It lets a line of 100 Mbit/s
	// go with a round trip of 20 ms.
	uploadBuffer = 256 << 10
	// uploadBlock is sent again and again: longer than what the usual compression on a line looks back.
	uploadBlock = 128 << 10
)

// An upload is where data is sent to, and how much.
type upload struct {
	url    *url.URL
	method string
	bytes  int64
	time   time.Duration
	least  float64 // bits a second
}

// newUpload reads what the plan says of sending; nil when nothing is sent.
func newUpload(o check.Options, most time.Duration) (*upload, error) {
	if !o.Has("upload_url") {
		return nil, nil
	}
	u, err := openURL(o, "upload_url")
	if err != nil {
		return nil, err
	}
	return &upload{url: u, method: o.String("upload_method"), bytes: o.Int("upload_bytes"), time: most, least: o.Float("min_up_mbps") * 1e6}, nil
}

// A source is the data of an upload. It ends by itself, so that the server hears the end and answers.
type source struct {
	most  int64
	time  time.Duration // from the first byte on
	block []byte
	begin time.Time
	sent  int64
}

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	if s.begin.IsZero() {
		s.begin = time.Now()
	}
	if s.sent >= s.most || time.Since(s.begin) >= s.time {
		return 0, io.EOF
	}
	at := int(s.sent % int64(len(s.block)))
	n := copy(b, s.block[at:])
	n = int(min(int64(n), s.most-s.sent))
	s.sent += int64(n)
	return n, nil
}

// A shipment is what became of an upload. The zero value is none.
type shipment struct {
	fault  *reach.Fault
	status int
	bytes  int64         // handed to the system
	taken  int64         // of them surely gone over the line
	took   time.Duration // from the first byte to the answer, or to the end of the time
}

// ship sends data for three quarters of the time; the rest is for what the system still holds, and for the answer.
func (c *throughput) ship(ctx context.Context) shipment {
	var s shipment
	var view reach.View
	cfg, f := c.policy.Config(c.up.url.Hostname(), &view)
	if f != nil {
		s.fault = f
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, c.up.time+spareTime)
	defer cancel()
	data := &source{most: c.up.bytes, time: c.up.time * 3 / 4, block: make([]byte, uploadBlock)}
	rand.Read(data.block)
	a := getter{dialer: c.dialer, url: c.up.url, config: cfg, most: maxAnswerHead, method: c.up.method, body: data, buffer: uploadBuffer,
		header: http.Header{"User-Agent": {"egovmon"}, "Content-Type": {"application/octet-stream"}}}.get(ctx)
	defer a.close()
	if s.bytes = data.sent; !data.begin.IsZero() {
		s.took = time.Since(data.begin)
	}
	switch {
	case a.err != nil && a.step == check.StepTLS:
		s.fault = view.HandshakeFault(a.err)
	case a.err != nil && a.step == check.StepExchange && (ctx.Err() != nil || errors.Is(a.err, os.ErrDeadlineExceeded)):
		// Linux doubles the buffer that it is asked for.
		if s.taken = max(0, s.bytes-2*uploadBuffer); s.taken < leastMeasured {
			s.fault = reach.Failf(check.Timeout, "%s has not taken what was sent in time", c.up.url.Host)
		}
	case a.err != nil:
		s.fault = a.fault(c.up.url.Host)
	default:
		s.status, s.taken = a.resp.StatusCode, s.bytes
		if s.fault = s.refusal(); s.fault == nil && a.early {
			s.fault = reach.Failf(check.Protocol, "status %d before all was sent: name a place that takes what it is sent", s.status)
		}
	}
	return s
}

// refusal is what an answer says other than that all was taken.
func (s shipment) refusal() *reach.Fault {
	switch {
	case web.Redirects(s.status):
		return reach.Failf(check.HTTPRedirect, "status %d leads elsewhere: write the upload_url that takes the data itself", s.status)
	case s.status/100 != 2:
		return reach.Failf(check.HTTPStatus, "status %d in answer to what was sent", s.status)
	case s.bytes < leastMeasured:
		return reach.Failf(check.Timeout, "%d bytes were sent in the time, of which nothing can be told", s.bytes)
	}
	return nil
}

// judge says whether the line is fast enough.
func (s shipment) judge(ctx context.Context, least float64) *reach.Fault {
	switch bps := s.rate(); {
	case errors.Is(ctx.Err(), context.Canceled):
		return reach.Failf(check.Internal, "the run was cut short")
	case s.fault != nil:
		return reach.Failf(s.fault.Reason, "upload: %s", s.fault.Detail)
	case least > 0 && bps < least:
		return reach.Failf(check.Slow, "upload: %.2f Mbit/s, limit %.2f", bps/1e6, least/1e6)
	}
	return nil
}

// bothWays weighs what is wrong in each direction; down is nil or that it is slow.
func bothWays(down, up *reach.Fault) *reach.Fault {
	switch {
	case up == nil:
		return down
	case down == nil || up.Reason != check.Slow:
		return up
	}
	return reach.Failf(check.Slow, "%s; %s", down.Detail, up.Detail)
}

// rate is in bits a second.
func (s shipment) rate() float64 {
	return float64(s.taken) * 8 / max(s.took, time.Microsecond).Seconds()
}

func (s shipment) report(r *check.Result) {
	if s.status != 0 {
		r.Facts.Add("upload_status_code", float64(s.status))
	}
	if s.took > 0 {
		r.Phases.Add("upload", s.took)
		r.Facts.Add("sent_bytes", float64(s.bytes))
	}
	if s.fault == nil && s.taken > 0 {
		r.Facts.Add("up_bits_per_s", min(1e12, s.rate()))
	}
}
