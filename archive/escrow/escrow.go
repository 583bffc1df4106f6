// Package escrow writes and reads sealed copies of a root key: enciphered to the X25519 recipients
// of age (filippo.io/age), never in clear.
//
// A sealed copy is
//
//	sae-escrow 1 LF
//	a line of JSON: Header
//	an age file of the SHA-256 of the two lines, and the 32 bytes of the root
//
// Who holds one can read when it was made, of which archive, and by when it is to be destroyed; a
// header that was changed is found when it is opened. It does not prove who made it: whether the
// root is right is for the archive's catalogue to say.
package escrow

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"
)

const magic = "sae-escrow 1\n"

// MaxSize bounds a sealed copy, in bytes.
const MaxSize = 1 << 20

const rootSize = 32

// Header is what stands in clear.
type Header struct {
	Archive    string    `json:"archive"`
	Made       time.Time `json:"made"`
	Ledger     int64     `json:"ledger"`     // size of the ledger with the entry of this copy
	DestroyBy  time.Time `json:"destroyBy"`  // after which no holder may have it any more
	Recipients []string  `json:"recipients"` // age recipients: public keys
}

// CheckRecipient says whether a recipient is one.
func CheckRecipient(s string) error {
	_, err := age.ParseX25519Recipient(s)
	if err != nil {
		return errors.New("want an age X25519 recipient, such as age1...; age-keygen makes one")
	}
	return nil
}

// Seal gives the sealed copy of a root.
func Seal(h Header, root [rootSize]byte) ([]byte, error) {
	line, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("sealing the root key: %w", err)
	}
	var recipients []age.Recipient
	for _, s := range h.Recipients {
		r, err := age.ParseX25519Recipient(s)
		if err != nil {
			return nil, fmt.Errorf("sealing the root key to %s: %w", s, err)
		}
		recipients = append(recipients, r)
	}
	out := bytes.NewBufferString(magic)
	out.Write(append(line, '\n'))
	sum := sha256.Sum256(out.Bytes())
	w, err := age.Encrypt(out, recipients...)
	if err == nil {
		_, err = w.Write(append(sum[:], root[:]...))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("sealing the root key: %w", err)
	}
	return out.Bytes(), nil
}

// ReadHeader reads the clear part of a sealed copy, of which nothing vouches, and gives what is
// behind it.
func ReadHeader(sealed []byte) (h Header, rest []byte, err error) {
	after, ok := bytes.CutPrefix(sealed, []byte(magic))
	line, rest, ended := bytes.Cut(after, []byte("\n"))
	if !ok || !ended || len(sealed) > MaxSize {
		return h, nil, errors.New("not a sealed copy of a root key")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil {
		return h, nil, errors.New("not a sealed copy of a root key: its header cannot be read")
	}
	return h, rest, nil
}

// Open opens a sealed copy with one of the identities of an age identity file.
func Open(sealed []byte, identities io.Reader) (h Header, root [rootSize]byte, err error) {
	h, rest, err := ReadHeader(sealed)
	if err != nil {
		return h, root, err
	}
	ids, err := age.ParseIdentities(identities)
	if err != nil {
		return h, root, errors.New("the identity file holds no age identities (lines that begin with AGE-SECRET-KEY-1)") // the cause could quote one
	}
	r, err := age.Decrypt(bytes.NewReader(rest), ids...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return h, root, fmt.Errorf("none of the identities is that of a recipient; it was sealed to %v", h.Recipients)
	}
	if err != nil {
		return h, root, fmt.Errorf("opening a sealed copy of the root key: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, sha256.Size+rootSize+1))
	defer clear(plain)
	if err != nil {
		return h, root, fmt.Errorf("opening a sealed copy of the root key: %w", err)
	}
	sum := sha256.Sum256(sealed[:len(sealed)-len(rest)])
	if len(plain) != sha256.Size+rootSize || !bytes.Equal(plain[:sha256.Size], sum[:]) {
		return h, root, errors.New("the header of the sealed copy was changed")
	}
	return h, [rootSize]byte(plain[sha256.Size:]), nil
}
