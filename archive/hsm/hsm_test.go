//go:build cgo

package hsm_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"sae/archive/hsm"
	"sae/archive/hsm/hsmtest"
)

func open(t *testing.T, c hsm.Config, write bool) *hsm.Token {
	t.Helper()
	token, err := hsm.Open(c, write)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := token.Close(); err != nil {
			t.Error(err)
		}
	})
	return token
}

func TestKeys(t *testing.T) {
	token := open(t, hsmtest.Token(t), true)
	root, ad := bytes.Repeat([]byte{0xa5}, 32), []byte("ad")
	for _, label := range []string{"a/1", "a/2", "b/1"} {
		if err := token.Generate(label); err != nil {
			t.Fatal(err)
		}
	}
	if err := token.Generate("a/1"); err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("a label twice: %v", err)
	}
	wrapped, err := token.Wrap("a/1", ad, root)
	if err != nil || len(wrapped) != 12+32+16 || bytes.Contains(wrapped, root[:8]) {
		t.Fatalf("%x %v", wrapped, err)
	}
	if got, err := token.Unwrap("a/1", ad, wrapped); err != nil || !bytes.Equal(got, root) {
		t.Fatalf("%x %v", got, err)
	}
	flipped := bytes.Clone(wrapped)
	flipped[20] ^= 1
	for name, try := range map[string]func() ([]byte, error){
		"changed":     func() ([]byte, error) { return token.Unwrap("a/1", ad, flipped) },
		"other data":  func() ([]byte, error) { return token.Unwrap("a/1", []byte("da"), wrapped) },
		"another key": func() ([]byte, error) { return token.Unwrap("a/2", ad, wrapped) },
		"cut":         func() ([]byte, error) { return token.Unwrap("a/1", ad, wrapped[:12]) },
	} {
		if got, err := try(); got != nil || !errors.Is(err, hsm.ErrWrapped) {
			t.Errorf("%s: %x %v", name, got, err)
		}
	}
	if labels, err := token.Labels("a/"); err != nil || !slices.Equal(slices.Sorted(slices.Values(labels)), []string{"a/1", "a/2"}) {
		t.Error(labels, err)
	}
	if err := token.Destroy("a/1"); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{token.Destroy("a/1"), func() error { _, err := token.Unwrap("a/1", ad, wrapped); return err }()} {
		if !errors.Is(err, hsm.ErrNoKey) {
			t.Errorf("a destroyed key: %v", err)
		}
	}
	if err := token.Generate("a/1"); err != nil {
		t.Fatal(err)
	}
	if _, err := token.Unwrap("a/1", ad, wrapped); !errors.Is(err, hsm.ErrWrapped) {
		t.Errorf("another key of the same label: %v", err)
	}
}

// TestReadingChangesNothing: a session for reading can neither make nor destroy.
func TestReadingChangesNothing(t *testing.T) {
	c := hsmtest.Token(t)
	writer := open(t, c, true)
	if err := writer.Generate("k"); err != nil {
		t.Fatal(err)
	}
	reader := open(t, c, false) // beside the writer
	if reader.Generate("l") == nil || reader.Destroy("k") == nil {
		t.Error("a session for reading wrote")
	}
	if labels, err := reader.Labels(""); err != nil || !slices.Equal(labels, []string{"k"}) {
		t.Error(labels, err)
	}
}

// TestKeysStay asks the token itself: keys are sensitive, were never extractable, and their value
// is not given.
func TestKeysStay(t *testing.T) {
	c := hsmtest.Token(t)
	if err := open(t, c, true).Generate("k"); err != nil {
		t.Fatal(err)
	}
	ctx := pkcs11.New(c.Module) // initialised by the session that is open
	slots, err := ctx.GetSlotList(true)
	if err != nil {
		t.Fatal(err)
	}
	session, err := ctx.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	defer ctx.CloseSession(session)
	if err := ctx.FindObjectsInit(session, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, "k")}); err != nil {
		t.Fatal(err)
	}
	keys, _, err := ctx.FindObjects(session, 2)
	if err != nil || len(keys) != 1 || ctx.FindObjectsFinal(session) != nil {
		t.Fatal(keys, err)
	}
	for attribute, want := range map[uint]byte{pkcs11.CKA_SENSITIVE: 1, pkcs11.CKA_ALWAYS_SENSITIVE: 1, pkcs11.CKA_EXTRACTABLE: 0, pkcs11.CKA_NEVER_EXTRACTABLE: 1, pkcs11.CKA_PRIVATE: 1} {
		a, err := ctx.GetAttributeValue(session, keys[0], []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
		if err != nil || len(a[0].Value) != 1 || a[0].Value[0] != want {
			t.Errorf("attribute %#x: %v %v, want %d", attribute, a, err, want)
		}
	}
	if a, err := ctx.GetAttributeValue(session, keys[0], []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)}); err == nil {
		t.Errorf("the token gives %d bytes of the key", len(a[0].Value))
	}
}

// TestOpenSaysWhatIsMissing: each error names the file or the token and what to do, never the PIN.
func TestOpenSaysWhatIsMissing(t *testing.T) {
	c := hsmtest.Token(t)
	file := func(name, text string, perm os.FileMode) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), perm); err != nil {
			t.Fatal(err)
		}
		return path
	}
	wrong := "99887766"
	for _, x := range []struct {
		name, want string
		change     func(*hsm.Config)
	}{
		{"wrong PIN", "refuses the PIN in", func(c *hsm.Config) { c.PIN = file("pin", wrong+"\n", 0o600) }},
		{"no PIN file", "no such file", func(c *hsm.Config) { c.PIN = filepath.Join(t.TempDir(), "none") }},
		{"empty PIN file", "holds no PIN", func(c *hsm.Config) { c.PIN = file("pin", "", 0o600) }},
		{"open PIN file", "chmod 600", func(c *hsm.Config) { c.PIN = file("pin", hsmtest.PIN, 0o644) }},
		{"no module", "no such file", func(c *hsm.Config) { c.Module = "/nowhere/lib.so" }},
		{"not a module", "cannot be loaded", func(c *hsm.Config) { c.Module = file("lib.so", "no library", 0o700) }},
		{"no such token", `no token labelled "other"`, func(c *hsm.Config) { c.Token = "other" }},
	} {
		bad := c
		x.change(&bad)
		_, err := hsm.Open(bad, true)
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
			continue
		}
		if strings.Contains(err.Error(), hsmtest.PIN) || strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: the error holds a PIN", x.name)
		}
	}
	open(t, c, false) // and none of them left the module in use
}

func TestProblems(t *testing.T) {
	bad := hsm.Config{Module: "lib.so", Token: strings.Repeat("x", 33)}
	if p := bad.Problems(); len(p) != 3 {
		t.Error(p)
	}
	good := hsm.Config{Module: "/lib.so", Token: "t", PIN: "pin"}
	if p := good.Problems(); len(p) != 0 {
		t.Error(p)
	}
}
