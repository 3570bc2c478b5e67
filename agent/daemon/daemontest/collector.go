// Package daemontest has a small collector in memory, for tests of the agent: it speaks the agent API over TLS 1.3 on
// loopback, verifies what it is sent, and keeps it to be looked at.
package daemontest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/check"
	"egovmon/agent/host"
	"egovmon/agent/journal"
	"egovmon/agent/wire"
)

// District and Unit are those of every identity that a Collector gives.
const (
	District = "tu-ky"
	Unit     = "an-thanh"
)

// A Collector takes batches and gives plans.
type Collector struct {
	URL string // https://127.0.0.1:PORT

	ca      *x509.Certificate
	caKey   *ecdsa.PrivateKey
	planKey string
	logKey  string
	plans   note.Signer
	logs    note.Signer
	server  *http.Server

	mu       sync.Mutex
	keys     []note.Verifier // of enrolled machines
	tree     []tlog.Hash
	leaves   int64
	head     wire.Head
	previous string
	taken    map[wire.Head]string // hashes of all batches
	records  []journal.Record
	plan     string
	planLeaf string
	planAt   int64
	calls    []string
	problems []string
}

// New starts a collector on a free port of 127.0.0.1.
func New() (*Collector, error) {
	c := &Collector{previous: journal.NoPrevious, taken: make(map[wire.Head]string)}
	var err error
	if c.caKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	from, to := time.Now().Add(-24*time.Hour), time.Now().Add(365*24*time.Hour)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	if c.ca, err = c.sign(root, root, c.caKey.Public()); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf, err := c.sign(&x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: to, IPAddresses: []net.IP{{127, 0, 0, 1}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, c.ca, key.Public())
	if err != nil {
		return nil, err
	}
	if c.plans, c.planKey, err = signer(wire.PlanName(District)); err != nil {
		return nil, err
	}
	if c.logs, c.logKey, err = signer(wire.LogName(District, 1)); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(c.ca)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c.URL = "https://" + l.Addr().String()
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		_ = c.server.Serve(tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool,
			Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, c.ca.Raw}, PrivateKey: key}}}))
	}()
	return c, nil
}

// Close ends the collector at once.
func (c *Collector) Close() { _ = c.server.Close() }

func (c *Collector) sign(t, parent *x509.Certificate, pub any) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, c.caKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func signer(name string) (note.Signer, string, error) {
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, "", err
	}
	s, err := note.NewSigner(skey)
	return s, vkey, err
}

// Token returns a token that lets a machine enrol. It may be used again.
func (c *Collector) Token(machine string) string {
	t := wire.Token{Pin: sha256.Sum256(c.ca.RawSubjectPublicKeyInfo)}
	copy(t.Secret[:], machine)
	return t.String()
}

// Identity makes the identity of an enrolled machine.
func (c *Collector) Identity(machine string) (*host.Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf, err := c.machineCert(machine, key.Public())
	if err != nil {
		return nil, err
	}
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	c.know(machine, append([]byte{wire.AlgEd25519}, priv.Public().(ed25519.PublicKey)...))
	return &host.Identity{District: District, Machine: machine, Unit: Unit, Collector: c.URL, CA: c.ca,
		TLS:        tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf},
		JournalKey: wire.SignerKey(wire.JournalName(District, machine), wire.AlgEd25519, priv),
		CosignKey:  wire.SignerKey(wire.WitnessName(District, machine), wire.AlgCosign, priv),
		PlanKey:    c.planKey, LogKey: c.logKey}, nil
}

func (c *Collector) know(machine string, key []byte) {
	text, err := wire.VerifierKey(wire.JournalName(District, machine), key)
	if err != nil {
		return
	}
	if v, err := note.NewVerifier(text); err == nil {
		c.mu.Lock()
		c.keys = append(c.keys, v)
		c.mu.Unlock()
	}
}

