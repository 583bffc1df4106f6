package tsp

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sae/integrity"
)

// missing skips a test that needs something from outside, unless the
// environment demands that all be there.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("SAE_REQUIRE_PEERS") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

const realTokens = "../../../shared/ers"

// realToken gives the tokens in a file: a bare one, or those of an evidence
// record.
func realToken(t testing.TB, name string) [][]byte {
	t.Helper()
	der, err := os.ReadFile(filepath.Join(realTokens, name))
	if errors.Is(err, fs.ErrNotExist) {
		missing(t, "no real tokens: want "+realTokens+" beside the repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	return tokensIn(der)
}

func tokensIn(der []byte) (out [][]byte) {
	s := cryptobyte.String(der)
	for !s.Empty() {
		var e, body cryptobyte.String
		var tag cbasn1.Tag
		if !s.ReadAnyASN1Element(&e, &tag) || tag&0x20 == 0 {
			continue
		}
		if _, err := parseSignedData(e); err == nil {
			out = append(out, e)
		} else if inner := e; inner.ReadAnyASN1(&body, &tag) {
			out = append(out, tokensIn(body)...)
		}
	}
	return out
}

// TestRealTokens: tokens of commercial authorities and test beds pass all checks
// but those of what they do not carry, at their time.
func TestRealTokens(t *testing.T) {
	for _, c := range []struct {
		file    string
		tokens  int
		revoked bool // carries revocation data
	}{
		{"d-trust.tsr", 1, false},
		{"BIN-1_ER.ers", 1, true},
		{"BIN-2_ER.ers", 2, true},
		{"bsi_gov_vte-lza_002.ers", 1, true},
		{"er-asn1-simple.ers", 1, false},
		{"er-asn1-tst-renewal.ers", 2, true},
		{"1_0_Initial.er", 1, false},
		{"1_1_Renew_Unsorted.er", 2, false},
	} {
		t.Run(c.file, func(t *testing.T) {
			tokens := realToken(t, c.file)
			if len(tokens) != c.tokens {
				t.Fatalf("%d tokens", len(tokens))
			}
			for i, der := range tokens {
				token := must[*Token](t)(Parse(der))
				want := []string{CheckAnchor}
				// The second token of BIN-2 carries the OCSP response of the
				// first, which is older than it by 48 seconds.
				if !c.revoked || c.file == "BIN-2_ER.ers" && i == 1 {
					want = append(want, CheckRevocation)
				}
				checks := token.Verify(Expect{Hash: token.Hash, Imprint: token.Imprint})
				if got := notOK(checks); !slices.Equal(got, want) {
					t.Errorf("token %d: not OK: %q", i, got)
				}
				for _, name := range want {
					if got := statusOf(t, checks, name); got.Status != integrity.NotCheckable {
						t.Errorf("token %d: %+v", i, got)
					}
				}
				top := token.Certificates[slices.IndexFunc(token.Certificates, selfSigned)]
				if got := statusOf(t, token.Verify(Expect{Roots: poolOf(top)}), CheckAnchor); got.Status != integrity.OK {
					t.Errorf("token %d with its root trusted: %+v", i, got)
				}
			}
		})
	}
}

// TestRealBadToken: the message digest was changed.
func TestRealBadToken(t *testing.T) {
	token := must[*Token](t)(Parse(realToken(t, "BIN-1_ER_malformed.ers")[0]))
	got := statusOf(t, token.Verify(Expect{Hash: token.Hash, Imprint: token.Imprint}), CheckAttributes)
	if got.Status != integrity.Failed {
		t.Errorf("%+v", got)
	}
}
