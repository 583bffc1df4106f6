//go:build !cgo

package hsm

import "errors"

// Token is none: this build cannot load PKCS#11 modules.
type Token struct{}

var errNoCgo = errors.New("this program was built without cgo, which PKCS#11 needs: build it with CGO_ENABLED=1")

// Open says that this build cannot.
func Open(Config, bool) (*Token, error) { return nil, errNoCgo }

func (*Token) Close() error                                  { return nil }
func (*Token) Generate(string) error                         { return errNoCgo }
func (*Token) Wrap(string, []byte, []byte) ([]byte, error)   { return nil, errNoCgo }
func (*Token) Unwrap(string, []byte, []byte) ([]byte, error) { return nil, errNoCgo }
func (*Token) Labels(string) ([]string, error)               { return nil, errNoCgo }
func (*Token) Destroy(string) error                          { return errNoCgo }
