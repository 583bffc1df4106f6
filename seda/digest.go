package seda

import (
	"crypto"
	_ "crypto/md5"  // the algorithms that manifests name
	_ "crypto/sha1" //
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"strings"
)

// digestAlgorithm is one that a MessageDigest can name.
type digestAlgorithm struct {
	name string
	hash crypto.Hash
	weak bool // collisions are known
}

var digestAlgorithms = []digestAlgorithm{
	{"SHA-512", crypto.SHA512, false}, {"SHA-256", crypto.SHA256, false}, {"SHA-384", crypto.SHA384, false}, {"SHA-224", crypto.SHA224, false},
	{"SHA3-256", crypto.SHA3_256, false}, {"SHA3-512", crypto.SHA3_512, false}, {"SHA3-384", crypto.SHA3_384, false}, {"SHA3-224", crypto.SHA3_224, false},
	{"SHA-512/256", crypto.SHA512_256, false}, {"SHA-1", crypto.SHA1, true}, {"MD5", crypto.MD5, true},
}

const digestNames = "SHA-512, SHA-256, SHA-384, SHA-224, SHA3-224 to SHA3-512, SHA-512/256, SHA-1, MD5"

// digestNamed finds an algorithm by its name, in any case and with or without its
// dash, or by the URI of XML Signature, whose last part is the name.
func digestNamed(name string) (digestAlgorithm, bool) {
	for _, a := range digestAlgorithms {
		if a.name == name {
			return a, true
		}
	}
	if i := strings.LastIndexByte(name, '#'); i >= 0 && strings.HasPrefix(name, "http://www.w3.org/") {
		name = name[i+1:]
	}
	for _, a := range digestAlgorithms {
		if plainName(a.name) == plainName(name) {
			return a, true
		}
	}
	return digestAlgorithm{}, false
}

func plainName(s string) string {
	return strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(s, "-", ""), "_", ""))
}
