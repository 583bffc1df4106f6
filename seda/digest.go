package seda

import (
	"bytes"
	"crypto"
	_ "crypto/md5"  // the algorithms that manifests name
	_ "crypto/sha1" //
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"io"
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

// decode reads a digest of the algorithm, hexadecimal or base64; nil when it is none.
func (a digestAlgorithm) decode(value []byte) []byte {
	size := a.hash.Size()
	if len(value) == hex.EncodedLen(size) {
		if d, err := hex.DecodeString(string(value)); err == nil {
			return d
		}
	}
	if d, err := base64.StdEncoding.DecodeString(string(bytes.Map(dropSpace, value))); err == nil && len(d) == size {
		return d
	}
	return nil
}

func dropSpace(r rune) rune {
	if r == ' ' || r == '\n' || r == '\r' || r == '\t' {
		return -1
	}
	return r
}

// SameDigest reports whether content, whose SHA-256 is sum, has a digest as a MessageDigest gives
// it. Under another algorithm than SHA-256 the content is read. Nothing has a digest under an
// algorithm that is not known, or weak.
func SameDigest(algorithm, digest string, sum []byte, open func() (io.ReadCloser, error)) (bool, error) {
	a, ok := digestNamed(algorithm)
	if !ok || a.weak {
		return false, nil
	}
	want := a.decode([]byte(digest))
	if want == nil {
		return false, nil
	}
	if a.hash == crypto.SHA256 {
		return bytes.Equal(want, sum), nil
	}
	r, err := open()
	if err != nil {
		return false, err
	}
	defer r.Close()
	h := a.hash.New()
	if _, err := io.Copy(h, r); err != nil {
		return false, err
	}
	return bytes.Equal(h.Sum(nil), want), nil
}
