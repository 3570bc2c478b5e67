package reach

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
)

// TLSOptions are the options that every kind with a TLS handshake has.
func TLSOptions() []check.Option {
	return []check.Option{
		{Name: "server_name", Type: check.TypeHost, Help: "The name that the certificate must be for and that is asked for (SNI), when it is not the target's."},
		{Name: "roots", Type: check.TypeString, Help: "A PEM file of the roots to trust in place of the system's, for certificates of the state's own authorities."},
		{Name: "warn_days", Type: check.TypeInt, Default: "21", Min: 0, Max: 3650, Unit: "days",
			Help: "A certificate of the chain that ends within this many days is cert_expiring."},
		{Name: "min_version", Type: check.TypeString, Default: "1.2", Enum: []string{"1.0", "1.1", "1.2", "1.3"},
			Help: "The oldest TLS version allowed: below it 1.0 and 1.1 are tls_protocol, since no browser takes them, and 1.2 is weak_tls."},
		{Name: "issuer", Type: check.TypeString, Help: "A text that the issuer's name must hold; another issuer (a TLS inspection box, for one) is tls_untrusted."},
		{Name: "distrusted", Type: check.TypeStrings, Max: 64,
			Help: "SHA-256 fingerprints (64 hex digits) of certificates that no chain may pass through: authorities withdrawn since this system's roots were made."},
	}
}

// TLSFacts are the numbers that every kind with a TLS handshake may report.
func TLSFacts() []check.FactDef {
	unix := func(name, help string) check.FactDef { return check.FactDef{Name: name, Help: help, Max: maxUnix} }
	flag := func(name, help string) check.FactDef { return check.FactDef{Name: name, Help: help, Max: 1} }
	return []check.FactDef{
		unix("cert_not_before_unix", "when the server's certificate begins"),
		unix("cert_not_after_unix", "when the server's certificate ends"),
		unix("intermediate_not_after_unix", "when the first of the intermediate certificates ends"),
		unix("root_not_after_unix", "when the root of the chain ends"),
		unix("chain_not_after_unix", "when the first certificate of the trusted chain that lasts longest ends"),
		{Name: "chain_certs_count", Help: "certificates that the server sent", Max: 1000},
		flag("chain_valid_code", "1 when the chain leads to a trusted root and is within its dates, else 0"),
		flag("name_valid_code", "1 when the certificate is for the name asked for, else 0"),
		{Name: "tls_version_code", Help: "the protocol version times ten: 10, 11, 12 or 13", Min: 10, Max: 13},
		{Name: "tls_cipher_code", Help: "the cipher suite's number in IANA's registry", Max: 0xffff},
		{Name: "key_bits", Help: "size of the key in the server's certificate", Max: 1 << 16},
		{Name: "issuer_code", Help: "first 48 bits of the SHA-256 of the issuer's name: another number is another issuer", Max: 1 << 48},
	}
}

const maxUnix = 253402300799 // 9999-12-31T23:59:59Z, the last instant of RFC 5280, section 4.1.2.5

// A Policy is what a check demands of a TLS server. [NewPolicy] makes it from the options of [TLSOptions].
type Policy struct {
	ServerName string   // the name that the certificate must be for; "" for the target's
	ALPN       []string // the protocols to offer; nil for none
	Unjudged   bool     // whatever the server shows will do: its faults stand in the facts only, as between mail servers

	roots      rootFile
	client     clientPair
	warn       time.Duration
	minVersion uint16
	issuer     string
	distrusted map[[sha256.Size]byte]bool
	suites     []uint16
	now        func() time.Time
	proven     func() bool
}

// NewPolicy reads the options. Its errors name the one that is wrong.
func NewPolicy(o check.Options, env check.Env) (Policy, error) {
	p := Policy{
		ServerName: o.String("server_name"),
		warn:       time.Duration(o.Int("warn_days")) * 24 * time.Hour,
		minVersion: map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.3": tls.VersionTLS13}[o.String("min_version")],
		issuer:     strings.ToLower(o.String("issuer")),
		now:        env.Now,
		proven:     env.ClockProven,
	}
	p.roots.file.path = o.String("roots")
	if p.minVersion == 0 {
		p.minVersion = tls.VersionTLS12
	}
	if p.now == nil {
		p.now = time.Now
	}
	for _, s := range o.Strings("distrusted") {
		b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
		if err != nil || len(b) != sha256.Size {
			return Policy{}, fmt.Errorf("option \"distrusted\": %q is no SHA-256 fingerprint: write 64 hex digits", s)
		}
		if p.distrusted == nil {
			p.distrusted = map[[sha256.Size]byte]bool{}
		}
		p.distrusted[[sha256.Size]byte(b)] = true
	}
	// Everything Go speaks is offered, so that an old server is seen and judged and not only a failed handshake.
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		p.suites = append(p.suites, s.ID)
	}
	return p, nil
}

// ClientCert makes the check identify itself with the certificate of a PEM file. The key stands in a file of its own, or
// in the same one when key is empty, or comes from secret when that is not nil.
func (p *Policy) ClientCert(cert, key string, secret func() (string, error)) {
	p.client.cert.path, p.client.key.path, p.client.secret = cert, key, secret
}

