package audit

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

// TrustVersion is the first line of a trust file.
const TrustVersion = "egovmon-trust/1"

const maxTrust = 1 << 20

// A Trust is what an auditor got by other ways than the export. The zero Trust is nothing.
type Trust struct {
	Key       string          // the log's verifier key; "" for none
	Witnesses []*wire.Witness // who cosign
	Seen      []Seen          // earlier states of the log, as on a printed report
	Roots     []*x509.Certificate
}

// A Seen is a state of a log that somebody has written down.
type Seen struct {
	Origin string    `json:"origin"`
	Size   int64     `json:"size"`
	Root   tlog.Hash `json:"root"`
}

// ParseTrust reads a trust file: the line egovmon-trust/1; lines "log KEY", "witness KEY" and "checkpoint ORIGIN SIZE ROOT",
// the root in base64 or hex; lines that begin with #; and the certificates of time-stamping authorities' roots as PEM.
func ParseTrust(text []byte) (Trust, error) {
	var t Trust
	if len(text) > maxTrust {
		return t, fmt.Errorf("trust file: more than %d bytes", maxTrust)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return t, fmt.Errorf("trust file: a PEM block %.40q: only certificates belong here", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return t, fmt.Errorf("trust file: %w", err)
		}
		t.Roots = append(t.Roots, c)
	}
	lines := strings.Split(string(text), "\n")
	if strings.TrimSpace(lines[0]) != TrustVersion {
		return t, fmt.Errorf("trust file: the first line is not %s: written for a newer version, or no trust file", TrustVersion)
	}
	inside := false
	for i, line := range lines[1:] {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "-----BEGIN "):
			inside = true
		case strings.HasPrefix(line, "-----END "):
			inside = false
		case inside || line == "" || strings.HasPrefix(line, "#"):
		default:
			if err := t.line(line); err != nil {
				return t, fmt.Errorf("trust file: line %d: %w", i+2, err)
			}
		}
	}
	return t, nil
}

func (t *Trust) line(line string) error {
	key, value, _ := strings.Cut(line, " ")
	value = strings.TrimSpace(value)
	switch key {
	case "log":
		if t.Key != "" && t.Key != value {
			return errors.New("a second key of the log")
		}
		t.Key = value
		return nil
	case "witness":
		w, err := wire.NewWitness(value)
		if err == nil {
			t.Witnesses = append(t.Witnesses, w)
		}
		return err
	case "checkpoint":
		s, err := ParseSeen(value)
		if err == nil {
			t.Seen = append(t.Seen, s)
		}
		return err
	}
	return fmt.Errorf("%.40q is none of log, witness, checkpoint", key)
}

// ParseSeen reads "ORIGIN SIZE ROOT", as wire.FormatSeen writes it; the root may be in base64 or hex.
func ParseSeen(s string) (Seen, error) {
	f := strings.Fields(s)
	if len(f) != 3 {
		return Seen{}, fmt.Errorf("%.200q: want the log's name, its number of leaves and its root hash", s)
	}
	n, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil || n < 1 {
		return Seen{}, fmt.Errorf("%.40q is no number of leaves", f[1])
	}
	out := Seen{Origin: f[0], Size: n}
	if b, err := hex.DecodeString(f[2]); err == nil && len(b) == tlog.HashSize {
		out.Root = tlog.Hash(b)
		return out, nil
	}
	if out.Root, err = tlog.ParseHash(f[2]); err != nil {
		return Seen{}, fmt.Errorf("root hash %.80q: want 32 bytes in base64 or hex", f[2])
	}
	return out, nil
}
