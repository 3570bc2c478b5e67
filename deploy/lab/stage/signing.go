//go:build linux

package stage

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"egovmon/agent/token/talk"
	"egovmon/deploy/lab/district"
	"egovmon/deploy/lab/servers"
	"egovmon/deploy/lab/town"
)

// The token with which each machine signs to see whether it can, and who asks for signatures by mobile phone.
const (
	trialToken = "giam-sat"
	mobileAP   = "giamsat"
)

// mobileWait is how long a call takes while the service of signatures by mobile phone is slow: longer than it may take, and
// shorter than a check waits.
const mobileWait = district.MobileSlow + time.Second

// openTrial gives each machine a token with a key of its own, made for this. Programs without the one that speaks to
// tokens sign nothing.
func (s *Stage) openTrial(a *actors) error {
	if _, err := os.Stat(filepath.Join(s.cfg.Bin, talk.Name())); err != nil {
		for _, name := range []string{"token-gone", "token-pin-wrong", "sign-cert-expired", "sign-cert-revoked"} {
			s.missing[name] = fmt.Sprintf("the folder %s holds no %s", s.cfg.Bin, talk.Name())
		}
		return nil
	}
	s.ends.Trial = district.Trial{Token: trialToken, Certificates: map[string]string{}}
	var g errgroup.Group
	for _, u := range s.units {
		p, err := s.place(town.District, "token-"+u.ID, s.town.CollectorAddr())
		if err != nil {
			return err
		}
		if u.signer, err = a.pki.G2.Officer("ky-thu-"+u.ID, "Khóa giám sát "+u.VI); err != nil {
			return err
		}
		s.ends.Trial.Certificates[u.ID] = u.signer.CertFile
		g.Go(func() (err error) {
			u.token, err = servers.NewToken(s.ctx, p, servers.TokenConfig{Label: trialToken, PIN: probePassword, Owner: u.signer})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	s.ends.Trial.Module = s.units[0].token.Module
	return nil
}

// openMobile starts the service of signatures by mobile phone, which knows each machine by a certificate.
func (s *Stage) openMobile(a *actors) error {
	p, err := s.place(town.National, "mobile", s.town.NationalAddr(mobileAt))
	if err != nil {
		return err
	}
	id, err := a.pki.Server([]string{"mpki." + zoneNational}, p.IP)
	if err != nil {
		return err
	}
	if a.mobile, err = servers.StartMobilePKI(s.ctx, p, servers.MobilePKIConfig{PKI: a.pki, Server: id, AP: mobileAP, Pass: probePassword}); err != nil {
		return err
	}
	s.stops = append(s.stops, a.mobile.Stop)
	s.ends.Mobile = district.Mobile{URL: a.mobile.URL(p.IP.String()), AP: mobileAP, Certificates: map[string]string{}, Keys: map[string]string{}}
	for _, u := range s.units {
		if u.client, err = a.pki.G2.Issue("di-dong-"+u.ID, &x509.Certificate{Subject: pkix.Name{CommonName: "giam sat " + u.ID}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			return err
		}
		s.ends.Mobile.Certificates[u.ID], s.ends.Mobile.Keys[u.ID] = u.client.CertFile, u.client.KeyFile
	}
	return nil
}

// givePIN gives the machine a wrong PIN, or the right one again: then somebody logs in once, without which no check tries a PIN.
func (u *unit) givePIN(ctx context.Context, wrong bool) error {
	file := filepath.Join(u.secrets(), district.PINSecret)
	if wrong {
		return os.WriteFile(file, []byte("PIN cũ\n"), 0o600)
	}
	return errors.Join(u.token.LogIn(ctx), os.WriteFile(file, []byte(probePassword+"\n"), 0o600))
}

// signingHands lays the hands on what signs, and on the service of signatures by mobile phone.
func (s *Stage) signingHands(a *actors) {
	of := func(do func(u *unit, on bool) error) hand {
		return func(_ context.Context, u *unit, on bool) error { return do(u, on) }
	}
	if s.ends.Trial.Module != "" {
		s.hands["token-gone"] = of(func(u *unit, on bool) error { return u.token.Unplug(on) })
		s.hands["token-pin-wrong"] = func(ctx context.Context, u *unit, on bool) error { return u.givePIN(ctx, on) }
		s.hands["sign-cert-expired"] = of(func(u *unit, on bool) error { return a.pki.G2.Expire(u.signer, on) })
		s.hands["sign-cert-revoked"] = of(func(u *unit, on bool) error { return a.revocation.Revoked(a.pki.G2, u.signer.Cert.SerialNumber, on) })
	}
	s.hands["mpki-down"] = everywhere(a.mobile.Dead)
	s.hands["mpki-maintenance"] = everywhere(a.mobile.Maintenance)
	s.hands["mpki-refused"] = of(func(u *unit, on bool) error { return a.mobile.Refuse(u.client.Cert, on) })
	s.hands["mpki-slow"] = everywhere(func(on bool) error {
		if on {
			return a.mobile.Slow(mobileWait)
		}
		return a.mobile.Slow(0)
	})
}