// A View is what one handshake showed, also when it did not succeed. The zero value has seen nothing.
type View struct {
	certs    []*x509.Certificate // as sent, the server's own first; empty when none was seen
	chains   [][]*x509.Certificate
	chainErr error // why there is no valid chain
	nameErr  error // why the certificate is not for the name
	version  uint16
	cipher   uint16
	fault    *Fault // why the server is not good enough to talk to
}

// errRefused ends a handshake whose peer has a fault; the fault says why.
var errRefused = errors.New("the server's certificate or protocol was refused")

// Config returns the settings of one handshake with a server that must have this name; what it shows
// goes into v.
func (p *Policy) Config(name string, v *View) (*tls.Config, *Fault) {
	roots, err := p.roots.load()
	if err != nil {
		return nil, &Fault{check.Misconfigured, "roots: " + err.Error()}
	}
	pair, err := p.client.load()
	if err != nil {
		return nil, &Fault{check.Misconfigured, err.Error()}
	}
	c := &tls.Config{
		ServerName:         name,
		MinVersion:         tls.VersionTLS10,
		CipherSuites:       p.suites,
		NextProtos:         p.ALPN,
		InsecureSkipVerify: true, // VerifyConnection does it, after the chain was read
		VerifyConnection: func(cs tls.ConnectionState) error {
			p.look(name, roots, cs, v)
			if v.fault != nil && !p.Unjudged {
				return errRefused
			}
			return nil
		},
	}
	if pair != nil {
		c.Certificates = []tls.Certificate{*pair}
	}
	return c, nil
}

// look reads what the server showed and judges whether it may be talked to.
func (p *Policy) look(name string, roots *x509.CertPool, cs tls.ConnectionState, v *View) {
	v.certs, v.version, v.cipher = cs.PeerCertificates, cs.Version, cs.CipherSuite
	if len(v.certs) == 0 {
		v.fault = &Fault{check.TLSHandshake, "the server sent no certificate"}
		return
	}
	leaf := v.certs[0]
	opts := x509.VerifyOptions{Roots: roots, CurrentTime: p.now(), Intermediates: x509.NewCertPool()}
	for _, c := range v.certs[1:] {
		opts.Intermediates.AddCert(c)
	}
	v.chains, v.chainErr = leaf.Verify(opts)
	if v.chainErr == nil {
		v.chains, v.chainErr = p.trusted(v.chains)
	}
	v.nameErr = leaf.VerifyHostname(name)
	v.fault = p.judge(v)
}

// trusted leaves out the chains that pass through a distrusted certificate or come from another issuer.
func (p *Policy) trusted(chains [][]*x509.Certificate) ([][]*x509.Certificate, error) {
	if p.issuer != "" && !strings.Contains(strings.ToLower(chains[0][0].Issuer.String()), p.issuer) {
		return nil, fmt.Errorf("issued by %s, not by the issuer that the plan names", issuerOf(chains[0][0]))
	}
	if len(p.distrusted) == 0 {
		return chains, nil
	}
	chains = slices.DeleteFunc(chains, func(chain []*x509.Certificate) bool {
		return slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return p.distrusted[sha256.Sum256(c.Raw)] })
	})
	if len(chains) == 0 {
		return nil, errors.New("every chain passes through a certificate that the plan distrusts")
	}
	return chains, nil
}

// judge returns why the server is not good enough, in the order in which a browser would stop.
func (p *Policy) judge(v *View) *Fault {
	if v.version < p.minVersion && v.version < tls.VersionTLS12 {
		return &Fault{check.TLSProtocol, fmt.Sprintf("the server speaks at most %s", tls.VersionName(v.version))}
	}
	leaf := v.certs[0]
	if v.chainErr != nil {
		reason := check.Classify(check.StepTLS, v.chainErr)
		if reason == check.TLSHandshake {
			reason = check.TLSUntrusted
		}
		switch reason {
		case check.TLSExpired, check.TLSNotYetValid:
			detail := dates(v.chainErr, leaf)
			if p.proven != nil && !p.proven() {
				return &Fault{check.ClockUnproven, detail + "; this machine's clock is not proven"}
			}
			return &Fault{reason, detail}
		case check.TLSUntrusted:
			if v.nameErr == nil {
				return &Fault{reason, v.chainErr.Error() + "; issuer " + issuerOf(leaf)}
			}
		default:
			return &Fault{reason, v.chainErr.Error()}
		}
	}
	if v.nameErr != nil {
		return &Fault{check.TLSName, v.nameErr.Error()}
	}
	return nil
}

