package servers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Certificate is a state of a server's certificate.
type Certificate string

// The states of a server's certificate. All of a server's certificates are over the same key.
const (
	Good           Certificate = "good"            // for this server, with the authority that leads to the root
	Expired        Certificate = "expired"         // ended yesterday
	Ending         Certificate = "ending"          // ends in five days
	OtherName      Certificate = "other-name"      // for a server of another name
	NoIntermediate Certificate = "no-intermediate" // good, sent without the authority that leads to the root
)

// Certificates lists the states.
func Certificates() []Certificate {
	return []Certificate{Good, Expired, Ending, OtherName, NoIntermediate}
}

// PKIConfig says where the lists and answers of a PKI are to be had, which stands in its certificates. What is empty is left out.
type PKIConfig struct {
	Now  time.Time // the instant that it is set up at
	OCSP string    // URL of the responder
	CRL  string    // URL of the folder of revocation lists, without a slash at its end
}

// A PKI is a public key infrastructure of two generations, as the state's: an old root and a new one, below each an authority
// that issues. Servers and most officers have their certificates from the new one.
type PKI struct {
	Dir   string // of its files; all may read them but for keys
	Roots string // PEM file of both roots, as a plan names it
	G1    *Authority
	G2    *Authority

	c PKIConfig
}

// An Authority is a root and the one below it that issues.
type Authority struct {
	Name     string // "g1" or "g2", as in the names of files
	Root     *x509.Certificate
	Cert     *x509.Certificate // of the one that issues
	RootFile string            // PEM
	File     string            // PEM of Cert
	KeyFile  string            // PEM of Cert's key

	c   PKIConfig
	dir string
	key crypto.Signer

	mu     sync.Mutex
	issued []issued
}

// An issued certificate, as it stands in the authority's register.
type issued struct {
	cert    *x509.Certificate
	revoked time.Time // zero for one that holds
}

// An Identity is a certificate with its key, as files in PEM.
type Identity struct {
	Cert     *x509.Certificate
	CertFile string
	KeyFile  string
}

