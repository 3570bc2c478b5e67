package series

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/regexp"
)

// A RemoteWrite names a receiver of samples: a Prometheus, Mimir, VictoriaMetrics or anything else that speaks
// Prometheus remote write.
type RemoteWrite struct {
	// Name is the receiver's in metrics, logs and the folder of what waits for it: [a-z0-9_-]{1,32}.
	Name string
	// URL is where it takes samples, e.g. https://metrics.example/api/v1/write. Credentials do not belong here.
	URL string
	// Headers are sent along, e.g. X-Scope-OrgID.
	Headers map[string]string
	// User and PasswordFile give HTTP basic authentication; the file is read for every request.
	User, PasswordFile string
	// BearerFile holds a bearer token; it is read for every request. Not together with User.
	BearerFile string
	// CAFile holds the PEM certificates to trust instead of the system's.
	CAFile string
	// MaxBytes bounds what waits on disk; the oldest is dropped and counted. Default 1 GiB, some ten days of 24
	// units with 3 machines and 20 checks each.
	MaxBytes int64
	// Timeout bounds one request. Default 30 seconds.
	Timeout time.Duration
	// MinBackoff and MaxBackoff bound the wait before a request is tried again. Default 1 second and 1 minute.
	MinBackoff, MaxBackoff time.Duration
}

// names of receivers: they become folders and labels.
var receiverName = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

const (
	maxSecret = 64 << 10        // bytes of a file with a password or token
	maxAnswer = 512             // bytes of an answer's body that are looked at
	maxWait   = 5 * time.Minute // the longest Retry-After that is followed
)

type client struct {
	rw    RemoteWrite
	agent string
	http  *http.Client
}

// newClient checks rw, fills in its defaults, and reads the certificates.
func newClient(rw *RemoteWrite, version string) (*client, error) {
	if !receiverName.MatchString(rw.Name) {
		return nil, errors.New("the name must be 1 to 32 of a-z, 0-9, _ and -")
	}
	u, err := url.Parse(rw.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("url must be written as https://host/path")
	}
	secret := rw.User != "" || rw.PasswordFile != "" || rw.BearerFile != ""
	switch {
	case u.User != nil:
		return nil, errors.New("url holds credentials: use user and password_file")
	case rw.BearerFile != "" && (rw.User != "" || rw.PasswordFile != ""):
		return nil, errors.New("bearer_file and user exclude each other")
	case (rw.User == "") != (rw.PasswordFile == ""):
		return nil, errors.New("user and password_file belong together")
	case secret && u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, errors.New("url is http: the password or token could be read on the way; use https")
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&rw.Timeout, 30*time.Second)
	def(&rw.MinBackoff, time.Second)
	def(&rw.MaxBackoff, max(time.Minute, rw.MinBackoff))
	if rw.MaxBytes <= 0 {
		rw.MaxBytes = 1 << 30
	}
	tc := &tls.Config{MinVersion: tls.VersionTLS12}
	if rw.CAFile != "" {
		pem, err := os.ReadFile(rw.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no PEM certificate", rw.CAFile)
		}
	}
	return &client{rw: *rw, agent: "egovmon/" + version, http: &http.Client{
		Timeout: rw.Timeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: tc, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1,
			IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// What a receiver did with a request.
type verdict int

const (
	failed      verdict = iota // nothing is known about the samples: try again
	took                       // it has them
	refusedData                // it does not want some of them, ever
	wantsOld                   // it does not know this version of the protocol
)

type reply struct {
	verdict verdict
	written int           // of a refused request, how many samples it took all the same; -1 when it does not say
	wait    time.Duration // how long it asks to wait
	text    string
}

// post sends one compressed request.
func (c *client) post(ctx context.Context, body []byte, old bool) reply {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.rw.URL, bytes.NewReader(body))
	if err != nil {
		return reply{text: err.Error()}
	}
	for k, v := range c.rw.Headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Content-Encoding", "snappy")
	if old {
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	} else {
		req.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
	}
	if err := c.authorize(req); err != nil {
		return reply{text: err.Error()}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{text: err.Error()}
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // lets the connection be used again
	return judge(resp.StatusCode, resp.Header, strings.ToValidUTF8(string(text), "?"), old)
}

func (c *client) authorize(req *http.Request) error {
	switch {
	case c.rw.BearerFile != "":
		s, err := secret(c.rw.BearerFile)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+s)
	case c.rw.User != "":
		s, err := secret(c.rw.PasswordFile)
		if err != nil {
			return err
		}
		req.SetBasicAuth(c.rw.User, s)
	}
	return nil
}

// secret reads a password or token; white space around it does not count.
func secret(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

// judge says what an answer means, by the specifications of remote write 1.0 and 2.0. Answers that speak of the set-up
// rather than the samples (401, 403, 404, a redirect) are failures: nothing is given up for them.
func judge(code int, h http.Header, text string, old bool) reply {
	r := reply{written: -1, text: fmt.Sprintf("HTTP %d: %s", code, text)}
	said := h.Get("X-Prometheus-Remote-Write-Samples-Written")
	if n, err := strconv.Atoi(said); err == nil && n >= 0 && !old {
		r.written = n
	}
	switch code {
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		r.verdict = refusedData
		if !old && said == "" { // perhaps it could not even read it
			r.verdict = wantsOld
		}
	case http.StatusUnsupportedMediaType:
		if !old {
			r.verdict = wantsOld
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		r.wait = retryAfter(h)
	default:
		// A receiver that knows 1.0 only may read a 2.0 request as an empty one; then it counts nothing.
		switch {
		case code/100 == 2 && !old && said == "":
			r.verdict = wantsOld
		case code/100 == 2:
			r.verdict = took
		}
	}
	return r
}

func retryAfter(h http.Header) time.Duration {
	s, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || s < 0 {
		return 0
	}
	return min(time.Duration(s)*time.Second, maxWait)
}
