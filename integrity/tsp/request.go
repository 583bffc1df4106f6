package tsp

import (
	"crypto"
	"crypto/rand"
	"encoding/asn1"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Request is a TimeStampReq (RFC 3161 section 2.4.1), which always asks for the
// authority's certificate.
type Request struct {
	Hash    crypto.Hash
	Imprint []byte                // the hash to stamp
	Nonce   *big.Int              // nil for none
	Policy  asn1.ObjectIdentifier // nil for the authority's own choice
}

// NewRequest makes a request for a hash, with a new nonce of 128 bits.
func NewRequest(hash crypto.Hash, imprint []byte) Request {
	return Request{Hash: hash, Imprint: imprint, Nonce: randomInt()}
}

// randomInt draws a positive integer of exactly 128 bits.
func randomInt() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] |= 0x80
	return new(big.Int).SetBytes(b[:])
}

// Marshal writes the request in DER. It refuses an unknown digest algorithm, and
// an imprint that is not of its length.
func (r Request) Marshal() ([]byte, error) {
	oid := oidByHash(r.Hash)
	if oid == nil || len(r.Imprint) != r.Hash.Size() {
		return nil, fmt.Errorf("writing time-stamp request: no hash of %d bytes under %v", len(r.Imprint), r.Hash)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		imprint{algorithm{oid: oid}, r.Imprint}.add(b)
		if r.Policy != nil {
			addOID(b, r.Policy)
		}
		if r.Nonce != nil {
			b.AddASN1BigInt(r.Nonce)
		}
		b.AddASN1Boolean(true) // certReq
	})
	return b.Bytes()
}

// query is a request as an authority reads it.
type query struct {
	imprint    imprint
	policy     asn1.ObjectIdentifier // nil when any
	nonce      *big.Int              // nil when none
	certReq    bool
	extensions bool // there are some; none is known here
}

func parseQuery(der []byte) (*query, error) {
	if err := checkDER(der); err != nil {
		return nil, unacceptable("TimeStampReq", err.Error())
	}
	s := cryptobyte.String(der)
	var body, extensions cryptobyte.String
	var version int64
	var q query
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !s.Empty() ||
		!body.ReadASN1Integer(&version) || version != 1 || !readImprint(&body, &q.imprint) {
		return nil, malformed("TimeStampReq")
	}
	if body.PeekASN1Tag(cbasn1.OBJECT_IDENTIFIER) && !body.ReadASN1ObjectIdentifier(&q.policy) ||
		body.PeekASN1Tag(cbasn1.INTEGER) && !readSerial(&body, &q.nonce) ||
		body.PeekASN1Tag(cbasn1.BOOLEAN) && !body.ReadASN1Boolean(&q.certReq) ||
		!body.ReadOptionalASN1(&extensions, &q.extensions, ctx(0)) || !body.Empty() {
		return nil, malformed("TimeStampReq")
	}
	return &q, nil
}
