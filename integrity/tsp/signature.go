package tsp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidRSA     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidMGF1    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	oidPSS     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}
)

type family int

const (
	familyRSA family = iota + 1
	familyPSS
	familyECDSA
	familyEd25519
)

// schemes are the signature algorithms that name their digest (RFC 5754
// section 3, RFC 8702 section 3). Those with SHA-1 are absent.
var schemes = [...]struct {
	oid    asn1.ObjectIdentifier
	family family
	hash   crypto.Hash
}{
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, familyRSA, crypto.SHA256},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, familyRSA, crypto.SHA384},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, familyRSA, crypto.SHA512},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 14}, familyRSA, crypto.SHA224},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 1}, familyECDSA, crypto.SHA224},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, familyECDSA, crypto.SHA256},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, familyECDSA, crypto.SHA384},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, familyECDSA, crypto.SHA512},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 10}, familyECDSA, crypto.SHA3_256},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 11}, familyECDSA, crypto.SHA3_384},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 12}, familyECDSA, crypto.SHA3_512},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 14}, familyRSA, crypto.SHA3_256},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 15}, familyRSA, crypto.SHA3_384},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 16}, familyRSA, crypto.SHA3_512},
}

// scheme is a way of signing.
type scheme struct {
	family family
	hash   crypto.Hash
	salt   int // of PSS
}

// schemeOf reads a SignatureAlgorithmIdentifier beside the signer's digest. The
// two must name the same digest: RFC 5652 lets them differ, and no authority
// does.
func schemeOf(a algorithm, digest crypto.Hash) (scheme, error) {
	s, err := namedScheme(a, digest)
	if err == nil && s.hash != digest {
		err = fmt.Errorf("signature uses %v, signer's digest is %v", s.hash, digest)
	}
	return s, err
}

func namedScheme(a algorithm, digest crypto.Hash) (scheme, error) {
	switch {
	case a.oid.Equal(oidPSS):
		return pssScheme(a.params)
	case !a.plain():
		return scheme{}, fmt.Errorf("signature algorithm %v has parameters", a.oid)
	case a.oid.Equal(oidRSA):
		return scheme{family: familyRSA, hash: digest}, nil
	case a.oid.Equal(oidEd25519):
		return scheme{family: familyEd25519, hash: crypto.SHA512}, nil // RFC 8419 section 3
	}
	for _, s := range schemes {
		if s.oid.Equal(a.oid) {
			return scheme{family: s.family, hash: s.hash}, nil
		}
	}
	return scheme{}, fmt.Errorf("signature algorithm %v is not accepted", a.oid)
}

// pssScheme reads RSASSA-PSS-params (RFC 4055 section 3.1). All its defaults
// stand for SHA-1, so hash and mask generation have to be said.
func pssScheme(params []byte) (scheme, error) {
	s := cryptobyte.String(params)
	var body, hashField, maskField cryptobyte.String
	var hasSalt bool
	var saltField cryptobyte.String
	salt, trailer := 20, int64(1)
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !s.Empty() || !body.ReadASN1(&hashField, ctx(0)) ||
		!body.ReadASN1(&maskField, ctx(1)) || !body.ReadOptionalASN1(&saltField, &hasSalt, ctx(2)) {
		return scheme{}, errors.New("RSASSA-PSS parameters are malformed or default to SHA-1")
	}
	if hasSalt && (!saltField.ReadASN1Integer(&salt) || !saltField.Empty() || salt < 0 || salt > 512) {
		return scheme{}, errors.New("RSASSA-PSS salt length is malformed")
	}
	if !body.Empty() {
		var t cryptobyte.String
		if !body.ReadASN1(&t, ctx(3)) || !t.ReadASN1Integer(&trailer) || !t.Empty() || !body.Empty() || trailer != 1 {
			return scheme{}, errors.New("RSASSA-PSS trailer is malformed")
		}
	}
	hash, err := pssHash(hashField, maskField)
	return scheme{family: familyPSS, hash: hash, salt: salt}, err
}

// pssHash gives the one digest that hash and mask generation must share.
func pssHash(hashField, maskField cryptobyte.String) (crypto.Hash, error) {
	var alg, mask algorithm
	if !readAlgorithm(&hashField, &alg) || !hashField.Empty() ||
		!readAlgorithm(&maskField, &mask) || !maskField.Empty() || !mask.oid.Equal(oidMGF1) {
		return 0, errors.New("RSASSA-PSS parameters are malformed")
	}
	inner := cryptobyte.String(mask.params)
	var maskAlg algorithm
	if !readAlgorithm(&inner, &maskAlg) {
		return 0, errors.New("RSASSA-PSS mask generation is malformed")
	}
	hash, err := alg.digest()
	if err != nil {
		return 0, err
	}
	if maskHash, err := maskAlg.digest(); err != nil || maskHash != hash {
		return 0, errors.New("RSASSA-PSS mask generation uses another digest")
	}
	return hash, nil
}

// checkKey refuses keys that are too weak for proof.
func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 || n > maxRSA {
			return fmt.Errorf("RSA key of %d bits", n)
		}
	case *ecdsa.PublicKey:
		if c := k.Curve; c != elliptic.P256() && c != elliptic.P384() && c != elliptic.P521() {
			return fmt.Errorf("ECDSA key on curve %s", c.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return errors.New("key of an unknown kind")
	}
	return nil
}

var errBadSignature = errors.New("signature does not verify")

// verify checks a signature over the message. Key and scheme must be of the
// same family.
func (s scheme) verify(key crypto.PublicKey, message, signature []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		return s.verifyRSA(k, message, signature)
	case *ecdsa.PublicKey:
		if s.family == familyECDSA && ecdsa.VerifyASN1(k, digestOf(s.hash, message), signature) {
			return nil
		}
	case ed25519.PublicKey:
		if s.family == familyEd25519 && ed25519.Verify(k, message, signature) {
			return nil
		}
	}
	return errBadSignature
}

func (s scheme) verifyRSA(key *rsa.PublicKey, message, signature []byte) error {
	var err error
	switch s.family {
	case familyRSA:
		err = rsa.VerifyPKCS1v15(key, s.hash, digestOf(s.hash, message), signature)
	case familyPSS:
		opts := &rsa.PSSOptions{SaltLength: s.salt}
		if s.salt == 0 {
			return errors.New("RSASSA-PSS without salt is not accepted")
		}
		err = rsa.VerifyPSS(key, s.hash, digestOf(s.hash, message), signature, opts)
	default:
		return errBadSignature
	}
	if err != nil {
		return errBadSignature
	}
	return nil
}
