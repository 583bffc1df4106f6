package bundle

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"sae/integrity"
)

// Options say whom a verifier trusts.
type Options struct {
	// Roots are the roots of the time-stamping authorities. nil: the bundle is
	// verified against the roots that it carries itself, and the report says that
	// the time then rests on the bundle's own word.
	Roots *x509.CertPool
	// LedgerKey, when not empty, is the ledger's note verifier key as the verifier
	// knows it. Empty: the key in the bundle, which the time-stamps do not cover.
	LedgerKey string
}

// Verdict is the outcome of a verification.
type Verdict string

// The verdicts.
const (
	Verified   Verdict = "verified"                                        // no check failed, under roots the verifier gave
	OwnRoots   Verdict = "verified, but only under the bundle's own roots" // whoever made the bundle could have made the time-stamps
	NotTrusted Verdict = "failed"
)

// Document is what a bundle proves about one data object.
type Document struct {
	Member    string    `json:"member"`
	ID        string    `json:"id"`
	Unit      string    `json:"unit"`
	SHA256    string    `json:"sha256"`
	Archived  time.Time `json:"archived"`  // time of the ledger entry
	Stamped   time.Time `json:"stamped"`   // proof of existence: genTime of the first token
	Operation string    `json:"operation"` // of the deposit
	Index     int64     `json:"ledgerIndex"`
}

// Report is the outcome of Verify: every check that was made, and the verdict.
type Report struct {
	Verdict   Verdict           `json:"verdict"`
	Documents []Document        `json:"documents"`
	Checks    []integrity.Check `json:"checks"`
}

// maxChecks bounds a report, and so the memory of a verification: a bundle of
// maxMembers whose records were renewed a few times has as many.
const maxChecks = 1 << 21

// Verify verifies a bundle. The error is a *ContainerError, or of reading r: then
// there is no report. All else is in the report.
func Verify(r io.ReaderAt, size int64, o Options) (*Report, error) {
	c, err := openContainer(r, size)
	if err != nil {
		return nil, err
	}
	v := &verifier{c: c, options: o, report: &Report{Documents: []Document{}},
		sums: map[string][sha256.Size]byte{}, documents: documents(c.order),
		tokens: map[[sha256.Size]byte]stamped{}, sealed: map[string]sealed{}}
	if err := v.run(); err != nil {
		return nil, err
	}
	v.conclude()
	return v.report, nil
}

type verifier struct {
	c           *opened
	options     Options
	vkey        string
	key         note.Verifier // of vkey
	report      *Report
	members     []string // that were accounted for, in the order of Write
	sums        map[string][sha256.Size]byte
	documents   map[string]string             // the member of each data object, by identifier
	tokens      map[[sha256.Size]byte]stamped // verified, by token and imprint
	sealed      map[string]sealed             // by signed checkpoint
	lastReceipt receipt
	last        time.Time                                  // of the last token
	text        struct{ proofs, checkpoints bytes.Buffer } // parts of report.txt, written again
}

func (v *verifier) add(name, target string, err error) bool {
	c := integrity.Check{Name: name, Target: target, Status: integrity.OK}
	if err != nil {
		c.Status, c.Detail = integrity.Failed, err.Error()
	}
	v.report.Checks = append(v.report.Checks, c)
	return err == nil
}

func (v *verifier) notCheckable(name, target, why string) {
	v.report.Checks = append(v.report.Checks, integrity.Check{Name: name, Target: target, Status: integrity.NotCheckable, Detail: why})
}

// run does every check; its error is for what cannot be read at all.
func (v *verifier) run() error {
	if err := v.checkSums(); err != nil {
		return err
	}
	if b, err := v.take("mimetype"); err != nil || string(b) != mediaType {
		return &ContainerError{"mimetype", "not " + mediaType}
	}
	if err := v.readKey(); err != nil {
		return err
	}
	if err := v.each("ledger/checkpoint-", ".txt", v.checkpoint); err != nil {
		return err
	}
	if err := v.each("ledger/", ".item", v.proof); err != nil {
		return err
	}
	v.descriptions()
	v.texts()
	v.expect(sumsName)
	return v.nothingElse()
}

