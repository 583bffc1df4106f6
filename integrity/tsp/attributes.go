package tsp

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
)

// value gives the one value of the attribute; nil when the attribute is absent.
// No attribute that is understood here may be there twice or have several
// values (RFC 5652 section 11, RFC 2634 section 5.4).
func (si *signerInfo) value(id asn1.ObjectIdentifier) ([]byte, error) {
	var value []byte
	for _, a := range si.attributes {
		if !a.id.Equal(id) {
			continue
		}
		if value != nil || len(a.values) != 1 {
			return nil, fmt.Errorf("attribute %v has not exactly one value", id)
		}
		value = a.values[0]
	}
	return value, nil
}

// distinct refuses attributes that are there twice, or without a value (RFC
// 5652 section 5.3).
func (si *signerInfo) distinct() error {
	seen := make(map[string]bool)
	for _, a := range si.attributes {
		if seen[a.id.String()] {
			return fmt.Errorf("attribute %v is there twice", a.id)
		}
		if len(a.values) == 0 {
			return fmt.Errorf("attribute %v has no value", a.id)
		}
		seen[a.id.String()] = true
	}
	return nil
}

// attributes checks content-type and message-digest (RFC 5652 sections 11.1 and
// 11.2), and that a signing certificate is named (RFC 5816 section 2.2.1).
func (v *verification) attributes() outcome {
	si := &v.signer
	if si.signed == nil {
		return failed("there are none")
	}
	if !si.sorted {
		return failed("they are not in DER order")
	}
	for _, check := range []func() error{si.distinct, v.contentTypeAttribute, v.digestAttribute, v.timeAttribute} {
		if err := check(); err != nil {
			return failed("%v", err)
		}
	}
	ids, err := si.essCertIDs()
	switch {
	case err != nil:
		return failed("%v", err)
	case len(ids) == 0:
		return failed("no signing certificate is named")
	}
	return passed("")
}

func (v *verification) contentTypeAttribute() error {
	raw, err := v.signer.value(oidContentType)
	if err != nil {
		return err
	}
	s := cryptobyte.String(raw)
	var id asn1.ObjectIdentifier
	if !s.ReadASN1ObjectIdentifier(&id) || !s.Empty() || !id.Equal(oidTSTInfo) {
		return errors.New("content-type is absent or not TSTInfo")
	}
	return nil
}

func (v *verification) digestAttribute() error {
	raw, err := v.signer.value(oidMessageDigest)
	if err != nil {
		return err
	}
	s := cryptobyte.String(raw)
	var value cryptobyte.String
	if !s.ReadASN1(&value, cbasn1.OCTET_STRING) || !s.Empty() {
		return errors.New("message-digest is absent or malformed")
	}
	hash, err := v.signer.digest.digest()
	if err != nil {
		return err
	}
	if !bytes.Equal(value, digestOf(hash, v.signed.content)) {
		return errors.New("message-digest is of another content")
	}
	return nil
}

// timeAttribute only refuses several values: the time that counts is genTime.
func (v *verification) timeAttribute() error {
	_, err := v.signer.value(oidSigningTime)
	return err
}

// essCertIDs gives the identifiers of version 2 if there are any, else those of
// version 1.
func (si *signerInfo) essCertIDs() ([]essCertID, error) {
	v2, v1, err := si.signingCertificates()
	if len(v2) > 0 {
		return v2, err
	}
	return v1, err
}

func (si *signerInfo) signingCertificates() (v2, v1 []essCertID, err error) {
	raw1, err1 := si.value(oidSigningCert)
	raw2, err2 := si.value(oidSigningCertV2)
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, err
	}
	if raw1 != nil {
		v1, err1 = parseSigningCertificate(raw1, false)
	}
	if raw2 != nil {
		v2, err2 = parseSigningCertificate(raw2, true)
	}
	return v2, v1, errors.Join(err1, err2)
}

// essCertID checks that the signed attributes name the signer's certificate
// (RFC 5816 section 2.2.1), in both versions when both are there. When they name
// more, the path may use only those (RFC 5035 section 3); its root need not be
// named.
func (v *verification) essCertID() outcome {
	v2, v1, err := v.signer.signingCertificates()
	switch {
	case err != nil:
		return failed("%v", err)
	case len(v2)+len(v1) == 0:
		return failed("no signing certificate is named")
	case v.cert == nil:
		return failed("the signer's certificate is not here")
	}
	for _, ids := range [][]essCertID{v2, v1} {
		if len(ids) == 0 {
			continue
		}
		if err := v.namedBy(ids); err != nil {
			return failed("%v", err)
		}
	}
	if len(v2) == 0 {
		return passed("by SHA-1, issuer and serial number (RFC 2634)")
	}
	return passed("")
}

func (v *verification) namedBy(ids []essCertID) error {
	if err := ids[0].names(v.cert); err != nil {
		return err
	}
	if len(ids) == 1 {
		return nil
	}
	for i := 1; i < len(v.certs)-1; i++ {
		if !slices.ContainsFunc(ids[1:], func(id essCertID) bool { return id.names(v.certs[i]) == nil }) {
			return errors.New("the path uses a certificate that is not named")
		}
	}
	return nil
}
