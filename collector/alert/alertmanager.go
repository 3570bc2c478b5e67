package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// An AlertmanagerConfig hands every incident to Alertmanagers by their API, version 2. Whom they tell is theirs to know.
type AlertmanagerConfig struct {
	// URLs of the members of one cluster, e.g. http://127.0.0.1:9093; each is told.
	URLs []string `yaml:"urls"`
	// User and PasswordFile are for basic authentication.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	// CAFile holds PEM certificates to trust instead of the system's.
	CAFile string `yaml:"ca_file"`
}

// amLife is how long an alert that is open stays so at an Alertmanager that hears nothing more: incidents have one
// message for their beginning and one for their end.
const amLife = 30 * 24 * time.Hour

type alertmanager struct {
	config AlertmanagerConfig
	client *http.Client
	now    func() time.Time
}

func newAlertmanager(c AlertmanagerConfig, now func() time.Time) (*alertmanager, error) {
	if len(c.URLs) == 0 {
		return nil, fmt.Errorf("alert: alertmanager: urls: name one, e.g. http://127.0.0.1:9093")
	}
	for _, s := range c.URLs {
		if u, err := url.Parse(s); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, fmt.Errorf("alert: alertmanager: urls: %q is no URL: write it as http://host:9093", s)
		}
	}
	if (c.User == "") != (c.PasswordFile == "") {
		return nil, fmt.Errorf("alert: alertmanager: user and password_file belong together")
	}
	if c.PasswordFile != "" {
		if _, err := readSecret(c.PasswordFile); err != nil {
			return nil, fmt.Errorf("alert: alertmanager: password_file: %w", err)
		}
	}
	roots, err := rootsOf(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("alert: alertmanager: %w", err)
	}
	return &alertmanager{c, newClient(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}), now}, nil
}

// An amAlert is one alert of the API.
type amAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// send tells one Alertmanager of what a message holds.
func (a *alertmanager) send(ctx context.Context, to string, c Content) error {
	alerts := []amAlert{}
	for _, i := range c.Items {
		if strings.HasPrefix(i.Event, Escalated) {
			continue
		}
		x := amAlert{StartsAt: i.Since, EndsAt: a.now().Add(amLife),
			Labels:      map[string]string{"alertname": "EgovmonIncident", "incident": i.Incident, "kind": i.Kind, "severity": i.Severity, "reason": i.Reason},
			Annotations: map[string]string{"summary": i.Text.Title, "description": i.Text.Cause, "impact": i.Text.Impact, "action": i.Text.Action, "summary_en": i.English.Title}}
		for k, v := range map[string]string{"service": i.Service, "unit": i.Unit} {
			if v != "" {
				x.Labels[k] = v
			}
		}
		if !i.Closed.IsZero() {
			x.EndsAt = i.Closed
		}
		alerts = append(alerts, x)
	}
	body, err := json.Marshal(alerts)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(to, "/")+"/api/v2/alerts", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if a.config.User != "" {
		password, err := readSecret(a.config.PasswordFile)
		if err != nil {
			return err
		}
		req.SetBasicAuth(a.config.User, string(password))
	}
	_, err = taken(a.client, req, "alertmanager", TakenConfig{})
	return err
}
