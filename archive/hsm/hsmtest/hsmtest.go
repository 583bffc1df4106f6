// Package hsmtest makes tokens of SoftHSM2 for tests.
package hsmtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sae/archive/hsm"
)

// Module is where Debian's softhsm2 puts its library.
const Module = "/usr/lib/softhsm/libsofthsm2.so"

// Missing gives why there can be no token, nil when there can.
func Missing() error {
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		return fmt.Errorf("softhsm2 is not installed (apt-get install softhsm2): %w", err)
	}
	if _, err := os.Stat(Module); err != nil {
		return fmt.Errorf("softhsm2 is not installed (apt-get install softhsm2): %w", err)
	}
	return nil
}

// Token makes an empty token in a folder of its own. Where softhsm2 is not installed it skips the
// test, or fails it where SAE_REQUIRE_PEERS is set. Tests that use it do not run at the same time:
// SoftHSM finds its tokens by the environment.
func Token(t testing.TB) hsm.Config {
	t.Helper()
	if err := Missing(); err != nil {
		if os.Getenv("SAE_REQUIRE_PEERS") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	conf, tokens, pin := filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "tokens"), filepath.Join(dir, "pin")
	for path, text := range map[string]string{conf: "directories.tokendir = " + tokens + "\nlog.level = ERROR\n", pin: PIN + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	c := hsm.Config{Module: Module, Token: "sae-test", PIN: pin}
	if out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", c.Token, "--pin", PIN, "--so-pin", "87654321").CombinedOutput(); err != nil {
		t.Fatalf("making a token: %v: %s", err, out)
	}
	return c
}

// PIN is the PIN of the tokens.
const PIN = "20261125"
