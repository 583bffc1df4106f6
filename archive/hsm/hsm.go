// Package hsm keeps wrapping keys in a token that is reached by PKCS#11 (OASIS, v2.40): a
// hardware security module, or SoftHSM. The keys are made there, are used there and never leave
// it; what they wrapped opens as long as they are there, and with nothing else.
//
// It is the only package that knows the driver, which needs cgo. Built without it, Open says so.
//
// Invariants:
//   - a session that was opened for reading changes nothing in the token;
//   - a label names one key: Generate refuses one that is taken;
//   - no error holds the PIN, nor what is wrapped.
package hsm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Config says how to reach a token.
type Config struct {
	Module string `yaml:"module"`   // absolute path of the PKCS#11 library of the maker
	Token  string `yaml:"token"`    // label of the token
	PIN    string `yaml:"pin-file"` // file that holds the user's PIN on its first line, 0600
}

// Problems says what is wrong with a configuration, by key; nothing is opened.
func (c *Config) Problems() map[string]string {
	problems := map[string]string{}
	if !filepath.IsAbs(c.Module) {
		problems["module"] = "want the absolute path of a PKCS#11 library, such as /usr/lib/softhsm/libsofthsm2.so"
	}
	if c.Token == "" || len(c.Token) > 32 {
		problems["token"] = "want the label of a token, at most 32 bytes"
	}
	if c.PIN == "" {
		problems["pin-file"] = "missing: the file that holds the PIN"
	}
	return problems
}

var (
	// ErrNoKey says that the token holds no key of that label: never made, or destroyed.
	ErrNoKey = errors.New("the token holds no such key: it was destroyed, or is another token's")
	// ErrWrapped says that what is to be unwrapped was changed, or is under another key.
	ErrWrapped = errors.New("it was changed, or is under another key")
)

// maxPIN bounds a PIN file, in bytes.
const maxPIN = 4096

// pin reads the PIN.
func (c *Config) pin() (string, error) {
	fi, err := os.Stat(c.PIN)
	if err != nil {
		return "", fmt.Errorf("reading the PIN of token %q: %w", c.Token, err)
	}
	if perm := fi.Mode().Perm(); perm&0o077 != 0 {
		return "", fmt.Errorf("the permissions of PIN file %s are %#o, others may read it; set them with: chmod 600 %s", c.PIN, perm, c.PIN)
	}
	if fi.Size() > maxPIN {
		return "", fmt.Errorf("PIN file %s has %d bytes, more than %d", c.PIN, fi.Size(), maxPIN)
	}
	b, err := os.ReadFile(c.PIN)
	if err != nil {
		return "", fmt.Errorf("reading the PIN of token %q: %w", c.Token, err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("PIN file %s holds no PIN on its first line", c.PIN)
	}
	return line, nil
}