// each calls do for what stands between prefix and suffix in names of members,
// in their order.
func (v *verifier) each(prefix, suffix string, do func(id string) error) error {
	for _, name := range v.c.order {
		id, ok := between(name, prefix, suffix)
		if !ok {
			continue
		}
		if err := do(id); err != nil {
			return err
		}
		if len(v.report.Checks) > maxChecks {
			return &ContainerError{Why: fmt.Sprintf("it asks for more than %d checks", maxChecks)}
		}
	}
	return nil
}

func between(name, prefix, suffix string) (string, bool) {
	s, ok := strings.CutPrefix(name, prefix)
	s, ok2 := strings.CutSuffix(s, suffix)
	return s, ok && ok2 && s != "" && !strings.Contains(s, "/")
}

// checkSums hashes every member, once, and holds it against SHA256SUMS, which
// must list exactly the others in their order.
func (v *verifier) checkSums() error {
	var want []byte
	for _, name := range v.c.order {
		sum, err := v.c.sum(name)
		if err != nil {
			return err
		}
		v.sums[name] = sum
		if name != sumsName {
			want = appendSum(want, sum[:], name)
		}
	}
	have, ok := v.sums[sumsName]
	if !ok {
		return &ContainerError{sumsName, "missing"}
	}
	var err error
	if have != sha256.Sum256(want) {
		err = fmt.Errorf("it does not list the members as they are%s", v.sumsDifference(string(want)))
	}
	v.add("member digests", sumsName, err)
	return nil
}

// sumsDifference says where SHA256SUMS differs from what it should be.
func (v *verifier) sumsDifference(want string) string {
	list, err := v.c.small(sumsName)
	if err != nil {
		return ""
	}
	h, w := strings.Split(string(list), "\n"), strings.Split(want, "\n")
	for i := range min(len(h), len(w)) {
		if h[i] != w[i] {
			_, name, _ := strings.Cut(w[i], "  ")
			return fmt.Sprintf(": line %d, member %q", i+1, name)
		}
	}
	return ": number of lines"
}

// expect accounts for members, in the order in which Write writes them.
func (v *verifier) expect(names ...string) { v.members = append(v.members, names...) }

// same compares a member with what it must be, byte for byte.
func (v *verifier) same(name string, want []byte) error {
	have, err := v.c.small(name)
	if err == nil && !bytes.Equal(have, want) {
		err = fmt.Errorf("%s is not what the other members make it", name)
	}
	return err
}

// take accounts for a member and reads it.
func (v *verifier) take(name string) ([]byte, error) {
	v.expect(name)
	return v.c.small(name)
}

// texts compares the members that are for people with what this program would
// write. They prove nothing, so a difference is not a failure: it is said, since
// another version's texts differ, and a forged script must not be run blindly.
func (v *verifier) texts() {
	report := slices.Concat(reportHead(v.vkey), v.text.proofs.Bytes(), v.text.checkpoints.Bytes())
	for _, m := range textMembers(report) {
		v.expect(m.name)
		if err := v.same(m.name, m.data); err != nil {
			v.notCheckable("text for people", m.name, "it is not the one this version writes; read it as nobody's word")
			continue
		}
		v.add("text for people", m.name, nil)
	}
}

// nothingElse refuses members that no check accounted for, and members out of
// their place.
func (v *verifier) nothingElse() error {
	expected := map[string]bool{}
	for _, name := range v.members {
		if v.c.members[name] == nil {
			return &ContainerError{name, "missing"}
		}
		expected[name] = true
	}
	for _, name := range v.c.order {
		if !expected[name] {
			return &ContainerError{name, "does not belong in a proof bundle"}
		}
	}
	if !slices.Equal(v.members, v.c.order) {
		return &ContainerError{Why: "its members are not in their order"}
	}
	return nil
}

// conclude draws the verdict. A check that could not be made leaves the verdict
// to the others: each says in the report what it lacks.
func (v *verifier) conclude() {
	if len(v.report.Documents) == 0 {
		v.add("documents", "", fmt.Errorf("the bundle proves nothing: it holds no document"))
	}
	if want := stampOf(v.last); !v.last.IsZero() && v.c.when != want {
		v.add("container time", "", fmt.Errorf("the members do not carry the time of the last time-stamp"))
	}
	failed := func(c integrity.Check) bool { return c.Status == integrity.Failed }
	switch {
	case slices.ContainsFunc(v.report.Checks, failed):
		v.report.Verdict = NotTrusted
	case v.options.Roots == nil:
		v.report.Verdict = OwnRoots
	default:
		v.report.Verdict = Verified
	}
}
