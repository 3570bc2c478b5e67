package enrol

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

// Vouched says what is wrong with a leaf that gives a machine a key for its journal or for cosigning without a token: such a
// key is a successor, and it and its predecessor have signed the statement that names it. m is the machine as the log has
// it before the leaf. A key that came with a token was given by a person, and nothing here vouches for it.
func Vouched(m Machine, e evidence.Stored) error {
	l := e.Leaf
	use, before := Use(l.Field("use")), l.Field("predecessor")
	if l.Type() != evidence.AgentKey || use == TLS || l.Field("token") != "" || e.Blob == nil {
		return nil
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("leaf %d: agent-key: the %s key of %s: %s", e.Index, use, l.Field("machine"), fmt.Sprintf(format, args...))
	}
	at, err := time.Parse(time.RFC3339, l.Field("at"))
	if err != nil {
		return bad("%v", err)
	}
	if !slices.ContainsFunc(m.Keys, func(k Key) bool { return k.Use == use && k.Key == before && before != "" && k.good(at) }) {
		return bad("it came without a token, and the one that it says it follows is none of the machine's then")
	}
	statement, proof, old, ok := splitProof(e.Blob)
	key := noteKey(l.Field("key"))
	switch {
	case !ok || !bytes.HasPrefix(statement, []byte("egovmon-renew/1\nmachine "+l.Field("machine")+"\n")):
		return bad("it holds no statement of the machine")
	case !bytes.Contains(statement, wire.KeyLine(string(use), key)):
		return bad("the statement names another key")
	case !wire.Signed(key, statement, proof):
		return bad("it has not signed the statement itself")
	case !wire.Signed(noteKey(before), statement, old):
		return bad("the one before has not signed for it")
	}
	return nil
}

// splitProof takes apart what proofBlob wrote.
func splitProof(blob []byte) (statement, proof, old []byte, ok bool) {
	at := bytes.LastIndex(blob, []byte("\nproof "))
	if at < 0 {
		return nil, nil, nil, false
	}
	statement = blob[:at+1]
	first, rest, _ := bytes.Cut(blob[at+len("\nproof "):], []byte("\n"))
	second, ok := bytes.CutPrefix(rest, []byte("old "))
	var err, err2 error
	proof, err = hex.DecodeString(string(first))
	old, err2 = hex.DecodeString(string(bytes.TrimSuffix(second, []byte("\n"))))
	return statement, proof, old, ok && err == nil && err2 == nil
}
