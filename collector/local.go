package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
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
	resp, done, err := ask(ctx, dir, method, path, in)
	if err != nil {
		return err
	}
	defer done()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxLocal))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, out)
}

// streamTo is call for an answer that is a file.
func streamTo(ctx context.Context, dir, path string, w io.Writer) error {
	resp, done, err := ask(ctx, dir, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer done()
	_, err = io.Copy(w, resp.Body)
	return err
}

// ask sends a request to the collector that runs on the state folder; done ends its use.
func ask(ctx context.Context, dir, method, path string, in any) (resp *http.Response, done func(), err error) {
	b, err := os.ReadFile(filepath.Join(dir, runFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, errNotRunning
	}
	if err != nil {
		return nil, nil, err
	}
	var r running
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", filepath.Join(dir, runFile), err)
	}
	token, err := os.ReadFile(filepath.Join(dir, tokenFile))
	if err != nil {
		return nil, nil, fmt.Errorf("the token for local use: %w", err)
	}
	var body io.Reader
	if in != nil {
		j, err := json.Marshal(in)
		if err != nil {
			return nil, nil, err
		}
		body = bytes.NewReader(j)
	}
	ctx, cancel := context.WithTimeout(ctx, maxAnswer)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	secret, client := strings.TrimSpace(string(token)), localClient()
	if err := prove(ctx, client, r.Board, secret); err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, r.Board+path, body)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if resp, err = client.Do(req); err != nil {
		return nil, nil, fmt.Errorf("%w (%v)", errNotRunning, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
		return nil, nil, fmt.Errorf("the collector answers %s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return resp, func() { _ = resp.Body.Close(); cancel() }, nil
}

// maxAnswer bounds how long a subcommand waits: an export of a year takes minutes.
const maxAnswer = 30 * time.Minute

// pathProve answers who knows the local token, without a token: see prove.
const pathProve = "/api/local/prove"

// prove makes sure that the collector of this state folder answers at base, before it is sent the token: after a kill,
// another program may have taken its port.
func prove(ctx context.Context, client *http.Client, base, token string) error {
	nonce := rand.Text()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+pathProve+"?nonce="+nonce, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%w (%v)", errNotRunning, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil || !hmac.Equal(got, proof(token, nonce)) {
		return fmt.Errorf("%w (another program answers at %s)", errNotRunning, base)
	}
	return nil
}

// proof is what only the holder of the token can answer to a nonce: HMAC-SHA-256, in hex.
func proof(token, nonce string) []byte {
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte("egovmon-local/1 " + nonce))
	return []byte(hex.EncodeToString(m.Sum(nil)))
}

// answerProof answers prove.
func answerProof(token string, w http.ResponseWriter, r *http.Request) {
	if nonce := r.URL.Query().Get("nonce"); len(nonce) >= 16 && len(nonce) <= 64 {
		_, _ = w.Write(proof(token, nonce))
		return
	}
	http.Error(w, "a nonce of 16 to 64 letters is needed", http.StatusBadRequest)
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