func (c *Collector) machineCert(machine string, pub any) (*x509.Certificate, error) {
	u, err := url.Parse(wire.MachineURI(District, machine))
	if err != nil {
		return nil, err
	}
	return c.sign(&x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), URIs: []*url.URL{u}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(90 * 24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, c.ca, pub)
}

// SetPlan puts a plan in force for a machine, by way of the log.
func (c *Collector) SetPlan(machine string, version int, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plan = text
	c.planLeaf = fmt.Sprintf("egovmon-leaf/1 plan\nmachine %s\nversion %d\nblob %x %d\n", machine, version, sha256.Sum256([]byte(text)), len(text))
	c.planAt = c.leaf(c.planLeaf)
}

// SignPlan signs a text as this collector signs plans.
func (c *Collector) SignPlan(text string) ([]byte, error) {
	return note.Sign(&note.Note{Text: text}, c.plans)
}

// Records returns what was archived so far.
func (c *Collector) Records() []journal.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.records)
}

// Results returns the results among the records.
func (c *Collector) Results() []check.Result {
	var rs []check.Result
	for _, r := range c.Records() {
		if r.Result != nil {
			rs = append(rs, *r.Result)
		}
	}
	return rs
}

// Calls returns method and last word of the path of every call so far.
func (c *Collector) Calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// Problems returns what was wrong with what was sent.
func (c *Collector) Problems() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.problems)
}

