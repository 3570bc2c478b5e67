package host

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
)

// sealedMagic begins a file that the machine's own key protects, so that a copy of it is of no use elsewhere. On
// Windows that is the data protection API with the machine's key (CryptProtectData, CRYPTPROTECT_LOCAL_MACHINE); other
// systems rely on the file's mode. The line is followed by the protected bytes in base64 and a newline.
const sealedMagic = "egovmon-sealed/1 dpapi\n"

// A sealer protects bytes with the machine's key. nil is a system that has none.
type sealer interface {
	seal(plain []byte) ([]byte, error)
	open(sealed []byte) ([]byte, error)
}

// sealWith returns the content of a file for data.
func sealWith(s sealer, data []byte) ([]byte, error) {
	if s == nil {
		return data, nil
	}
	sealed, err := s.seal(data)
	if err != nil {
		return nil, fmt.Errorf("protect with the machine's key: %w", err)
	}
	return append(base64.StdEncoding.AppendEncode([]byte(sealedMagic), sealed), '\n'), nil
}

// openWith returns what sealWith was given. plain says that the content was not protected: by another program, or a
// version before.
func openWith(s sealer, content []byte) (data []byte, plain bool, err error) {
	text, ok := bytes.CutPrefix(content, []byte(sealedMagic))
	if !ok {
		return content, true, nil
	}
	if s == nil {
		return nil, false, errors.New("it is protected with the key of a Windows machine, and cannot be read on another system")
	}
	sealed, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimRight(text, "\r\n"))
	if err != nil {
		return nil, false, fmt.Errorf("the protected content is damaged: %w", err)
	}
	if data, err = s.open(sealed); err != nil {
		return nil, false, fmt.Errorf("the machine's key does not open it: it was copied from another machine, or Windows was installed anew: %w", err)
	}
	return data, false, nil
}