// NewPKI makes a PKI with its files in a folder, which it creates.
func NewPKI(dir string, c PKIConfig) (*PKI, error) {
	if c.Now.IsZero() {
		return nil, errors.New("a PKI needs the time that it is set up at")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	p := &PKI{Dir: dir, Roots: filepath.Join(dir, "roots.pem"), c: c}
	var err error
	// The years are those of the state's roots as of 2026: the old one ends in 2030, the new one in 2048.
	if p.G1, err = newAuthority(dir, c, "g1", "RootCA chuyen dung (lab)", "Co quan chung thuc so (lab)", 4); err != nil {
		return nil, err
	}
	if p.G2, err = newAuthority(dir, c, "g2", "RootCA chuyên dùng G2 (lab)", "CA phục vụ các cơ quan Nhà nước G2 (lab)", 22); err != nil {
		return nil, err
	}
	return p, writeCerts(p.Roots, p.G1.Root, p.G2.Root)
}

func newAuthority(dir string, c PKIConfig, name, root, sub string, years int) (*Authority, error) {
	a := &Authority{Name: name, c: c, dir: dir, RootFile: filepath.Join(dir, "root-"+name+".pem"), File: filepath.Join(dir, "sub-"+name+".pem"),
		KeyFile: filepath.Join(dir, "sub-"+name+".key")}
	rootKey, err := newKey()
	if err != nil {
		return nil, err
	}
	tmpl := authorityTemplate(root, c.Now, years)
	if a.Root, err = sign(tmpl, tmpl, rootKey.Public(), rootKey); err != nil {
		return nil, err
	}
	if a.key, err = newKey(); err != nil {
		return nil, err
	}
	below := authorityTemplate(sub, c.Now, years-1)
	below.MaxPathLenZero = true
	if a.Cert, err = sign(below, a.Root, a.key.Public(), rootKey); err != nil {
		return nil, err
	}
	return a, errors.Join(writeCerts(a.RootFile, a.Root), writeCerts(a.File, a.Cert), writeKey(a.KeyFile, a.key))
}

func authorityTemplate(name string, now time.Time, years int) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name, Organization: []string{"egovmon lab"}, Country: []string{"VN"}},
		NotBefore: now.AddDate(-8, 0, 0), NotAfter: now.AddDate(years, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func newKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// sign makes a certificate with a random serial number of 16 bytes.
func sign(tmpl, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	serial := make([]byte, 16)
	if _, err := rand.Read(serial); err != nil {
		return nil, err
	}
	serial[0] = serial[0]&0x7f | 0x40 // positive, and always of the same length
	tmpl.SerialNumber = new(big.Int).SetBytes(serial)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("certificate of %q: %w", tmpl.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// Issue makes a certificate from a template over a fresh key, enters it into the register, and writes both to files of this
// name. What the template leaves empty is filled in: the last month and the next year, and where to ask whether it was revoked.
func (a *Authority) Issue(file string, tmpl *x509.Certificate) (*Identity, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	return a.issueOver(file, tmpl, key)
}

// issueOver is Issue over this key.
func (a *Authority) issueOver(file string, tmpl *x509.Certificate, key crypto.Signer) (*Identity, error) {
	cert, err := a.issue(tmpl, key)
	if err != nil {
		return nil, err
	}
	id := &Identity{Cert: cert, CertFile: filepath.Join(a.dir, file+".pem"), KeyFile: filepath.Join(a.dir, file+".key")}
	return id, errors.Join(writeCerts(id.CertFile, cert, a.Cert), writeKey(id.KeyFile, key))
}

func (a *Authority) issue(tmpl *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	if tmpl.NotBefore.IsZero() {
		tmpl.NotBefore = a.c.Now.AddDate(0, -1, 0)
	}
	if tmpl.NotAfter.IsZero() {
		tmpl.NotAfter = a.c.Now.AddDate(1, 0, 0)
	}
	if a.c.OCSP != "" {
		tmpl.OCSPServer = []string{a.c.OCSP}
	}
	if a.c.CRL != "" {
		tmpl.CRLDistributionPoints = []string{a.c.CRL + "/" + a.CRLName()}
	}
	cert, err := sign(tmpl, a.Cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.issued = append(a.issued, issued{cert: cert})
	return cert, nil
}

// Officer issues the certificate of a person who signs.
func (a *Authority) Officer(file, name string) (*Identity, error) {
	return a.Issue(file, &x509.Certificate{
		Subject: pkix.Name{CommonName: name, Organization: []string{"UBND huyện Tứ Kỳ"}, Country: []string{"VN"}}, KeyUsage: x509.KeyUsageDigitalSignature,
	})
}

// Expire lets the file of an identity's certificate hold one over the same key that ended yesterday, or the good one again. The
// identity itself stays as it is.
func (a *Authority) Expire(id *Identity, on bool) error {
	cert := id.Cert
	if on {
		der, err := os.ReadFile(id.KeyFile)
		if err != nil {
			return err
		}
		block, _ := pem.Decode(der)
		if block == nil {
			return fmt.Errorf("%s holds no PEM", id.KeyFile)
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return fmt.Errorf("%s: %w", id.KeyFile, err)
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return fmt.Errorf("%s holds no key that signs", id.KeyFile)
		}
		tmpl := &x509.Certificate{Subject: id.Cert.Subject, KeyUsage: id.Cert.KeyUsage, NotBefore: a.c.Now.AddDate(-1, 0, -1), NotAfter: a.c.Now.AddDate(0, 0, -1)}
		if cert, err = a.issue(tmpl, signer); err != nil {
			return err
		}
	}
	return writeCerts(id.CertFile, cert, a.Cert)
}

// CRLName is the last part of the URL of the authority's revocation list.
func (a *Authority) CRLName() string { return "sub-" + a.Name + ".crl" }

// Revoke enters into the register that a certificate was revoked at an instant, or with the zero time that it holds.
func (a *Authority) Revoke(serial *big.Int, at time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.issued {
		if a.issued[i].cert.SerialNumber.Cmp(serial) == 0 {
			a.issued[i].revoked = at
			return nil
		}
	}
	return fmt.Errorf("authority %s did not issue a certificate with serial number %x", a.Name, serial)
}

// register is the authority's register in the format of `openssl ca`, which its OCSP responder reads: status, end, time of
// revocation, serial number, file and subject of each certificate, with tabs in between.
func (a *Authority) register() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	const layout = "060102150405Z"
	var text strings.Builder
	for _, i := range a.issued {
		status, when := "V", ""
		if !i.revoked.IsZero() {
			status, when = "R", i.revoked.UTC().Format(layout)+",keyCompromise"
		}
		fmt.Fprintf(&text, "%s\t%s\t%s\t%X\tunknown\t/CN=%X\n", status, i.cert.NotAfter.UTC().Format(layout), when, i.cert.SerialNumber, i.cert.SerialNumber)
	}
	return []byte(text.String())
}

// soleUse is the extension that lets a certificate be used for one thing alone, and critically so (RFC 3161, section 2.3).
func soleUse(oid asn1.ObjectIdentifier) (pkix.Extension, error) {
	value, err := asn1.Marshal([]asn1.ObjectIdentifier{oid})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: value}, err
}

// A ServerIdentity is a server's key with a certificate for each state.
type ServerIdentity struct {
	Name    string // the first of its names
	KeyFile string

	dir string
}

// Server issues the certificates of a server with these names and addresses.
func (p *PKI) Server(names []string, addresses ...netip.Addr) (*ServerIdentity, error) {
	if len(names) == 0 {
		return nil, errors.New("a server's certificate needs a name")
	}
	s := &ServerIdentity{Name: names[0], dir: filepath.Join(p.Dir, "server-"+fileName(names[0]))}
	s.KeyFile = filepath.Join(s.dir, "key.pem")
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	var ips []net.IP
	for _, a := range addresses {
		ips = append(ips, a.AsSlice())
	}
	for _, state := range Certificates() {
		tmpl := &x509.Certificate{
			Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, IPAddresses: ips,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		switch state {
		case Expired:
			tmpl.NotBefore, tmpl.NotAfter = p.c.Now.AddDate(-1, 0, -1), p.c.Now.AddDate(0, 0, -1)
		case Ending:
			tmpl.NotAfter = p.c.Now.AddDate(0, 0, 5)
		case OtherName:
			tmpl.Subject.CommonName, tmpl.DNSNames, tmpl.IPAddresses = "khac.test", []string{"khac.test"}, nil
		}
		cert, err := p.G2.issue(tmpl, key)
		if err != nil {
			return nil, err
		}
		chain := []*x509.Certificate{cert, p.G2.Cert}
		if state == NoIntermediate {
			chain = chain[:1]
		}
		if err := writeCerts(s.CertFile(state), chain...); err != nil {
			return nil, err
		}
	}
	return s, writeKey(s.KeyFile, key)
}

// CertFile is the PEM file of the certificates that the server sends in a state.
func (s *ServerIdentity) CertFile(c Certificate) string {
	return filepath.Join(s.dir, string(c)+".pem")
}

// install puts certificates of a state where a server reads them, and the key beside them, with ".key" at the end of its name.
func (s *ServerIdentity) install(c Certificate, path string) error {
	if !slices.Contains(Certificates(), c) {
		return fmt.Errorf("no state %q of a certificate: there are %v", c, Certificates())
	}
	key, err := os.ReadFile(s.KeyFile)
	if err != nil {
		return err
	}
	chain, err := os.ReadFile(s.CertFile(c))
	if err != nil {
		return err
	}
	return errors.Join(replace(path+".key", key, 0o600), replace(path, chain, 0o644))
}

// TrustList is the list of the authorities that signing programs fetch, in the shape that they read: JSON, whose key
// "Cerificates" is spelt so.
func (p *PKI) TrustList(issuedAt, next time.Time) ([]byte, error) {
	list := struct {
		Version        int
		ListIdentifier string
		SequenceNumber int64
		ThisUpdate     time.Time
		NextUpdate     time.Time
		Cerificates    []string
	}{Version: 1, ListIdentifier: "egovmon-lab", SequenceNumber: issuedAt.Unix(), ThisUpdate: issuedAt.UTC(), NextUpdate: next.UTC()}
	for _, c := range []*x509.Certificate{p.G1.Root, p.G1.Cert, p.G2.Root, p.G2.Cert} {
		list.Cerificates = append(list.Cerificates, base64.StdEncoding.EncodeToString(c.Raw))
	}
	return json.MarshalIndent(list, "", "  ")
}

// fileName makes the name of a file out of any text.
func fileName(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
}

func writeCerts(path string, certs ...*x509.Certificate) error {
	var text []byte
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return replace(path, text, 0o644)
}

func writeKey(path string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return replace(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// replace writes a file so that a reader sees it whole, before or after. It is no guard against a power cut: a lab is made anew.
func replace(path string, text []byte, mode os.FileMode) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, text, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// responder issues the certificate that signs OCSP answers for the authority (RFC 6960, section 4.2.2.2), which itself need not
// be asked about.
func (a *Authority) responder() (*Identity, error) {
	noCheck := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: asn1.NullBytes}
	return a.Issue("ocsp-"+a.Name, &x509.Certificate{
		Subject: pkix.Name{CommonName: "OCSP " + a.Name + " (lab)"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, ExtraExtensions: []pkix.Extension{noCheck},
	})
}

// keyHashes are the hashes of an authority's key by which requests name it.
func keyHashes(c *x509.Certificate) [][]byte {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &info); err != nil {
		return nil
	}
	one, two := sha1.Sum(info.Key.Bytes), sha256.Sum256(info.Key.Bytes)
	return [][]byte{one[:], two[:]}
}
