package tsp

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRequestGolden(t *testing.T) {
	r := Request{Hash: crypto.SHA256, Imprint: bytes.Repeat([]byte{0xab}, 32), Nonce: big.NewInt(0x80), Policy: testPolicy}
	want := "3040" + "020101" + // version 1
		"302f" + "300b0609608648016503040201" + "0420" + strings.Repeat("ab", 32) + // SHA-256 imprint
		"06032a0304" + "02020080" + "0101ff" // policy, nonce, certReq
	if got := hex.EncodeToString(must[[]byte](t)(r.Marshal())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRequestRefuses(t *testing.T) {
	for _, r := range []Request{
		{},
		{Hash: crypto.SHA1, Imprint: make([]byte, 20)},
		{Hash: crypto.SHA256, Imprint: make([]byte, 31)},
		{Hash: crypto.SHA256},
	} {
		if der, err := r.Marshal(); err == nil {
			t.Errorf("%+v: %x", r, der)
		}
	}
}

func TestRequestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := hashes[rapid.IntRange(0, len(hashes)-1).Draw(t, "hash")]
		imprint := rapid.SliceOfN(rapid.Byte(), h.hash.Size(), h.hash.Size()).Draw(t, "imprint")
		r := NewRequest(h.hash, imprint)
		if n := r.Nonce.BitLen(); n < 64 || n > 128 {
			t.Fatalf("nonce of %d bits", n)
		}
		if rapid.Bool().Draw(t, "policy") {
			r.Policy = testPolicy
		}
		der, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		q, err := parseQuery(der)
		if err != nil {
			t.Fatal(err)
		}
		if !q.imprint.alg.oid.Equal(h.oid) || !bytes.Equal(q.imprint.hashed, imprint) || q.nonce.Cmp(r.Nonce) != 0 ||
			!q.policy.Equal(r.Policy) || !q.certReq || q.extensions {
			t.Fatalf("%+v became %+v", r, q)
		}
	})
}

func TestTimeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(0, 250_000_000_000).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
		if got, ok := parseTime(formatTime(at)); !ok || !got.Equal(at) {
			t.Fatalf("%v became %v", at, got)
		}
	})
	for _, bad := range []string{
		"", "20260301120000", "20260301120000+0100", "20260301120000.Z", "20260301120000.0Z", "20260301120000.50Z",
		"20260301120000,5Z", "202603011200Z", "20261301120000Z", "20260229120000Z", "20260301240000Z", " 20260301120000Z",
		"20260301120000.1234567891Z", "260301120000Z",
	} {
		if got, ok := parseTime(bad); ok {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestTSTInfoRefuses(t *testing.T) {
	good := newForgery(newPKI(t, nil)).info
	for name, edit := range map[string]func(*fTSTInfo){
		"version":                 func(i *fTSTInfo) { i.Version = 2 },
		"accuracy of 1000 ms":     func(i *fTSTInfo) { i.Accuracy.Millis = 1000 },
		"negative accuracy":       func(i *fTSTInfo) { i.Accuracy.Seconds = -1 },
		"serial number too long":  func(i *fTSTInfo) { i.Serial = new(big.Int).Lsh(big.NewInt(1), 512) },
		"imprint too long":        func(i *fTSTInfo) { i.Imprint.Hashed = make([]byte, 65) },
		"empty tsa":               func(i *fTSTInfo) { i.TSA = asn1.RawValue{Class: 2, Tag: 0, IsCompound: true} },
		"something unknown after": func(i *fTSTInfo) { i.TSA = asn1.RawValue{Class: 2, Tag: 5, IsCompound: true} },
	} {
		info := good
		edit(&info)
		if _, err := parseTSTInfo(fMarshal(t, info)); !isParseError(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	info := good
	info.Accuracy = fAccuracy{Seconds: 2, Millis: 500}
	if got, err := parseTSTInfo(fMarshal(t, info)); err != nil || got.accuracy != 2500*time.Millisecond {
		t.Errorf("%+v, %v", got, err)
	}
}

func isParseError(err error) bool { return errors.As(err, new(*ParseError)) }

// TestParseRefuses has encodings that another parser might let through.
func TestParseRefuses(t *testing.T) {
	good := newForgery(newPKI(t, nil)).revocable(t).build(t)
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	long := func(head []byte) []byte { return append(head, good[4:]...) }
	n := len(good) - 4
	for name, der := range map[string][]byte{
		"empty":             nil,
		"trailing byte":     append(bytes.Clone(good), 0),
		"trailing token":    append(bytes.Clone(good), good...),
		"cut":               good[:len(good)-1],
		"indefinite length": append(long([]byte{0x30, 0x80}), 0, 0),
		"long length":       long([]byte{0x30, 0x83, 0, byte(n >> 8), byte(n)}),
		"too large":         make([]byte, MaxToken+1),
		"too deep":          bytes.Repeat([]byte{0x30, 0x80}, 100_000),
		"another content":   bytes.Replace(bytes.Clone(good), fMarshal(t, oidSignedData), fMarshal(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}), 1),
	} {
		if token, err := Parse(der); !isParseError(err) || token != nil {
			t.Errorf("%s: %t, %v", name, token != nil, err)
		}
	}
}

func TestParseRefusesStructures(t *testing.T) {
	set := func(content ...[]byte) asn1.RawValue {
		return asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: bytes.Join(content, nil)}
	}
	for name, tamper := range map[string]func(*fSignedData){
		"version 1":             func(sd *fSignedData) { sd.Version = 1 },
		"version 5":             func(sd *fSignedData) { sd.Version = 5 },
		"signer's version":      func(sd *fSignedData) { sd.Signers[0].Version = 3 },
		"certificate of junk":   func(sd *fSignedData) { sd.Certs = set([]byte{0x30, 3, 2, 1, 1}) },
		"too many certificates": func(sd *fSignedData) { sd.Certs.Bytes = bytes.Repeat(sd.Certs.Bytes, 30) },
		"too many signers": func(sd *fSignedData) {
			for range maxSigners {
				sd.Signers = append(sd.Signers, sd.Signers[0])
			}
		},
		"attribute without OID": func(sd *fSignedData) { sd.Signers[0].Attributes = set([]byte{0x30, 2, 5, 0}) },
		"CRL of junk":           func(sd *fSignedData) { sd.CRLs = asn1.RawValue{FullBytes: []byte{0xa1, 2, 0x30, 0}} },
		"OCSP response of junk": func(sd *fSignedData) {
			other := append(fMarshal(t, oidOCSPResponse), 0x30, 0)
			sd.CRLs = asn1.RawValue{Class: 2, Tag: 1, IsCompound: true,
				Bytes: fMarshal(t, asn1.RawValue{Class: 2, Tag: 1, IsCompound: true, Bytes: other})}
		},
		"loose boolean":     func(sd *fSignedData) { sd.Certs = set([]byte{0xa0, 3, 1, 1, 1}) },
		"loose integer":     func(sd *fSignedData) { sd.Certs = set([]byte{0xa0, 4, 2, 2, 0, 1}) },
		"string in pieces":  func(sd *fSignedData) { sd.Certs = set([]byte{0xa0, 5, 0x24, 3, 4, 1, 0}) },
		"null with content": func(sd *fSignedData) { sd.Certs = set([]byte{0xa0, 3, 5, 1, 0}) },
	} {
		f := newForgery(newPKI(t, nil)).revocable(t)
		f.tamper = tamper
		if token, err := Parse(f.build(t)); !isParseError(err) || token != nil {
			t.Errorf("%s: %t, %v", name, token != nil, err)
		}
	}
}

func TestResponses(t *testing.T) {
	token := newForgery(newPKI(t, nil)).build(t)
	granted := must[[]byte](t)(marshalGranted(token))
	if got := must[*Token](t)(ParseResponse(granted)); !bytes.Equal(got.Raw, token) {
		t.Error("another token")
	}
	type status struct {
		Status int
		Text   []asn1.RawValue `asn1:"optional,omitempty"`
		Fail   asn1.BitString  `asn1:"optional"`
	}
	type response struct {
		Status status
		Token  asn1.RawValue `asn1:"optional"`
	}
	texts := func(all ...string) (out []asn1.RawValue) {
		for _, s := range all {
			out = append(out, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(s)})
		}
		return out
	}
	bit := func(n int) asn1.BitString {
		b := failBits(FailInfo(n))
		return asn1.BitString{Bytes: b[1:], BitLength: n + 1}
	}
	for _, c := range []struct {
		name string
		response
		want string
	}{
		{"badAlg", response{Status: status{Status: 2, Fail: bit(0)}}, "authority refused: rejection, badAlg"},
		{"systemFailure", response{Status: status{Status: 2, Text: texts("out", "of order"), Fail: bit(25)}},
			`authority refused: rejection, systemFailure: "out of order"`},
		{"unknown bit", response{Status: status{Status: 2, Fail: bit(9)}}, "authority refused: rejection, failure 9"},
		{"waiting", response{Status: status{Status: 3}}, "authority refused: waiting, no reason given"},
		{"unknown status", response{Status: status{Status: 77}}, "authority refused: status 77, no reason given"},
		{"control characters", response{Status: status{Status: 2, Text: texts("a\x1b[31m\nb")}}, `authority refused: rejection, no reason given: "a[31mb"`},
		{"granted without a token", response{}, "parsing TimeStampResp: granted without a token"},
		{"refused with a token", response{Status: status{Status: 2}, Token: asn1.RawValue{FullBytes: token}},
			"parsing TimeStampResp: refused with a token"},
		{"granted with junk", response{Token: asn1.RawValue{FullBytes: []byte{5, 0}}}, "parsing ContentInfo: malformed"},
	} {
		if got, err := ParseResponse(fMarshal(t, c.response)); err == nil || err.Error() != c.want {
			t.Errorf("%s: %t, %v", c.name, got != nil, err)
		}
	}
	if _, err := ParseResponse(append(granted, 0)); !isParseError(err) {
		t.Errorf("trailing byte: %v", err)
	}
	text := strings.Repeat("é", 5000)
	_, err := ParseResponse(fMarshal(t, response{Status: status{Status: 2, Text: texts(text, text)}}))
	if refused := new(RefusedError); !errors.As(err, &refused) || len(refused.Text) > maxStatusText {
		t.Errorf("long text: %.100v", err)
	}
}
