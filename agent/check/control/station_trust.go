package control

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	keyCertificates = `SOFTWARE\Microsoft\SystemCertificates\`
	keyRootList     = keyCertificates + `AuthRoot\AutoUpdate`
	keyInternet     = `SOFTWARE\Microsoft\Windows\CurrentVersion\Internet Settings`
	keyInternetRule = `SOFTWARE\Policies\Microsoft\Windows\CurrentVersion\Internet Settings`
	keyEnvironment  = `SYSTEM\CurrentControlSet\Control\Session Manager\Environment`
)

// trust reads the stores of trusted roots in the registry, of the machine and of the people who are signed in, and the
// proxies of WinHTTP, of WinINET and of the environment. A root is the system's own when Microsoft's list of its
// programme, which Windows keeps up to date, or the list of what comes with Windows has it.
func (s *station) trust(ctx context.Context) (trust, error) {
	var v trust
	own, complete, err := s.ownRoots()
	if err != nil {
		return trust{}, fmt.Errorf("the list of roots that Microsoft keeps: %w", err)
	}
	take := func(h hive, key string) error { return takeRoots(ctx, &v, h, key, own, complete) }
	for _, key := range []string{
		keyCertificates + `ROOT\Certificates`, keyCertificates + `AuthRoot\Certificates`,
		`SOFTWARE\Policies\Microsoft\SystemCertificates\Root\Certificates`, `SOFTWARE\Microsoft\EnterpriseCertificates\Root\Certificates`,
	} {
		if err := take(s.registry, key); err != nil {
			return trust{}, fmt.Errorf("the root certificates: %w", err)
		}
	}
	if err := s.machineProxies(&v); err != nil {
		return trust{}, fmt.Errorf("the proxies of the machine: %w", err)
	}
	if s.hives == nil {
		return v, nil
	}
	hives, err := s.hives()
	if err != nil {
		v.unread = fmt.Errorf("the settings of who is signed in: %w", err)
	}
	for _, h := range hives {
		err := errors.Join(take(h, `Software\Microsoft\SystemCertificates\Root\Certificates`),
			take(h, `Software\Policies\Microsoft\SystemCertificates\Root\Certificates`), internetProxies(&v, h, `Software\Microsoft\Windows\CurrentVersion\Internet Settings`))
		if err != nil {
			v.unread = fmt.Errorf("the settings of who is signed in: %w", err)
		}
	}
	return v, nil
}

// ownRoots is SHA-1 of the roots that are the system's own. Without the list of the programme it is not complete.
func (s *station) ownRoots() (own map[string]bool, complete bool, err error) {
	own = map[string]bool{}
	for _, h := range s.shipped {
		own[strings.ToLower(h)] = true
	}
	b, err := s.registry.Bytes(keyRootList, "EncodedCtl")
	if errors.Is(err, fs.ErrNotExist) {
		return own, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	listed, err := parseRootList(b)
	for _, id := range listed {
		own[hex.EncodeToString(id)] = true
	}
	return own, true, err
}

// maxListed bounds the roots of a list.
const maxListed = 8192

// parseRootList returns the SHA-1 of the certificates that a list of Microsoft's (a certificate trust list within CMS SignedData)
// names. Its signature is not looked at: who can write it can write the store of roots as well.
func parseRootList(b []byte) ([][]byte, error) {
	wrong := fmt.Errorf("a list of roots: %w", errValue)
	signed, explicit := asn1.Tag(0).ContextSpecific().Constructed(), asn1.Tag(0).ContextSpecific().Constructed()
	in := cryptobyte.String(b)
	var info, content, data, encapsulated, list cryptobyte.String
	if !in.ReadASN1(&info, asn1.SEQUENCE) || !info.SkipASN1(asn1.OBJECT_IDENTIFIER) || !info.ReadASN1(&content, signed) ||
		!content.ReadASN1(&data, asn1.SEQUENCE) || !data.SkipASN1(asn1.INTEGER) || !data.SkipASN1(asn1.SET) ||
		!data.ReadASN1(&encapsulated, asn1.SEQUENCE) || !encapsulated.SkipASN1(asn1.OBJECT_IDENTIFIER) ||
		!encapsulated.ReadASN1(&content, explicit) || !content.ReadASN1(&list, asn1.SEQUENCE) {
		return nil, wrong
	}
	// What it is for, how its subjects are named and the subjects are its three sequences, in this order; numbers and
	// times stand in between.
	var subjects cryptobyte.String
	for n := 0; n < 3; {
		var element cryptobyte.String
		var tag asn1.Tag
		if !list.ReadAnyASN1(&element, &tag) {
			return nil, wrong
		}
		if tag == asn1.SEQUENCE {
			n++
			subjects = element
		}
	}
	var ids [][]byte
	for !subjects.Empty() {
		var subject, id cryptobyte.String
		if !subjects.ReadASN1(&subject, asn1.SEQUENCE) || !subject.ReadASN1(&id, asn1.OCTET_STRING) || len(ids) == maxListed {
			return nil, wrong
		}
		if len(id) == sha1.Size {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, wrong
	}
	return ids, nil
}

// takeRoots takes in the certificates below a key of a store: each is a key with a binary value "Blob".
func takeRoots(ctx context.Context, v *trust, h hive, key string, own map[string]bool, complete bool) error {
	names, err := h.Keys(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(names) > maxRoots {
		return fmt.Errorf("more than %d: %w", maxRoots, errors.ErrUnsupported)
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := h.Bytes(key+`\`+name, "Blob")
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile, or a key without a certificate
		}
		if err != nil {
			return err
		}
		der := certificateOf(b)
		if der == nil {
			v.odd++
			continue
		}
		short, long := sha1.Sum(der), sha256.Sum256(der)
		sum := hex.EncodeToString(long[:])
		switch {
		case own[hex.EncodeToString(short[:])]:
		case slices.Contains(v.roots, sum), slices.Contains(v.doubtful, sum):
		case complete:
			v.roots = append(v.roots, sum)
		default:
			v.doubtful = append(v.doubtful, sum)
		}
	}
	return nil
}

// certificateOf finds the certificate in what a store keeps of it: properties, each its number, a one, its length and its
// bytes, the numbers little-endian. nil when there is none.
func certificateOf(b []byte) []byte {
	const head, certificate = 12, 32 // CERT_CERT_PROP_ID
	for len(b) >= head {
		number, length := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[8:])
		if b = b[head:]; uint64(length) > uint64(len(b)) {
			return nil
		}
		if number == certificate && length > 0 {
			return b[:length]
		}
		b = b[length:]
	}
	return nil
}

// addProxy takes in a proxy once.
func (v *trust) addProxy(value string) {
	if host := proxyHost(strings.TrimSpace(value)); host != "" && !slices.Contains(v.proxies, host) {
		v.proxies = append(v.proxies, host)
	}
}

// addProxies takes in proxies as Windows writes them: host:port, or one for each protocol, http=host:port;https=host:port.
func (v *trust) addProxies(list string) {
	for _, one := range strings.FieldsFunc(list, func(r rune) bool { return r == ';' || r == ' ' }) {
		if _, value, ok := strings.Cut(one, "="); ok {
			one = value
		}
		v.addProxy(one)
	}
}

// machineProxies reads what all programs are told: by WinHTTP, by WinINET where it is set for the machine, and by the environment.
func (s *station) machineProxies(v *trust) error {
	b, err := s.registry.Bytes(keyInternet+`\Connections`, "WinHttpSettings")
	if err == nil {
		err = v.connection(b)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("WinHTTP: %w", err)
	}
	for _, key := range []string{keyInternet, keyInternetRule} {
		if err := internetProxies(v, s.registry, key); err != nil {
			return err
		}
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		text, err := optionalText(s.registry, keyEnvironment, name)
		if err != nil {
			return err
		}
		if text != "" {
			v.addProxy(text)
		}
	}
	return nil
}

// internetProxies reads the settings of WinINET below a key: a proxy that is on, and the address of a script that chooses one.
func internetProxies(v *trust, r registry, key string) error {
	on, err := r.Number(key, "ProxyEnable")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("ProxyEnable: %w", err)
	}
	server, err := optionalText(r, key, "ProxyServer")
	if err != nil {
		return err
	}
	if on != 0 {
		v.addProxies(server)
	}
	script, err := optionalText(r, key, "AutoConfigURL")
	if script != "" {
		v.addProxy(script)
	}
	return err
}

// optionalText is a text of the registry, "" when it is not there.
func optionalText(r registry, key, name string) (string, error) {
	text, err := r.Text(key, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}

// connection takes in the proxy of a binary setting: after eight bytes flags (2 for a proxy), the length of the proxy and the proxy.
func (v *trust) connection(b []byte) error {
	const flagsAt, lengthAt, textAt, proxy = 8, 12, 16, 2
	if len(b) < textAt {
		return errValue
	}
	length := binary.LittleEndian.Uint32(b[lengthAt:])
	if uint64(length) > uint64(len(b)-textAt) {
		return errValue
	}
	if binary.LittleEndian.Uint32(b[flagsAt:])&proxy != 0 {
		v.addProxies(string(b[textAt : textAt+length]))
	}
	return nil
}
