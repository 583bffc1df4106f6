package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sae/archive/hsm/hsmtest"
)

// TestScripts runs the stories in testdata/script. Each begins with an archive in
// the folder named by SAE_DIR, unless it makes its own; ROOTS is its authority's root. The program is
// built for it: that of the tests, with the race detector in it, takes three times as long to begin.
func TestScripts(t *testing.T) { testscript.Run(t, scripts(filepath.Dir(buildProgram(t)), "")) }

// scripts are the stories with the program in a folder; asked is for atADistance.
func scripts(programs, asked string) testscript.Params {
	return testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv(atADistance, asked)
			env.Setenv("SAE_DIR", env.WorkDir+"/archive")
			env.Setenv("SAE_AGENT", "tester")
			env.Setenv("PATH", programs+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("ROOTS", env.WorkDir+"/archive/keys/tsa-ca.pem")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": exitStatus,
			"idof":   idOf,
		},
		Condition: func(cond string) (bool, error) {
			if cond != "softhsm" {
				return false, fmt.Errorf("%q is not a condition", cond)
			}
			err := hsmtest.Missing()
			if err != nil && os.Getenv("SAE_REQUIRE_PEERS") != "" {
				return false, err
			}
			return err == nil, nil
		},
	}
}

// exitStatus runs sae and wants an exit status: status 2 sae bogus.
func exitStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N program ARGS...")
	}
	err := ts.Exec(args[1], args[2:]...)
	if got := exitCodeOf(err); got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}
func exitCodeOf(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "0"
	case errors.As(err, &exit):
		return fmt.Sprint(exit.ExitCode())
	}
	return err.Error()
}

// idOf puts the identifier at the beginning of a line of the last output that ends
// with a text into a variable: idof UNIT 'notif.txt'.
func idOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: idof NAME TEXT")
	}
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if strings.HasSuffix(strings.TrimSpace(line), args[1]) {
			for _, word := range strings.Fields(line) {
				if len(word) == 27 {
					ts.Setenv(args[0], word)
					return
				}
			}
		}
	}
	ts.Fatalf("no line of the last output ends with %q", args[1])
}
