package ers

import (
	"crypto"
	_ "crypto/sha256" // links SHA-224 and SHA-256
	_ "crypto/sha3"   // links SHA3-256 to SHA3-512
	_ "crypto/sha512" // links SHA-384 and SHA-512
	"encoding/asn1"
)

// algorithm ties a hash to its object identifier (RFC 5754 section 2,
// RFC 8702 section 2). A weak one is recognised so that its refusal can name
// it, and is never computed.
type algorithm struct {
	hash crypto.Hash
	oid  asn1.ObjectIdentifier
	weak bool
}

var algorithms = [...]algorithm{
	{crypto.SHA256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, false},
	{crypto.SHA384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, false},
	{crypto.SHA512, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, false},
	{crypto.SHA224, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 4}, false},
	{crypto.SHA512_256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 6}, false},
	{crypto.SHA3_256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 8}, false},
	{crypto.SHA3_384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 9}, false},
	{crypto.SHA3_512, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 10}, false},
	{crypto.SHA1, asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, true},
	{crypto.MD5, asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}, true},
}

func algorithmByOID(oid asn1.ObjectIdentifier) (algorithm, bool) {
	for _, a := range algorithms {
		if a.oid.Equal(oid) {
			return a, true
		}
	}
	return algorithm{}, false
}

func algorithmByHash(h crypto.Hash) (algorithm, bool) {
	for _, a := range algorithms {
		if a.hash == h {
			return a, true
		}
	}
	return algorithm{}, false
}

// usable says whether hashes may be computed under h: it is known here and not
// broken.
func usable(h crypto.Hash) bool {
	a, known := algorithmByHash(h)
	return known && !a.weak && h.Available()
}