// dates says which certificate is outside its dates.
func dates(err error, leaf *x509.Certificate) string {
	c := leaf
	if inv, ok := errors.AsType[x509.CertificateInvalidError](err); ok && inv.Cert != nil {
		c = inv.Cert
	}
	return fmt.Sprintf("certificate %q is valid from %s to %s", c.Subject.CommonName,
		c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
}

// Certificates are those that the server sent, its own first; none when none was seen.
func (v *View) Certificates() []*x509.Certificate { return v.certs }

// Issuer names the issuer of the server's certificate for a person; "" when none was seen.
func (v *View) Issuer() string {
	if len(v.certs) == 0 {
		return ""
	}
	return issuerOf(v.certs[0])
}

// issuerOf names the issuer for a person.
func issuerOf(c *x509.Certificate) string {
	n := c.Issuer
	switch {
	case n.CommonName != "" && len(n.Organization) > 0:
		return fmt.Sprintf("%s (%s)", n.CommonName, n.Organization[0])
	case n.CommonName != "":
		return n.CommonName
	default:
		return n.String()
	}
}

// HandshakeFault says why a handshake that returned err failed.
func (v *View) HandshakeFault(err error) *Fault {
	if errors.Is(err, errRefused) {
		return v.fault
	}
	reason := check.Classify(check.StepTLS, err)
	if head, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		switch {
		case string(head.RecordHeader[:4]) == "SSH-":
			return &Fault{reason, "the server speaks SSH, not TLS"}
		case string(head.RecordHeader[:]) == "HTTP/":
			return &Fault{reason, "the server speaks HTTP without TLS on this port"}
		}
	}
	return &Fault{reason, "TLS handshake: " + err.Error()}
}

// Degraded says what is not as it should be though the server can be talked to.
func (p *Policy) Degraded(v *View) *Fault {
	if len(v.certs) == 0 || p.Unjudged {
		return nil
	}
	bits, kind := keySize(v.certs[0])
	switch {
	case v.version < p.minVersion:
		return &Fault{check.WeakTLS, fmt.Sprintf("%s, below what the plan allows", tls.VersionName(v.version))}
	case kind == "RSA" && bits < 2048, kind == "EC" && bits < 256:
		return &Fault{check.WeakTLS, fmt.Sprintf("an %s key of %d bits", kind, bits)}
	case slices.ContainsFunc(tls.InsecureCipherSuites(), func(s *tls.CipherSuite) bool { return s.ID == v.cipher }):
		return &Fault{check.WeakTLS, "cipher suite " + tls.CipherSuiteName(v.cipher)}
	}
	if p.proven != nil && !p.proven() {
		return nil
	}
	if end, c := lasts(v.chains); c != nil && end.Sub(p.now()) < p.warn {
		return &Fault{check.CertExpiring, fmt.Sprintf("certificate %q ends %s", c.Subject.CommonName, end.UTC().Format(time.RFC3339))}
	}
	return nil
}

// lasts returns the end of the chain that lasts longest, and the certificate that ends it; nil without a chain.
func lasts(chains [][]*x509.Certificate) (end time.Time, first *x509.Certificate) {
	for _, chain := range chains {
		c := slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
		if first == nil || c.NotAfter.After(end) {
			end, first = c.NotAfter, c
		}
	}
	return end, first
}

// keySize returns the size of a certificate's key in bits and "RSA", "EC" or "" for any other.
func keySize(c *x509.Certificate) (bits int, kind string) {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen(), "RSA"
	case *ecdsa.PublicKey:
		return k.Curve.Params().BitSize, "EC"
	case ed25519.PublicKey:
		return 8 * len(k), ""
	}
	return 0, ""
}

// Facts adds the numbers that the handshake showed.
func (v *View) Facts(fs *check.Facts) {
	if v.version != 0 {
		fs.Add("tls_version_code", float64(10+v.version-tls.VersionTLS10))
		fs.Add("tls_cipher_code", float64(v.cipher))
	}
	if len(v.certs) == 0 {
		return
	}
	leaf := v.certs[0]
	addUnix(fs, "cert_not_before_unix", leaf.NotBefore)
	addUnix(fs, "cert_not_after_unix", leaf.NotAfter)
	chain := v.certs
	if end, c := lasts(v.chains); c != nil {
		addUnix(fs, "chain_not_after_unix", end)
		chain = v.chains[0]
	}
	var middle time.Time
	for _, c := range chain[1:] {
		if string(c.RawIssuer) == string(c.RawSubject) {
			addUnix(fs, "root_not_after_unix", c.NotAfter)
			break
		}
		if middle.IsZero() || c.NotAfter.Before(middle) {
			middle = c.NotAfter
		}
	}
	if !middle.IsZero() {
		addUnix(fs, "intermediate_not_after_unix", middle)
	}
	fs.Add("chain_certs_count", float64(len(v.certs)))
	fs.Add("chain_valid_code", truth(v.chainErr == nil))
	fs.Add("name_valid_code", truth(v.nameErr == nil))
	if bits, _ := keySize(leaf); bits > 0 {
		fs.Add("key_bits", float64(bits))
	}
	sum := sha256.Sum256(leaf.RawIssuer)
	fs.Add("issuer_code", float64(binary.BigEndian.Uint64(sum[:8])>>16))
}

// addUnix adds an instant, unless it lies before 1970 or after 9999, which no honest certificate has.
func addUnix(fs *check.Facts, name string, t time.Time) {
	if u := t.Unix(); u >= 0 && u <= maxUnix {
		fs.Add(name, float64(u))
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
