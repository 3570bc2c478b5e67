package alert

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf16"

	"go.bug.st/serial"
	"golang.org/x/text/unicode/norm"
)

// A ModemConfig is a GSM modem at a serial port: the way that needs neither the Internet nor the office's mail.
type ModemConfig struct {
	// Port is the serial port, e.g. /dev/ttyUSB0 or COM3.
	Port string `yaml:"port"`
	// Baud is its speed. Default 115200.
	Baud int `yaml:"baud"`
	// PINFile holds the PIN of the SIM card. It is given to the card once: one that is wrong would lock the card.
	PINFile string `yaml:"pin_file"`
	// Depends lists the services without which it does not work. Default none.
	Depends []string `yaml:"depends"`
}

const (
	modemStep    = 10 * time.Second // one command
	modemSubmit  = 60 * time.Second // the network takes a message
	maxModemLine = 512
	maxModemSaid = 16 << 10 // bytes in answer to one command
	maxParts     = 3
	partUnits    = 67 // units of UTF-16 in one part of several; 70 when there is one
	wholeUnits   = 70
)

// A modem sends one message at a time.
type modem struct {
	config ModemConfig
	open   func() (io.ReadWriteCloser, error)

	mu     sync.Mutex
	badPIN bool // the card refused it
	ref    byte // of the last message in several parts
}

func newModem(c ModemConfig) (*modem, error) {
	if c.Port == "" {
		return nil, errors.New("alert: modem: port: name the serial port, e.g. /dev/ttyUSB0 or COM3")
	}
	if c.Baud == 0 {
		c.Baud = 115200
	}
	if c.Baud < 1200 || c.Baud > 4_000_000 {
		return nil, fmt.Errorf("alert: modem: baud: %d is none", c.Baud)
	}
	if c.PINFile != "" {
		if _, err := readSecret(c.PINFile); err != nil {
			return nil, fmt.Errorf("alert: modem: pin_file: %w", err)
		}
	}
	m := &modem{config: c}
	m.open = func() (io.ReadWriteCloser, error) {
		p, err := serial.Open(c.Port, &serial.Mode{BaudRate: c.Baud})
		if err != nil {
			return nil, err
		}
		return p, p.SetReadTimeout(200 * time.Millisecond)
	}
	return m, nil
}

// send returns nil once the network has taken every part.
func (m *modem) send(ctx context.Context, to string, c Content) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.badPIN {
		return errors.New("modem: the SIM card has refused the PIN; it is not tried again before the collector starts again with another pin_file")
	}
	port, err := m.open()
	if err != nil {
		return fmt.Errorf("modem: %s: %w: is it plugged in, and may the collector's user open it (group dialout)?", m.config.Port, err)
	}
	l := newATLine(port)
	defer func() {
		if e := port.Close(); err == nil && e != nil {
			err = fmt.Errorf("modem: %w", e)
		}
		<-l.done
	}()
	if err := m.ready(ctx, l); err != nil {
		return fmt.Errorf("modem: %w", err)
	}
	m.ref++
	for _, pdu := range submits(phone84(to), c.Short, m.ref) {
		if err := l.submit(ctx, pdu); err != nil {
			return fmt.Errorf("modem: %w", err)
		}
	}
	return nil
}

// ready wakes the modem, opens the card and waits for the network.
func (m *modem) ready(ctx context.Context, l *atLine) error {
	l.write("\x1b\r")                                      // leaves a message that was cut off
	if _, err := l.ask(ctx, "AT", modemStep); err != nil { // an answer to that, perhaps
		if _, err := l.ask(ctx, "AT", modemStep); err != nil {
			return err
		}
	}
	for _, cmd := range []string{"ATE0", "AT+CMEE=1"} {
		if _, err := l.ask(ctx, cmd, modemStep); err != nil {
			return err
		}
	}
	pin, err := l.ask(ctx, "AT+CPIN?", modemStep)
	if err != nil {
		return fmt.Errorf("no SIM card: %w", err)
	}
	if strings.Contains(pin, "SIM PIN") {
		if m.config.PINFile == "" {
			return errors.New("the SIM card wants a PIN: set pin_file, or take the PIN off the card")
		}
		secret, err := readSecret(m.config.PINFile)
		if err != nil {
			return err
		}
		if strings.Trim(string(secret), "0123456789") != "" || len(secret) > 8 {
			return errors.New("pin_file holds no PIN of digits")
		}
		if _, err := l.ask(ctx, "AT+CPIN="+string(secret), modemStep); err != nil {
			m.badPIN = true
			return fmt.Errorf("the SIM card refuses the PIN: %w", err)
		}
	} else if !strings.Contains(pin, "READY") {
		return fmt.Errorf("the SIM card is locked: it answers %q", clip(pin, 60))
	}
	reg, err := l.ask(ctx, "AT+CREG?", modemStep)
	if err != nil {
		return err
	}
	if _, state, ok := strings.Cut(reg, ","); !ok || !strings.HasPrefix(state, "1") && !strings.HasPrefix(state, "5") {
		return fmt.Errorf("no mobile network: it answers %q", clip(reg, 60))
	}
	_, err = l.ask(ctx, "AT+CMGF=0", modemStep)
	return err
}

