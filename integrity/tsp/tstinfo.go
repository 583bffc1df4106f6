package tsp

import (
	"encoding/asn1"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// tstInfo is what a token signs (RFC 3161 section 2.4.2).
type tstInfo struct {
	policy   asn1.ObjectIdentifier
	imprint  imprint
	serial   *big.Int
	time     time.Time
	accuracy time.Duration
	nonce    *big.Int                // nil when absent
	tsa      []byte                  // GeneralName in DER, nil when absent
	critical []asn1.ObjectIdentifier // extensions marked critical; none is known here
}

// imprint is a MessageImprint.
type imprint struct {
	alg    algorithm
	hashed []byte
}

const maxExtensions = 32

func parseTSTInfo(der []byte) (*tstInfo, error) {
	if err := checkDER(der); err != nil {
		return nil, unacceptable("TSTInfo", err.Error())
	}
	s := cryptobyte.String(der)
	var body cryptobyte.String
	var version int64
	var when cryptobyte.String
	var info tstInfo
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !s.Empty() ||
		!body.ReadASN1Integer(&version) || !body.ReadASN1ObjectIdentifier(&info.policy) ||
		!readImprint(&body, &info.imprint) || !readSerial(&body, &info.serial) ||
		!body.ReadASN1(&when, cbasn1.GeneralizedTime) {
		return nil, malformed("TSTInfo")
	}
	var ok bool
	if info.time, ok = parseTime(string(when)); !ok {
		return nil, unacceptable("TSTInfo", "malformed genTime")
	}
	if version != 1 {
		return nil, unacceptable("TSTInfo", "unknown version")
	}
	if err := info.readOptions(body); err != nil {
		return nil, err
	}
	return &info, nil
}

// readOptions reads what follows genTime.
func (info *tstInfo) readOptions(s cryptobyte.String) error {
	if s.PeekASN1Tag(cbasn1.SEQUENCE) && !readAccuracy(&s, &info.accuracy) {
		return unacceptable("TSTInfo", "malformed accuracy")
	}
	var ordering bool
	if s.PeekASN1Tag(cbasn1.BOOLEAN) && (!s.ReadASN1Boolean(&ordering) || !ordering) {
		return unacceptable("TSTInfo", "malformed ordering") // a default is not written in DER
	}
	if s.PeekASN1Tag(cbasn1.INTEGER) && !readSerial(&s, &info.nonce) {
		return unacceptable("TSTInfo", "malformed nonce")
	}
	var tsa, extensions cryptobyte.String
	var has bool
	if !s.ReadOptionalASN1(&tsa, &has, ctx(0)) || has && !isOneElement(tsa) {
		return unacceptable("TSTInfo", "malformed tsa")
	}
	if has {
		info.tsa = tsa
	}
	if !s.ReadOptionalASN1(&extensions, &has, ctx(1)) || !s.Empty() {
		return malformed("TSTInfo")
	}
	if has && !info.readExtensions(extensions) {
		return unacceptable("TSTInfo", "malformed extensions")
	}
	return nil
}

func (info *tstInfo) readExtensions(s cryptobyte.String) bool {
	elements, ok := readElements(s, maxExtensions)
	if !ok || len(elements) == 0 {
		return false
	}
	for _, e := range elements {
		id, critical, _, ok := parseExtension(e)
		if !ok {
			return false
		}
		if critical {
			info.critical = append(info.critical, id)
		}
	}
	return true
}

// parseExtension reads an Extension (RFC 5280 section 4.1).
func parseExtension(der []byte) (id asn1.ObjectIdentifier, critical bool, value []byte, ok bool) {
	s := cryptobyte.String(der)
	var body, v cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&id) {
		return nil, false, nil, false
	}
	if body.PeekASN1Tag(cbasn1.BOOLEAN) && !body.ReadASN1Boolean(&critical) {
		return nil, false, nil, false
	}
	ok = body.ReadASN1(&v, cbasn1.OCTET_STRING) && body.Empty()
	return id, critical, v, ok
}

func readImprint(s *cryptobyte.String, out *imprint) bool {
	var body, hashed cryptobyte.String
	ok := s.ReadASN1(&body, cbasn1.SEQUENCE) && readAlgorithm(&body, &out.alg) &&
		body.ReadASN1(&hashed, cbasn1.OCTET_STRING) && body.Empty() && len(hashed) <= 64
	out.hashed = hashed
	return ok
}

// readAccuracy reads seconds, milliseconds and microseconds, each optional.
func readAccuracy(s *cryptobyte.String, out *time.Duration) bool {
	var body cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) {
		return false
	}
	var sum time.Duration
	for _, part := range []struct {
		tag  cbasn1.Tag
		unit time.Duration
		low  int64
		high int64
	}{
		{cbasn1.INTEGER, time.Second, 0, 1<<31 - 1},
		{ctxSimple(0), time.Millisecond, 1, 999},
		{ctxSimple(1), time.Microsecond, 1, 999},
	} {
		if !body.PeekASN1Tag(part.tag) {
			continue
		}
		var n int64
		if !body.ReadASN1Int64WithTag(&n, part.tag) || n < part.low || n > part.high {
			return false
		}
		sum += time.Duration(n) * part.unit
	}
	*out = sum
	return body.Empty()
}

func isOneElement(s cryptobyte.String) bool {
	elements, ok := readElements(s, 1)
	return ok && len(elements) == 1
}

// marshal writes the TSTInfo; its accuracy is in whole milliseconds.
func (info *tstInfo) marshal() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		addOID(b, info.policy)
		info.imprint.add(b)
		b.AddASN1BigInt(info.serial)
		b.AddASN1(cbasn1.GeneralizedTime, func(b *cryptobyte.Builder) { b.AddBytes([]byte(formatTime(info.time))) })
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1Int64(int64(info.accuracy / time.Second)) })
		if info.nonce != nil {
			b.AddASN1BigInt(info.nonce)
		}
	})
	return b.Bytes()
}

func (m imprint) add(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addOID(b, m.alg.oid)
			b.AddBytes(m.alg.params) // as the request had them: the two imprints are equal
		})
		b.AddASN1OctetString(slices.Clone(m.hashed))
	})
}
