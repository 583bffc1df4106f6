package ers_test

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"sae/integrity"
	"sae/integrity/ers"
	"sae/integrity/ers/bctest"
	"sae/integrity/tsp"
)

// strictTokens verifies tokens with the strict verifier of RFC 3161 tokens.
func strictTokens(roots *x509.CertPool) ers.TokenVerifier {
	return func(der []byte, h crypto.Hash, imprint []byte, target string, until time.Time) (time.Time, []integrity.Check) {
		token, err := tsp.Parse(der)
		if err != nil {
			return time.Time{}, []integrity.Check{{Name: "token", Target: target, Status: integrity.Failed, Detail: err.Error()}}
		}
		return token.Time, token.Verify(tsp.Expect{Target: target, Hash: h, Imprint: imprint, Roots: roots})
	}
}

// TestRecordWithStrictTokens puts the embedded authority, this package and
// BouncyCastle together.
func TestRecordWithStrictTokens(t *testing.T) {
	verify := bctest.Verifier(t)
	now := time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC)
	local, err := tsp.NewLocal("tests", now)
	if err != nil {
		t.Fatal(err)
	}
	first := now.AddDate(1, 0, 0)
	local.Now = func() time.Time { return now }
	stamp := func(h crypto.Hash, imprint []byte) []byte {
		now = now.AddDate(1, 0, 0)
		token, err := local.Timestamp(t.Context(), h, imprint)
		if err != nil {
			t.Fatal(err)
		}
		return token.Raw
	}
	record := marshal(t, tell(t, stamp, "seal sha256 2/5, renew 1/2, renew 2/2, rehash sha512 1/3, renew 1/1", content, salt))
	roots := x509.NewCertPool()
	roots.AddCert(local.Root)
	checks, since := ers.Verify(parse(t, record), group(content, salt), strictTokens(roots))
	if got := problems(checks); got != nil || !since.Equal(first) {
		t.Errorf("proved since %v, want %v; problems %v", since, first, got)
	}
	pemRoot := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: local.Root.Raw})
	if err := verify(record, [][]byte{content, salt}, pemRoot); err != nil {
		t.Error(err)
	}
	if checks, _ := ers.Verify(parse(t, record), group(content, salt), strictTokens(x509.NewCertPool())); problems(checks) == nil {
		t.Error("accepted without the root")
	}
}
