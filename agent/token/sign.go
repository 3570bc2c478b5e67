package main

import (
	"crypto"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/durable"
	"egovmon/agent/token/cms"
	"egovmon/agent/token/pdf"
	"egovmon/agent/token/talk"
)

// sample is a page in Vietnamese that says what it is for. Chromium made it of a few lines of HTML; its fonts are DejaVu's.
//
//go:embed document.pdf
var sample []byte

// room is how many bytes a PDF keeps for the signature: two chains and a time stamp have 10 kB, with keys of RSA 15.
const room = 24 << 10

// reason is what readers show as the reason of the signature.
const reason = "Kiểm tra hệ thống ký số"

// A signing is one act of signing, told by the agent step by step.
type signing struct {
	line  *talk.Line
	q     talk.Signing
	clock stopwatch

	hash     cms.Hash
	document []byte
	key      key
	message  *cms.Message
	prepared *pdf.Prepared // of PAdES
}

// A key is a private key with the chain of its certificate.
type key interface {
	// opened says what is known before a PIN is given.
	opened() talk.Opened
	// login makes the key ready; only a token needs it.
	login(pin string) error
	// sign signs a digest.
	sign(digest []byte, h crypto.Hash) ([]byte, error)
	close()
}

func (s *signing) run() (*talk.Answer, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	defer s.key.close()
	opened := s.key.opened()
	opened.Document, opened.Prior = int64(len(s.document)), s.prior()
	var next talk.Next
	if err := s.ask(talk.Answer{Opened: &opened}, &next); err != nil {
		return nil, err
	}
	if next.Proceed == nil {
		return nil, because(check.Internal, "the agent did not say to proceed")
	}
	signature, err := s.sign(opened, next.Proceed.PIN)
	if err != nil {
		return nil, err
	}
	next = talk.Next{}
	if err := s.ask(talk.Answer{Signed: &talk.Signed{Signature: signature}}, &next); err != nil {
		return nil, err
	}
	if next.Complete == nil {
		return nil, because(check.Internal, "the agent did not say how to complete")
	}
	done, err := s.complete(next.Complete)
	if err != nil {
		return nil, err
	}
	return &talk.Answer{Done: done, Seconds: s.clock.answered()}, nil
}

// ask sends an answer and reads what comes next.
func (s *signing) ask(a talk.Answer, next *talk.Next) error {
	a.Version, a.Seconds = talk.Version, s.clock.answered()
	if err := s.line.Write(a); err != nil {
		return err
	}
	err := s.line.Read(next)
	s.clock.last = time.Now() // the agent's time is not ours
	return err
}

// open reads document and key.
func (s *signing) open() error {
	var err error
	if s.hash, err = cms.HashByName(s.q.Hash); err != nil {
		return because(check.Misconfigured, "%v", err)
	}
	if s.document, err = s.read(); err != nil {
		return err
	}
	s.clock.lap("read")
	s.key, err = openKey(s.q)
	s.clock.lap("open")
	return err
}

// read returns the document; one that cannot be read or is none is a mistake of the plan.
func (s *signing) read() ([]byte, error) {
	if s.q.Document == "" {
		return sample, nil
	}
	f, err := os.Open(s.q.Document)
	if err != nil {
		return nil, because(fileReason(err), "document: %v", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return nil, because(check.Misconfigured, "document: %s is no regular file", s.q.Document)
	}
	if st.Size() > talk.MaxDocument {
		return nil, because(check.Misconfigured, "document: %s has more than %d bytes", s.q.Document, talk.MaxDocument)
	}
	data := make([]byte, st.Size()) // at once: the unit that this runs in has little memory
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, because(check.Misconfigured, "document: %v", err)
	}
	return data, nil
}

// prior finds the newest signature that a PDF already has. What cannot be read is none: signing says what is wrong with it.
func (s *signing) prior() *talk.Prior {
	if s.q.Form != talk.PAdES || s.q.Document == "" {
		return nil
	}
	d, err := pdf.Open(s.document)
	if err != nil {
		return nil
	}
	f, err := d.Find()
	if err != nil || len(f.CMS) > talk.MaxPrior {
		return nil
	}
	return &talk.Prior{CMS: f.CMS, SigningTime: f.Signed}
}

func fileReason(err error) check.Reason {
	if errors.Is(err, fs.ErrPermission) {
		return check.NoPermission
	}
	return check.Misconfigured
}