// ServeHTTP answers the agent API.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/agent/v1/")
	c.mu.Lock()
	c.calls = append(c.calls, what)
	c.mu.Unlock()
	open := what == "GET time" || what == "POST enrol"
	if !open && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch what {
	case "GET time":
		_ = json.NewEncoder(w).Encode(wire.TimeAnswer{Time: wire.FormatTime(time.Now())})
	case "POST renew":
		c.renew(w, r)
	case "POST enrol":
		c.enrol(w, r)
	case "POST batches":
		status := c.take(r.Body)
		c.answer(w, r, status)
	case "GET checkpoint":
		c.answer(w, r, http.StatusOK)
	case "GET plan":
		c.sendPlan(w)
	case "POST goodbye":
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// renew gives the caller a certificate of 90 days for a new key.
func (c *Collector) renew(w http.ResponseWriter, r *http.Request) {
	var req wire.RenewRequest
	err := json.NewDecoder(io.LimitReader(r.Body, wire.MaxEnrol)).Decode(&req)
	if err == nil && len(r.TLS.PeerCertificates) == 0 {
		err = errors.New("no certificate")
	}
	var leaf *x509.Certificate
	if err == nil {
		var csr *x509.CertificateRequest
		if csr, err = x509.ParseCertificateRequest(req.CSR); err == nil {
			leaf, err = c.machineCert(r.TLS.PeerCertificates[0].URIs[0].Path[1:], csr.PublicKey)
		}
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(wire.RenewAnswer{Certificate: leaf.Raw, Time: wire.FormatTime(time.Now())})
}

func (c *Collector) enrol(w http.ResponseWriter, r *http.Request) {
	var q wire.EnrolRequest
	err := json.NewDecoder(io.LimitReader(r.Body, wire.MaxEnrol)).Decode(&q)
	t, e := wire.ParseSent(q.Token)
	csr, e2 := x509.ParseCertificateRequest(q.CSR)
	machine := string(bytes.TrimRight(t.Secret[:], "\x00"))
	if err != nil || e != nil || e2 != nil || !wire.IsMachine(machine) {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(wire.Refusal{Code: wire.CodeTokenUnknown, Error: "no such token"})
		return
	}
	cert, err := c.machineCert(machine, csr.PublicKey)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	c.know(machine, q.Journal)
	_ = json.NewEncoder(w).Encode(wire.EnrolAnswer{District: District, Machine: machine, Unit: Unit, Certificate: cert.Raw,
		PlanKey: c.planKey, LogKey: c.logKey, Time: wire.FormatTime(time.Now())})
}

func (c *Collector) take(body io.Reader) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f, err := range wire.ReadBatches(body) {
		if err != nil {
			return c.problem(http.StatusBadRequest, err)
		}
		b := journal.Batch{Note: f.Header, Body: f.Body}
		h, recs, err := journal.Open(b, note.VerifierList(c.keys...))
		if err != nil {
			return c.problem(http.StatusBadRequest, err)
		}
		switch {
		case c.taken[h.Head()] == b.Hash():
			continue
		case c.taken[h.Head()] != "":
			return c.problem(http.StatusConflict, fmt.Errorf("batch %s/%d is another one than before", h.Journal, h.Seq))
		case h.Journal != c.head.Journal && h.Seq == 1:
			c.previous = journal.NoPrevious
		case h.Seq != c.head.Seq+1 || h.Previous != c.previous:
			return c.problem(http.StatusConflict, fmt.Errorf("batch %s/%d after %s/%d", h.Journal, h.Seq, c.head.Journal, c.head.Seq))
		}
		c.head, c.previous = wire.Head{Journal: h.Journal, Seq: h.Seq}, b.Hash()
		c.taken[h.Head()] = b.Hash()
		c.leaf("batch " + b.Hash())
		c.records = append(c.records, recs...)
	}
	return http.StatusOK
}

func (c *Collector) problem(status int, err error) int {
	c.problems = append(c.problems, err.Error())
	return status
}

func (c *Collector) answer(w http.ResponseWriter, r *http.Request, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := wire.Answer{Head: c.head, Time: wire.FormatTime(time.Now())}
	if c.leaves > 0 {
		a.Checkpoint = c.checkpoint()
	}
	if c.plan != "" {
		sum := sha256.Sum256([]byte(c.plan))
		a.Plan = hex.EncodeToString(sum[:])
	}
	from, _ := strconv.ParseInt(r.URL.Query().Get(wire.ParamFrom), 10, 64)
	to := c.leaves
	if n, err := strconv.ParseInt(r.URL.Query().Get(wire.ParamSize), 10, 64); err == nil {
		to = n
	}
	if from > 0 && from <= to && to <= c.leaves {
		if p, err := tlog.ProveTree(to, from, c); err == nil {
			w.Header().Set(wire.HeaderProof, wire.EncodeProof(p))
		}
	}
	b, err := wire.EncodeAnswer(a)
	if err != nil {
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

func (c *Collector) sendPlan(w http.ResponseWriter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	msg, err := note.Sign(&note.Note{Text: c.plan}, c.plans)
	if err != nil || c.plan == "" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	proof, err := tlog.ProveRecord(c.leaves, c.planAt, c)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set(wire.HeaderLeaf, strconv.FormatInt(c.planAt, 10))
	h.Set(wire.HeaderLeafText, base64.StdEncoding.EncodeToString([]byte(c.planLeaf)))
	h.Set(wire.HeaderCheckpoint, base64.StdEncoding.EncodeToString([]byte(c.checkpoint())))
	h.Set(wire.HeaderProof, wire.EncodeProof(proof))
	_, _ = w.Write(msg)
}

// ReadHashes reads the log's tree. The caller holds mu.
func (c *Collector) ReadHashes(ix []int64) ([]tlog.Hash, error) {
	hs := make([]tlog.Hash, 0, len(ix))
	for _, i := range ix {
		hs = append(hs, c.tree[i])
	}
	return hs, nil
}

func (c *Collector) leaf(text string) int64 {
	hs, err := tlog.StoredHashes(c.leaves, []byte(text), c)
	if err != nil {
		c.problems = append(c.problems, err.Error())
		return -1
	}
	c.tree = append(c.tree, hs...)
	c.leaves++
	return c.leaves - 1
}

func (c *Collector) checkpoint() string {
	h, err := tlog.TreeHash(c.leaves, c)
	if err != nil {
		return ""
	}
	msg, err := note.Sign(&note.Note{Text: wire.FormatCheckpoint(c.logs.Name(), tlog.Tree{N: c.leaves, Hash: h})}, c.logs)
	if err != nil {
		return ""
	}
	return string(msg)
}
