package bundle

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"sae/integrity"
	"sae/integrity/tsp"
)

// VerifyHelp explains verification on a command line.
const VerifyHelp = `Verify a proof bundle, or the JSON of a destruction certificate, without any archive
or network.

Every check is printed: OK, failed, or not checkable with the reason. The exit
status is 0 when the bundle is verified, 1 when it is not.

--roots names a PEM file with the root certificates of the time-stamping
authorities that you trust, obtained from them or from a trusted list. Without it
the bundle is verified against the roots that it carries itself, which only shows
that it hangs together: the exit status is then 1, unless --trust-bundled-roots.`

// FileOptions are Options as a command line gives them.
type FileOptions struct {
	Roots             string // PEM file; "" for none
	LedgerKey         string // note verifier key
	TrustBundledRoots bool
}

// Options reads the files that are named.
func (o FileOptions) Options() (out Options, err error) {
	out.LedgerKey = o.LedgerKey
	if o.Roots == "" {
		return out, nil
	}
	if out.Roots, err = readRoots(o.Roots); err != nil {
		return out, fmt.Errorf("reading roots: %w", err)
	}
	return out, nil
}

// VerifyFile verifies the bundle in a file.
func VerifyFile(path string, o FileOptions) (*Report, error) {
	options, err := o.Options()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	report, err := Verify(f, fi.Size(), options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return report, nil
}

// readRoots reads PEM certificates. Between them a PEM file may hold remarks, but a
// file that is not text is refused: a bundle given by mistake in the place of the
// roots holds certificates too, its own.
func readRoots(path string) (*x509.CertPool, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return nil, fmt.Errorf("%s: not a text file of PEM certificates", path)
	}
	certs, err := tsp.ParseCertificates(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}

// Accepted says whether the verdict is enough for a verifier who does or does not
// take the bundle's own roots.
func (r *Report) Accepted(ownRoots bool) bool {
	return r.Verdict == Verified || r.Verdict == OwnRoots && ownRoots
}

// Outcome is the verdict.
func (r *Report) Outcome() Verdict { return r.Verdict }

// WriteText writes the report for a person.
func (r *Report) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	WriteChecks(b, r.Checks)
	for _, d := range r.Documents {
		fmt.Fprintf(b, "\n%s\n  sha256        %s\n", d.Member, d.SHA256)
		fmt.Fprintf(b, "  archived      %s, entry %d of the ledger\n", d.Archived.Format(time.RFC3339), d.Index)
		fmt.Fprintf(b, "  time-stamped  %s\n", d.Stamped.UTC().Format(time.RFC3339))
	}
	WriteVerdict(b, r.Verdict, r.Checks)
	return b.Flush()
}

// WriteChecks writes checks for a person, a line each.
func WriteChecks(b io.Writer, checks []integrity.Check) {
	for _, c := range checks {
		fmt.Fprintf(b, "%-13s  %-24s  %s\n", c.Status, c.Name, Plain(c.Target))
		if c.Detail != "" && c.Status != integrity.OK {
			fmt.Fprintf(b, "               %s\n", Plain(strings.ReplaceAll(c.Detail, "\n", "; ")))
		}
	}
}

// WriteVerdict writes a verdict for a person, and what it lacks.
func WriteVerdict(b io.Writer, v Verdict, checks []integrity.Check) {
	open := 0
	for _, c := range checks {
		if c.Status == integrity.NotCheckable {
			open++
		}
	}
	fmt.Fprintf(b, "\nverdict: %s\n", v)
	if open > 0 {
		fmt.Fprintf(b, "%d checks could not be made: each says above what it lacks.\n", open)
	}
	if v == OwnRoots {
		fmt.Fprintln(b, "No roots were given. The time rests on certificates that came with the file:\n"+
			"whoever made it could have made them too. Give --roots, or accept it with --trust-bundled-roots.")
	}
}
