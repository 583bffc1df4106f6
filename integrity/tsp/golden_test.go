package tsp

import (
	"crypto"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGoldenTokens: every token that a release of the embedded authority made is
// still good. testdata/NAME.token stamps the SHA-256 of "what is stamped" at
// 2026-03-01 12:00:00 UTC, under the root NAME.root.pem. Files are only added.
func TestGoldenTokens(t *testing.T) {
	files := must[[]string](t)(filepath.Glob("testdata/*.token"))
	if len(files) == 0 {
		t.Fatal("no golden tokens")
	}
	for _, file := range files {
		token := must[*Token](t)(Parse(must[[]byte](t)(os.ReadFile(file))))
		root := must[[]byte](t)(os.ReadFile(strings.TrimSuffix(file, ".token") + ".root.pem"))
		e := Expect{Hash: crypto.SHA256, Imprint: testImprint[:],
			Roots: poolOf(must[[]*x509.Certificate](t)(ParseCertificates(root))...)}
		if bad := notOK(token.Verify(e)); bad != nil || !token.Time.Equal(testTime) {
			t.Errorf("%s: at %v, not OK: %q", file, token.Time, bad)
		}
	}
}
