package mail

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strconv"
	"strings"
	"time"
)

// Bounds of a letter that is read.
const (
	letterRoom = 64 << 10 // bytes that a letter may have beside its attachment: what servers on the way put in
	maxHeaders = 500      // lines of a header that are looked at
	maxParts   = 16       // parts of a letter
	maxNested  = 4        // parts within parts
)

// letterSize is how much of a letter with such an attachment is fetched.
func letterSize(attachment int) int { return letterRoom + 2*attachment }

// compose writes a letter. Its lines end in CR LF, are shorter than 998 bytes (RFC 5322, section 2.1.1) and never begin
// with a dot.
func compose(t token, key, attachment []byte, to []string) []byte {
	boundary := fmt.Sprintf("egovmon-%d", t.serial)
	_, domain, _ := strings.Cut(t.from, "@")
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: <%s>", t.from)
	line("To: <%s>", strings.Join(to, ">,\r\n <"))
	line("Date: %s", t.sent.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	line("Subject: egovmon-loop/1 %d", t.serial)
	line("Message-ID: <%d.%d@%s>", t.serial, t.sent.UnixMilli(), domain)
	line("%s: %s", tokenHeader, strings.ReplaceAll(t.text(key), "; ", ";\r\n "))
	line("Auto-Submitted: auto-generated") // RFC 3834: nobody's absence is answered
	line("MIME-Version: 1.0")
	line("Content-Type: multipart/mixed; boundary=%q\r\n", boundary)
	line("--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\negovmon-loop/1 %d\r\n", boundary, t.serial)
	line("--%s\r\nContent-Type: application/octet-stream", boundary)
	line("Content-Disposition: attachment; filename=%q\r\nContent-Transfer-Encoding: base64\r\n", attachmentName(t.serial))
	text := base64.StdEncoding.EncodeToString(attachment)
	for len(text) > 0 {
		n := min(76, len(text))
		line("%s", text[:n])
		text = text[n:]
	}
	line("--%s--", boundary)
	return b.Bytes()
}

func attachmentName(serial uint64) string {
	return "egovmon-" + strconv.FormatUint(serial, 10) + ".dat"
}

// A header is one line of a letter's head, unfolded.
type header struct {
	name  string // in small letters
	value string
}

// parseHead takes a letter apart into its headers, in their order, and its body. It passes over lines that are none:
// what a server on the way wrote badly is not the letter's fault.
func parseHead(letter []byte) (headers []header, body []byte) {
	rest := letter
	for len(rest) > 0 {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		rest = after
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			return headers, rest
		}
		if line[0] == ' ' || line[0] == '\t' {
			if n := len(headers); n > 0 {
				headers[n-1].value += " " + strings.TrimSpace(string(line))
			}
			continue
		}
		name, value, ok := strings.Cut(string(line), ":")
		if ok && len(headers) < maxHeaders {
			headers = append(headers, header{strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)})
		}
	}
	return headers, nil
}

// values lists what the headers of a name say, first to last.
func values(headers []header, name string) []string {
	var all []string
	for _, h := range headers {
		if h.name == name {
			all = append(all, h.value)
		}
	}
	return all
}

func first(headers []header, name string) string {
	if all := values(headers, name); len(all) > 0 {
		return all[0]
	}
	return ""
}

// A letter is one of the loop as it was found.
type letter struct {
	token
	altered string    // why it is not what was sent; "" for the same
	placed  time.Time // when the server put it into the mailbox, by its own clock; the zero Time when it did not tell
	found   time.Time // by our clock
	stamps  []time.Time
	hops    int // Received headers; stamps has fewer where a date cannot be read
	results authResults
}

// readLetter reads a letter of the loop; the error is for one that is not.
func readLetter(text []byte, whole bool, holds genuine, authserv string) (letter, error) {
	headers, body := parseHead(text)
	t, err := parseToken(first(headers, strings.ToLower(tokenHeader)), holds)
	if err != nil {
		return letter{}, err
	}
	l := letter{token: t, results: readAuthResults(values(receiversHead(headers, authserv), "authentication-results"), authserv)}
	received := values(headers, "received")
	l.hops = len(received)
	l.stamps = receivedStamps(received)
	if !whole {
		l.altered = "it has grown to more than can be read"
		return l, nil
	}
	parts := maxParts
	sum, err := attachmentSum(first(headers, "content-type"), body, attachmentName(t.serial), 0, &parts)
	switch {
	case err != nil:
		l.altered = err.Error()
	case sum != t.sum:
		l.altered = "its attachment is another"
	}
	return l, nil
}

var errNoAttachment = errors.New("its attachment is gone")

// attachmentSum looks through the parts of a letter, and parts of parts, for the attachment of this name. What it reads
// is in memory already, and it unpacks nothing but base64.
func attachmentSum(contentType string, body []byte, name string, depth int, parts *int) (sum [sha256.Size]byte, err error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasPrefix(media, "multipart/") || depth == maxNested {
		return sum, errNoAttachment
	}
	r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for ; *parts > 0; *parts-- {
		p, err := r.NextPart()
		if err != nil {
			return sum, errNoAttachment
		}
		text, err := io.ReadAll(p)
		if err != nil {
			return sum, errNoAttachment
		}
		if p.FileName() == name {
			return attachmentHash(text, p.Header.Get("Content-Transfer-Encoding"))
		}
		if sum, err = attachmentSum(p.Header.Get("Content-Type"), text, name, depth+1, parts); err == nil {
			return sum, nil
		}
	}
	return sum, errNoAttachment
}

// attachmentHash is the hash of an attachment's content.
func attachmentHash(text []byte, encoding string) (sum [sha256.Size]byte, err error) {
	if strings.EqualFold(strings.TrimSpace(encoding), "base64") {
		text, err = io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(text)))
		if err != nil {
			return sum, errors.New("its attachment is no base64")
		}
	}
	return sha256.Sum256(text), nil
}
