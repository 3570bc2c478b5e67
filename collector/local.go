package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Files beside the state by which subcommands find the collector that runs.
const (
	runFile   = "running.json"
	tokenFile = "local.token"
)

// maxLocal bounds what a subcommand reads of an answer: the figures of a year for a whole province.
const maxLocal = 256 << 20

// running says where the collector of a state folder answers.
type running struct {
	Board string `json:"board"` // base URL
}

// errNotRunning says that no collector works on the state folder.
var errNotRunning = errors.New("no collector is running on this state folder")

// call asks the collector that runs on the state folder. The error wraps errNotRunning if there is none.
func call(ctx context.Context, dir, method, path string, in, out any) error {
	b, err := os.ReadFile(filepath.Join(dir, runFile))
	if errors.Is(err, fs.ErrNotExist) {
		return errNotRunning
	}
	if err != nil {
		return err
	}
	var r running
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, runFile), err)
	}
	token, err := os.ReadFile(filepath.Join(dir, tokenFile))
	if err != nil {
		return fmt.Errorf("the token for local use: %w", err)
	}
	var body io.Reader
	if in != nil {
		j, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(j)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.Board+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := localClient().Do(req)
	if err != nil {
		return fmt.Errorf("%w (%v)", errNotRunning, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxLocal))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the collector answers %s: %s", resp.Status, strings.TrimSpace(string(text[:min(len(text), 2000)])))
	}
	return json.Unmarshal(text, out)
}

// localClient trusts whatever certificate the board shows: it is this machine's own, found by a file that only its
// owner can write.
func localClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.TLSClientConfig = insecureLoopback()
	return &http.Client{Transport: t}
}

func insecureLoopback() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
