package tsp

import (
	"crypto"
	_ "crypto/sha256" // links SHA-224 and SHA-256
	_ "crypto/sha3"   // links SHA3-256 to SHA3-512
	_ "crypto/sha512" // links SHA-384 and SHA-512
	"encoding/asn1"
	"fmt"
	"time"
)

// hashes are the digest algorithms that a token may use (RFC 5754 section 2,
// RFC 8702 section 2). SHA-1 and MD5 are absent: they are refused.
var hashes = [...]struct {
	hash crypto.Hash
	oid  asn1.ObjectIdentifier
}{
	{crypto.SHA256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}},
	{crypto.SHA384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}},
	{crypto.SHA512, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}},
	{crypto.SHA224, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 4}},
	{crypto.SHA512_256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 6}},
	{crypto.SHA3_256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 8}},
	{crypto.SHA3_384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 9}},
	{crypto.SHA3_512, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 10}},
}

// end224 ends the use of SHA-224, and of everything with 112 bits of strength
// (NIST SP 800-131A). Tokens that were made before remain good.
var end224 = time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)

func hashByOID(oid asn1.ObjectIdentifier) crypto.Hash {
	for _, h := range hashes {
		if h.oid.Equal(oid) {
			return h.hash
		}
	}
	return 0
}

func oidByHash(hash crypto.Hash) asn1.ObjectIdentifier {
	for _, h := range hashes {
		if h.hash == hash {
			return h.oid
		}
	}
	return nil
}

// algorithm is an AlgorithmIdentifier (RFC 5280 section 4.1.1.2).
type algorithm struct {
	oid    asn1.ObjectIdentifier
	params []byte // DER, nil when absent
}

// digest gives the hash that the identifier stands for. Parameters are absent
// or NULL (RFC 5754 section 2).
func (a algorithm) digest() (crypto.Hash, error) {
	h := hashByOID(a.oid)
	switch {
	case h == 0:
		return 0, fmt.Errorf("digest algorithm %v is not accepted", a.oid)
	case !a.plain():
		return 0, fmt.Errorf("digest algorithm %v has parameters", a.oid)
	}
	return h, nil
}

// plain says that there are no parameters, or NULL.
func (a algorithm) plain() bool {
	return a.params == nil || string(a.params) == "\x05\x00"
}

// acceptedAt says why a hash is too weak for a token of the time, if it is.
func acceptedAt(h crypto.Hash, at time.Time) error {
	if h == crypto.SHA224 && !at.Before(end224) {
		return fmt.Errorf("%v is not accepted from %d on", h, end224.Year())
	}
	return nil
}

func digestOf(h crypto.Hash, data []byte) []byte {
	d := h.New()
	d.Write(data)
	return d.Sum(nil)
}