// submits are the PDUs of a message: SMS-SUBMIT of 3GPP TS 23.040, section 9.2.2.2, in UCS-2, in at most maxParts parts
// that a telephone puts together (section 9.2.3.24.1).
func submits(phone, text string, ref byte) [][]byte {
	units := utf16.Encode([]rune(norm.NFC.String(text)))
	size := wholeUnits
	if len(units) > wholeUnits {
		size = partUnits
	}
	var parts [][]uint16
	for len(parts) < maxParts {
		n := min(len(units), size)
		if n > 0 && n < len(units) && units[n-1]&0xfc00 == 0xd800 {
			n-- // the two halves of one character stay together
		}
		parts, units = append(parts, units[:n]), units[n:]
		if len(units) == 0 {
			break
		}
	}
	var out [][]byte
	for i, p := range parts {
		var b bytes.Buffer
		first := byte(0x01) // SMS-SUBMIT
		if len(parts) > 1 {
			first |= 0x40 // with a header
		}
		b.Write([]byte{0x00, first, 0x00, byte(len(phone)), 0x91}) // the card's own service centre; no reference; international
		b.Write(semiOctets(phone))
		b.Write([]byte{0x00, 0x08}) // no higher protocol; UCS-2
		var data []byte
		if len(parts) > 1 {
			data = []byte{0x05, 0x00, 0x03, ref, byte(len(parts)), byte(i + 1)}
		}
		for _, u := range p {
			data = append(data, byte(u>>8), byte(u))
		}
		b.WriteByte(byte(len(data)))
		b.Write(data)
		out = append(out, b.Bytes())
	}
	return out
}

// semiOctets writes digits as 3GPP TS 23.040, section 9.1.2.3, has them: two in a byte, the first one low.
func semiOctets(s string) []byte {
	if len(s)%2 == 1 {
		s += "\x3f" // the low half is 0xf
	}
	var out []byte
	for i := 0; i < len(s); i += 2 {
		out = append(out, s[i]&0xf|s[i+1]<<4)
	}
	return out
}

// An atLine speaks AT commands (3GPP TS 27.007, 27.005) over a port.
type atLine struct {
	port  io.ReadWriteCloser
	lines chan string
	done  chan struct{} // closed when nothing is read any more
	err   error         // set before lines is closed
}

func newATLine(p io.ReadWriteCloser) *atLine {
	l := &atLine{port: p, lines: make(chan string, 64), done: make(chan struct{})}
	go l.read()
	return l
}

// read takes lines apart until the port is closed. A prompt for a message counts as a line.
func (l *atLine) read() {
	defer close(l.done)
	defer close(l.lines)
	var line []byte
	buf := make([]byte, 256)
	give := func() bool {
		s := strings.TrimSpace(string(line))
		line = line[:0]
		if s == "" {
			return true
		}
		select {
		case l.lines <- s:
			return true
		default:
			l.err = fmt.Errorf("it says more than was asked for")
			return false
		}
	}
	for {
		n, err := l.port.Read(buf)
		for _, c := range buf[:n] {
			if c != '\n' && c != '\r' {
				line = append(line, c)
			}
			if (c == '\n' || c == '\r' || len(line) > maxModemLine || string(line) == "> ") && !give() {
				return
			}
		}
		if err != nil {
			l.err = err
			return
		}
	}
}

func (l *atLine) write(s string) {
	_, _ = l.port.Write([]byte(s)) // an answer that never comes tells
}

// ask sends a command and returns what it answers before OK.
func (l *atLine) ask(ctx context.Context, cmd string, within time.Duration) (string, error) {
	l.write(cmd + "\r")
	name, _, _ := strings.Cut(cmd, "=")
	return l.await(ctx, name, within, "OK")
}

// submit hands over one PDU.
func (l *atLine) submit(ctx context.Context, pdu []byte) error {
	l.write(fmt.Sprintf("AT+CMGS=%d\r", len(pdu)-1)) // without the service centre's own byte
	if _, err := l.await(ctx, "AT+CMGS", modemStep, ">"); err != nil {
		return err
	}
	l.write(strings.ToUpper(hex.EncodeToString(pdu)) + "\x1a")
	said, err := l.await(ctx, "AT+CMGS", modemSubmit, "OK")
	if err == nil && !strings.Contains(said, "+CMGS:") {
		err = errors.New("AT+CMGS: OK without a reference: the network has not taken the message")
	}
	return err
}

// await collects lines until the one that ends an answer.
func (l *atLine) await(ctx context.Context, what string, within time.Duration, end string) (string, error) {
	t := time.NewTimer(within)
	defer t.Stop()
	var said strings.Builder
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-t.C:
			return "", fmt.Errorf("%s: no answer within %v", what, within)
		case s, ok := <-l.lines:
			switch {
			case !ok:
				return "", fmt.Errorf("%s: %w", what, l.err)
			case s == end:
				return said.String(), nil
			case s == "ERROR", strings.HasPrefix(s, "+CME ERROR"), strings.HasPrefix(s, "+CMS ERROR"):
				return "", fmt.Errorf("%s: %s", what, clip(s, 80))
			case said.Len() > maxModemSaid:
				return "", fmt.Errorf("%s: more than %d bytes of answer", what, maxModemSaid)
			}
			said.WriteString(s + "\n")
		}
	}
}
