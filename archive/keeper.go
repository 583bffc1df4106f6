package archive

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"sae/archive/hsm"
)

// keeper is a way of keeping a root key: in the slot as it is, or wrapped under a key of a token.
type keeper interface {
	// keep gives what the slot is to hold of a root. What it needs elsewhere is durable on return.
	keep(root [rootSize]byte) (heldRoot, error)
	// open gives the root of what keep gave. The error matches hsm.ErrNoKey when what it needs
	// elsewhere is gone: nothing opens it any more.
	open(held heldRoot) ([rootSize]byte, error)
	// only destroys what is needed elsewhere for any root of the archive but the one held. It is
	// durable on return, and may be done again.
	only(held heldRoot) error
	close() error
}

// heldRoot is a root as the slot holds it.
type heldRoot struct {
	Key  string `json:"key,omitempty"` // label of the key of a token under which it is wrapped
	Root []byte `json:"root"`          // wrapped or, without a key, as it is
}

// inFile keeps roots in the slot as they are.
type inFile struct{}

func (inFile) keep(root [rootSize]byte) (heldRoot, error) { return heldRoot{Root: root[:]}, nil }

func (inFile) open(held heldRoot) (root [rootSize]byte, err error) {
	if len(held.Root) != rootSize {
		return root, fmt.Errorf("%d bytes instead of %d", len(held.Root), rootSize)
	}
	return [rootSize]byte(held.Root), nil
}

// only has nothing to do: the slot overwrites what it held.
func (inFile) only(heldRoot) error { return nil }
func (inFile) close() error        { return nil }

// inToken keeps each root under a key of its own, which a token holds and does not give away. To
// destroy the key is to destroy the root, in every copy of the slot that there is.
type inToken struct {
	token  *hsm.Token
	prefix string             // of the labels of the archive's keys
	fault  func(string) error // in tests, asked before and after each step
}

func openToken(c hsm.Config, archive string, write bool, fault func(string) error) (*inToken, error) {
	k := &inToken{prefix: rootLabel + archive + "/", fault: fault}
	if err := k.faultAt("open"); err != nil {
		return nil, err
	}
	var err error
	if k.token, err = hsm.Open(c, write); err != nil {
		return nil, err
	}
	return k, nil
}

// rootLabel begins the labels of keys for roots: behind it stand the archive, a slash, and 26
// random characters. No other key of the token is ever touched.
const rootLabel = "sae-root/"

// rootAD is the associated data of a wrapped root: it opens in its own archive only.
func rootAD(label string) []byte { return []byte("sae root 1 " + label) }

func (k *inToken) faultAt(step string) error {
	if k.fault == nil {
		return nil
	}
	return k.fault(step)
}

// keep makes a key and wraps the root under it. A crash behind this leaves a key of which no slot
// speaks: only removes it.
func (k *inToken) keep(root [rootSize]byte) (held heldRoot, err error) {
	held.Key = k.prefix + strings.ToLower(rand.Text())
	if err = k.faultAt("generate"); err == nil {
		err = k.token.Generate(held.Key)
	}
	if err == nil {
		err = errors.Join(k.faultAt("generated"), k.faultAt("wrap"))
	}
	if err == nil {
		held.Root, err = k.token.Wrap(held.Key, rootAD(held.Key), root[:])
	}
	return held, err
}

func (k *inToken) open(held heldRoot) (root [rootSize]byte, err error) {
	if !strings.HasPrefix(held.Key, k.prefix) {
		return root, fmt.Errorf("it is wrapped under %s, which is not a key of this archive", held.Key)
	}
	if err := k.faultAt("unwrap"); err != nil {
		return root, err
	}
	plain, err := k.token.Unwrap(held.Key, rootAD(held.Key), held.Root)
	if err != nil {
		return root, err
	}
	defer clear(plain)
	return inFile{}.open(heldRoot{Root: plain})
}

func (k *inToken) only(held heldRoot) error {
	if err := k.faultAt("list"); err != nil {
		return err
	}
	labels, err := k.token.Labels(k.prefix)
	if err != nil {
		return err
	}
	for _, label := range labels {
		if label == held.Key {
			continue
		}
		if err := k.faultAt("destroy"); err != nil {
			return err
		}
		if err := k.token.Destroy(label); err != nil {
			return err
		}
		if err := k.faultAt("destroyed"); err != nil {
			return err
		}
	}
	return nil
}

func (k *inToken) close() error { return k.token.Close() }
