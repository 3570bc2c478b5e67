package control

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

const (
	maxUPS     = 16 // whose state is asked for
	nutTimeout = 5 * time.Second
)

// nut asks a server of Network UPS Tools for the state of each UPS that it watches, by its TCP protocol (RFC 9271), and
// only reads.
func (n network) nut(ctx context.Context, address string, v *upkeep) error {
	ctx, cancel := context.WithTimeout(ctx, nutTimeout)
	defer cancel()
	conn, err := n.dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	in := bufio.NewScanner(conn) // of lines of at most 64 KiB
	ask := func(command string) (string, error) {
		if _, err := io.WriteString(conn, command+"\n"); err != nil {
			return "", err
		}
		return nutLine(in)
	}
	line, err := ask("LIST UPS")
	if err == nil && line != "BEGIN LIST UPS" {
		err = errNotNUT
	}
	var names []string
	for err == nil {
		if line, err = nutLine(in); err != nil || line == "END LIST UPS" {
			break
		}
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "UPS" || len(names) == maxUPS {
			return errNotNUT
		}
		names = append(names, words[1])
	}
	for _, name := range names {
		if err != nil {
			return err
		}
		if line, err = ask("GET VAR " + name + " ups.status"); err != nil {
			return err
		}
		status, ok := strings.CutPrefix(line, "VAR "+name+" ups.status ")
		if !ok {
			return errNotNUT
		}
		v.ups++
		// OL on line, OB on battery, LB battery low: a status is a list of such words.
		for w := range strings.FieldsSeq(strings.Trim(status, `"`)) {
			v.battery = v.battery || w == "OB"
			v.low = v.low || w == "LB"
		}
	}
	return err
}

var errNotNUT = fmt.Errorf("what answers is no upsd, or lists more than %d UPS", maxUPS)

// nutLine reads one line of an answer. An error that the server names is one; that it lets nobody in is fs.ErrPermission.
func nutLine(in *bufio.Scanner) (string, error) {
	if !in.Scan() {
		if in.Err() != nil {
			return "", in.Err()
		}
		return "", io.ErrUnexpectedEOF
	}
	line := in.Text()
	if code, bad := strings.CutPrefix(line, "ERR "); bad {
		code, _, _ = strings.Cut(code, " ")
		if code == "ACCESS-DENIED" {
			return "", fmt.Errorf("%s: %w", code, fs.ErrPermission)
		}
		return "", fmt.Errorf("it says %.40q", code)
	}
	return line, nil
}
