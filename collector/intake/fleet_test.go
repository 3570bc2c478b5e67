package intake

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"egovmon/agent/host"
	"egovmon/agent/push"
	"egovmon/agent/wire"
)

// What the two processes of TestReturningFleet tell each other, in one folder.
const (
	fleetFolder = "EGOVMON_TEST_FLEET" // names the folder to the process that is the fleet
	sentFile    = "sent"               // the requests, one after the other
	rollFile    = "roll"               // a returner each
	orderFile   = "order.json"
	reportFile  = "report.json"
)

// A returner is one machine: who it is, and where its request stands in sentFile.
type returner struct {
	Machine     string
	Certificate []byte
	Key         []byte
	Offset      int64
	Size        int
}

// A fleetOrder says where the collector is.
type fleetOrder struct {
	URL    string
	CA     []byte
	Now    time.Time     // by which certificates are judged
	Spread time.Duration // the first tries lie within
	Second time.Duration // what a second of Retry-After takes
}

// A fleetReport says how the machines fared.
type fleetReport struct {
	Drained         time.Duration  // from the first try until all are acknowledged
	Longest, Median time.Duration  // from a machine's first try to its acknowledgement
	Refused         map[string]int // by what was said
	Failed          []string       // the first few machines that gave up, and why
}

// TestFleetProcess is the process that TestReturningFleet starts.
func TestFleetProcess(t *testing.T) {
	dir := os.Getenv(fleetFolder)
	if dir == "" {
		t.Skip("it is started by TestReturningFleet")
	}
	var o fleetOrder
	data, err := os.ReadFile(filepath.Join(dir, orderFile))
	if err == nil {
		err = json.Unmarshal(data, &o)
	}
	if err != nil {
		t.Fatal(err)
	}
	rep, err := o.returns(t.Context(), dir)
	if err == nil {
		data, err = json.Marshal(rep)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, reportFile), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// returns lets all machines of the folder come back.
func (o fleetOrder) returns(ctx context.Context, dir string) (rep fleetReport, err error) {
	rep.Refused = map[string]int{}
	sent, err := os.Open(filepath.Join(dir, sentFile))
	if err != nil {
		return rep, err
	}
	defer sent.Close()
	roll, err := os.Open(filepath.Join(dir, rollFile))
	if err != nil {
		return rep, err
	}
	defer roll.Close()
	ca, err := x509.ParseCertificate(o.CA)
	if err != nil {
		return rep, err
	}
	var waits []time.Duration
	var mu sync.Mutex
	var wg sync.WaitGroup
	defer wg.Wait()
	start := time.Now()
	for dec := gob.NewDecoder(roll); ; {
		var m returner
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return rep, err
		}
		key, err := x509.ParsePKCS8PrivateKey(m.Key)
		if err != nil {
			return rep, err
		}
		id := host.Identity{CA: ca, TLS: tls.Certificate{Certificate: [][]byte{m.Certificate}, PrivateKey: key}}
		wg.Go(func() {
			first := time.Duration(0)
			if o.Spread > 0 {
				first = rand.N(o.Spread)
			}
			time.Sleep(first - time.Since(start))
			began := time.Now()
			tr := push.NewTransport(id.TLSConfig(func() time.Time { return o.Now }), nil)
			defer tr.CloseIdleConnections()
			err := o.send(ctx, &http.Client{Transport: tr, Timeout: wire.TimeoutOfCall}, io.NewSectionReader(sent, m.Offset, int64(m.Size)), func(why string) {
				mu.Lock()
				rep.Refused[why]++
				mu.Unlock()
			})
			mu.Lock()
			waits = append(waits, time.Since(began))
			if err != nil && len(rep.Failed) < 5 {
				rep.Failed = append(rep.Failed, fmt.Sprintf("%s: %v", m.Machine, err))
			}
			mu.Unlock()
		})
	}
	wg.Wait()
	rep.Drained = time.Since(start)
	slices.Sort(waits)
	rep.Longest, rep.Median = waits[len(waits)-1], waits[len(waits)/2]
	return rep, nil
}

// send makes the request until it is acknowledged, as an agent does: after a refusal it waits for as long as it was told
// to, and when there was no answer for longer each time.
func (o fleetOrder) send(ctx context.Context, client *http.Client, request *io.SectionReader, refused func(string)) error {
	for try := 0; ; {
		body := make([]byte, request.Size())
		if _, err := request.ReadAt(body, 0); err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.URL+wire.PathBatches, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", wire.TypeBatches)
		req.Header.Set("Expect", "100-continue") // as package push does with so much
		res, err := client.Do(req)
		if err != nil {
			if try++; try > 10 || ctx.Err() != nil {
				return err
			}
			refused("no answer: " + errors.Unwrap(err).Error())
			time.Sleep(rand.N(o.Second << try))
			continue
		}
		data, err := io.ReadAll(res.Body)
		res.Body.Close()
		switch {
		case err != nil:
			return err
		case res.StatusCode == http.StatusOK:
			return nil
		case res.StatusCode != http.StatusTooManyRequests:
			return fmt.Errorf("%s: %.200s", res.Status, data)
		}
		a, err := wire.DecodeAnswer(bytes.NewReader(data))
		if err != nil {
			return err
		}
		refused(a.Error)
		after, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if err != nil || after < 1 {
			return fmt.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
		}
		time.Sleep(time.Duration(after) * o.Second)
	}
}
