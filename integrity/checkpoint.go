package integrity

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
)

// Checkpoint is the signed state of a ledger (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string // name of the ledger, and of the key that signs it
	Size   int64  // number of entries
	Root   Hash   // RFC 6962 root over them
}

// maxCheckpoint bounds what ParseCheckpoint reads: a note with a few dozen
// witness signatures is far below.
const maxCheckpoint = 64 << 10

// Sign gives the checkpoint as a signed note.
func (c Checkpoint) Sign(signer note.Signer) ([]byte, error) {
	b, err := note.Sign(&note.Note{Text: c.text()}, signer)
	if err != nil {
		return nil, fmt.Errorf("signing checkpoint: %w", err)
	}
	return b, nil
}

func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
}

// ParseCheckpoint reads a signed checkpoint and verifies its signature with the
// ledger's key. Extension lines are refused: this ledger writes none.
func ParseCheckpoint(signed []byte, key note.Verifier) (Checkpoint, error) {
	if len(signed) > maxCheckpoint {
		return Checkpoint{}, fmt.Errorf("parsing checkpoint: %d bytes, more than %d", len(signed), maxCheckpoint)
	}
	cp, rest, _, err := log.ParseCheckpoint(signed, key.Name(), key)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("parsing checkpoint: %w", err)
	}
	if len(rest) != 0 || len(cp.Hash) != len(Hash{}) || cp.Size > maxTree {
		return Checkpoint{}, errors.New("parsing checkpoint: extension lines, or a size or root out of bounds")
	}
	c := Checkpoint{Origin: cp.Origin, Size: int64(cp.Size), Root: Hash(cp.Hash)}
	if !strings.HasPrefix(string(signed), c.text()+"\n") {
		return Checkpoint{}, errors.New("parsing checkpoint: size or root not in its one form")
	}
	return c, nil
}

// LedgerKeyPEM gives the Ed25519 public key inside a note verifier key as a
// SubjectPublicKeyInfo in PEM (RFC 8410), the form that openssl reads. It refuses
// a verifier key that is not in its one form.
func LedgerKeyPEM(vkey string) ([]byte, error) {
	key, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("reading ledger key: %w", err)
	}
	key64, ok := strings.CutPrefix(vkey, fmt.Sprintf("%s+%08x+", key.Name(), key.KeyHash()))
	raw, err := base64.StdEncoding.DecodeString(key64)
	canonical := ok && base64.StdEncoding.EncodeToString(raw) == key64
	if err != nil || !canonical || len(raw) != 1+ed25519.PublicKeySize || raw[0] != 1 {
		return nil, errors.New("reading ledger key: not an Ed25519 note verifier key in its one form")
	}
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(raw[1:]))
	if err != nil {
		return nil, fmt.Errorf("encoding ledger key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
