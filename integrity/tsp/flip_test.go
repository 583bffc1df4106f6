package tsp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"strings"
	"testing"
	"time"
)

// TestFlippedBytes changes every byte of a token that passes all checks. Each
// time it is refused, or some check is not OK any more: but for the copy of the
// root, which nothing needs because the root itself is known. A change in the
// root's subject makes it an unknown certificate, which is named as unused;
// elsewhere in the root it may be that, too.
func TestFlippedBytes(t *testing.T) {
	p := newPKI(t, nil) // whose root is on P-256, to be quick
	l := &Local{Root: p.root, rootKey: p.rootKey.(*ecdsa.PrivateKey), Now: func() time.Time { return testTime }}
	if err := l.makeLeaf("flip test", testTime); err != nil {
		t.Fatal(err)
	}
	token := must[*Token](t)(l.Timestamp(t.Context(), crypto.SHA256, testImprint[:]))
	e := Expect{Hash: crypto.SHA256, Imprint: testImprint[:], Roots: poolOf(l.Root)}
	if bad := notOK(token.Verify(e)); bad != nil {
		t.Fatalf("not OK: %q", bad)
	}
	from := bytes.Index(token.Raw, l.Root.Raw)
	unnoticed := 0
	for i := range token.Raw {
		// The lowest bit changes values within their type, the others change
		// types and lengths too.
		for _, mask := range []byte{0x01, 0x80 >> (i % 7)} {
			der := bytes.Clone(token.Raw)
			der[i] ^= mask
			changed, err := Parse(der)
			if err != nil {
				continue
			}
			checks := changed.Verify(e)
			if notOK(checks) != nil {
				continue
			}
			unnoticed++
			if i < from || i >= from+len(l.Root.Raw) {
				t.Errorf("byte %d ^ %#x is not noticed", i, mask)
			}
			if c := statusOf(t, checks, CheckCertificates); !strings.HasPrefix(c.Detail, "unused") {
				t.Errorf("byte %d ^ %#x: %+v", i, mask, c)
			}
		}
	}
	t.Logf("%d bytes; %d changes in the copy of the root only make it unused", len(token.Raw), unnoticed)
}
