package tsp

import (
	"encoding/asn1"
	"errors"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ParseError says which part of a token, request or response is malformed.
type ParseError struct {
	Part   string // the ASN.1 type, e.g. "SignerInfo"
	Reason string
}

func (e *ParseError) Error() string {
	if e.Reason == "" {
		return "parsing " + e.Part + ": malformed"
	}
	return "parsing " + e.Part + ": " + e.Reason
}

func malformed(part string) error            { return &ParseError{Part: part} }
func unacceptable(part, reason string) error { return &ParseError{Part: part, Reason: reason} }

const maxDepth = 32 // of nested elements

// checkDER walks through all elements and refuses what is BER but not DER:
// indefinite and longer than needed lengths, strings in pieces, loose booleans
// and integers (X.690 section 10). It does not look into octet and bit strings,
// nor at the order of sets.
func checkDER(der []byte) error {
	return walkDER(cryptobyte.String(der), maxDepth)
}

func walkDER(s cryptobyte.String, depth int) error {
	if depth == 0 {
		return errors.New("nested too deep")
	}
	for !s.Empty() {
		var body cryptobyte.String
		var tag cbasn1.Tag
		if !s.ReadAnyASN1(&body, &tag) {
			return errors.New("not DER")
		}
		const constructed = 0x20
		if tag&constructed == 0 {
			if !primitiveDER(tag, body) {
				return errors.New("value not in DER")
			}
			continue
		}
		if tag&0xc0 == 0 && tag != cbasn1.SEQUENCE && tag != cbasn1.SET {
			return errors.New("string in pieces is not DER")
		}
		if err := walkDER(body, depth-1); err != nil {
			return err
		}
	}
	return nil
}

func primitiveDER(tag cbasn1.Tag, v []byte) bool {
	switch tag {
	case cbasn1.BOOLEAN:
		return len(v) == 1 && (v[0] == 0 || v[0] == 0xff)
	case cbasn1.INTEGER, cbasn1.ENUM:
		loose := len(v) > 1 && (v[0] == 0 && v[1] < 0x80 || v[0] == 0xff && v[1] >= 0x80)
		return len(v) > 0 && !loose
	case cbasn1.NULL:
		return len(v) == 0
	case cbasn1.SEQUENCE &^ 0x20, cbasn1.SET &^ 0x20:
		return false
	}
	return true
}

// tag numbers of contexts, constructed or not.
func ctx(n uint8) cbasn1.Tag       { return cbasn1.Tag(n).ContextSpecific().Constructed() }
func ctxSimple(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific() }

// readAlgorithm reads an AlgorithmIdentifier.
func readAlgorithm(s *cryptobyte.String, out *algorithm) bool {
	var body cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&out.oid) {
		return false
	}
	out.params = nil
	if body.Empty() {
		return true
	}
	var params cryptobyte.String
	var tag cbasn1.Tag
	if !body.ReadAnyASN1Element(&params, &tag) || !body.Empty() {
		return false
	}
	out.params = params
	return true
}

// readSerial reads an integer of at most 64 bytes.
func readSerial(s *cryptobyte.String, out **big.Int) bool {
	peek := *s
	var raw cryptobyte.String
	if !peek.ReadASN1(&raw, cbasn1.INTEGER) || len(raw) > 64 {
		return false
	}
	n := new(big.Int)
	if !s.ReadASN1Integer(n) {
		return false
	}
	*out = n
	return true
}

// readElements reads the elements of a set or sequence, whole, at most max.
func readElements(s cryptobyte.String, max int) (out [][]byte, ok bool) {
	for !s.Empty() {
		var e cryptobyte.String
		var tag cbasn1.Tag
		if len(out) == max || !s.ReadAnyASN1Element(&e, &tag) {
			return nil, false
		}
		out = append(out, e)
	}
	return out, true
}

// parseTime reads a GeneralizedTime: UTC, seconds, and a fraction without
// trailing zeros if there is one (RFC 3161 section 2.4.2, X.690 section 11.7).
func parseTime(s string) (time.Time, bool) {
	if len(s) > len("20060102150405.123456789Z") {
		return time.Time{}, false
	}
	t, err := time.Parse(timeLayout, s)
	return t, err == nil && formatTime(t) == s
}

const timeLayout = "20060102150405.999999999Z"

func formatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

func addOID(b *cryptobyte.Builder, oid asn1.ObjectIdentifier) { b.AddASN1ObjectIdentifier(oid) }

func addAlgorithm(b *cryptobyte.Builder, oid asn1.ObjectIdentifier) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { addOID(b, oid) })
}
