package stream

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

// TestTink reads Tink's streams and has Tink read ours, at every boundary.
func TestTink(t *testing.T) {
	tink, err := subtle.NewAESGCMHKDF(testKey[:], "SHA256", 32, segmentSize, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range boundaries() {
		for _, ad := range [][]byte{nil, testAD} {
			t.Run(fmt.Sprintf("%d bytes, ad %q", n, ad), func(t *testing.T) {
				plain := content(n)
				var theirs bytes.Buffer
				w, err := tink.NewEncryptingWriter(&theirs, ad)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(plain); err != nil {
					t.Fatal(err)
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				if got, err := openAll(testKey, ad, theirs.Bytes()); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("reading Tink's: %d bytes, %v", len(got), err)
				}

				var ours bytes.Buffer
				o, err := NewWriter(&ours, testKey, ad)
				if err != nil {
					t.Fatal(err)
				}
				o.Write(plain)
				if err := o.Close(); err != nil {
					t.Fatal(err)
				}
				r, err := tink.NewDecryptingReader(&ours, ad)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("Tink reading ours: %d bytes, %v", len(got), err)
				}
			})
		}
	}
}