// sign prepares what is signed, and signs it.
func (s *signing) sign(opened talk.Opened, pin string) ([]byte, error) {
	chain, err := parseChain(opened.Chain)
	if err != nil {
		return nil, because(check.Misconfigured, "%v", err)
	}
	h, signed := s.hash.Hash.New(), s.q.At
	switch s.q.Form {
	case talk.CAdES:
		_, _ = h.Write(s.document)
	case talk.PAdES:
		d, err := pdf.Open(s.document)
		if err == nil {
			s.prepared, err = d.Prepare(room, s.q.At, chain[0].Subject.CommonName, reason)
		}
		if err != nil {
			return nil, because(check.Misconfigured, "the document cannot be signed: %v", err)
		}
		s.prepared.Hash(h)
		s.document = nil     // the prepared one holds it
		signed = time.Time{} // the signature dictionary says it (ETSI EN 319 142-1, section 6.3)
	default:
		return nil, because(check.Internal, "a signature of form %q", s.q.Form)
	}
	if s.message, err = cms.New(s.hash, chain, h.Sum(nil), signed); err != nil {
		return nil, because(check.Misconfigured, "%v", err)
	}
	s.clock.lap("hash")
	if err := s.key.login(pin); err != nil {
		return nil, err
	}
	s.clock.lap("login")
	signature, err := s.key.sign(s.message.Digest(), s.hash.Hash)
	if err != nil {
		return nil, err
	}
	s.clock.lap("sign")
	if err := s.message.SetSignature(signature); err != nil {
		return nil, because(check.Misconfigured, "certificate with serial %x: %v", chain[0].SerialNumber, err)
	}
	return signature, nil
}

// complete puts stamp and revocation data in, and reads the outcome back.
func (s *signing) complete(c *talk.Complete) (*talk.Done, error) {
	if n := total(c.Certs) + total(c.OCSPs) + total(c.CRLs); n > talk.MaxRevocation {
		return nil, because(check.TooLarge, "revocation data of %d bytes, at most %d are embedded", n, talk.MaxRevocation)
	}
	out, found, err := s.assemble(c)
	if err != nil {
		return nil, err
	}
	s.clock.lap("embed")
	if s.q.Keep != "" {
		if err := durable.Replace(s.q.Keep, out); err != nil {
			return nil, because(fileReason(err), "keep: %v", err)
		}
	}
	s.clock.lap("keep")
	return found, nil
}

func total(ders [][]byte) (n int) {
	for _, d := range ders {
		n += len(d)
	}
	return n
}

// assemble makes the outcome, and says what a reader finds in it.
func (s *signing) assemble(c *talk.Complete) ([]byte, *talk.Done, error) {
	if s.prepared == nil {
		out, err := s.message.Bytes(c.Stamp, c.Certs, c.OCSPs, c.CRLs)
		if err != nil {
			return nil, nil, err
		}
		h := s.hash.Hash.New()
		_, _ = h.Write(s.document)
		return out, &talk.Done{CMS: out, Digest: h.Sum(nil), Bytes: int64(len(out)), Whole: true, Certs: len(c.Certs), OCSPs: len(c.OCSPs), CRLs: len(c.CRLs), SigningTime: s.q.At}, nil
	}
	signature, err := s.message.Bytes(c.Stamp, c.Certs, nil, nil)
	if err != nil {
		return nil, nil, err
	}
	out, err := s.prepared.Complete(signature)
	if err != nil {
		return nil, nil, because(check.TooLarge, "%v", err)
	}
	end := int64(len(out))
	s.prepared = &pdf.Prepared{} // which out was
	if len(c.OCSPs)+len(c.CRLs) > 0 {
		d, err := pdf.Open(out)
		if err == nil {
			out, err = d.Secure(c.Certs, c.OCSPs, c.CRLs)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("the security store: %w", err)
		}
	}
	found, err := s.readBack(out, end)
	return out, found, err
}

// readBack reads the finished document as a stranger would, from its end.
func (s *signing) readBack(out []byte, end int64) (*talk.Done, error) {
	d, err := pdf.Open(out)
	if err != nil {
		return nil, because(check.SignatureInvalid, "the signed document cannot be read back: %v", err)
	}
	f, err := d.Find()
	if err != nil {
		return nil, because(check.SignatureInvalid, "the signed document cannot be read back: %v", err)
	}
	h := s.hash.Hash.New()
	f.Hash(h)
	return &talk.Done{
		CMS: f.CMS, Digest: h.Sum(nil), Bytes: int64(len(out)), Whole: f.Gap && f.End == end,
		Certs: len(f.Certs), OCSPs: len(f.OCSPs), CRLs: len(f.CRLs), SigningTime: f.Signed,
	}, nil
}
