// Command sae-verify verifies proof bundles and destruction certificates. It needs no archive,
// and nothing but the file, the roots that the auditor trusts, and this program.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"sae/integrity/bundle"
	"sae/integrity/certificate"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run gives the exit status: 0 verified, 1 not, 2 wrong usage.
func run(args []string, out, errOut io.Writer) int {
	var o bundle.FileOptions
	f := flag.NewFlagSet("sae-verify", flag.ContinueOnError)
	f.SetOutput(errOut)
	f.Usage = func() {
		fmt.Fprintf(errOut, "usage: sae-verify [--roots ROOTS.pem] [--ledger-key KEY] [--trust-bundled-roots] [--json] FILE...\n\n%s\n\n", bundle.VerifyHelp)
		f.PrintDefaults()
	}
	f.StringVar(&o.Roots, "roots", "", "PEM `file` of the time-stamping authorities' root certificates")
	f.StringVar(&o.LedgerKey, "ledger-key", "", "the ledger's `key` (note verifier key), when you know it")
	f.BoolVar(&o.TrustBundledRoots, "trust-bundled-roots", false, "accept the roots that the bundle carries itself")
	asJSON := f.Bool("json", false, "print JSON")
	if err := f.Parse(args); err != nil {
		return 2
	}
	if f.NArg() == 0 {
		f.Usage()
		return 2
	}
	status := 0
	for _, path := range f.Args() {
		if err := verify(path, o, *asJSON, out); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				fmt.Fprintln(errOut, "sae-verify:", line)
			}
			status = 1
		}
	}
	return status
}

func verify(path string, o bundle.FileOptions, asJSON bool, out io.Writer) error {
	report, err := certificate.VerifyAny(path, o)
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(out).Encode(report)
	} else {
		err = report.WriteText(out)
	}
	if err == nil && !report.Accepted(o.TrustBundledRoots) {
		err = fmt.Errorf("%s: %s", path, report.Outcome())
	}
	return err
}
