package bundle

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"sae/integrity"
	"sae/integrity/ers"
	"sae/integrity/tsp"
)

// stamped is a verified token.
type stamped struct {
	time    time.Time
	expires time.Time // end of validity of the certificate that signed it
	checks  []integrity.Check
}

// sealed is a checkpoint whose signature and evidence were verified.
type sealed struct {
	checkpoint integrity.Checkpoint
	token      [sha256.Size]byte // hash of the token that seals it, and with it the documents of the batch
}

func (v *verifier) readKey() error {
	b, err := v.take("ledger/key.txt")
	if err != nil {
		return err
	}
	v.vkey = strings.TrimSuffix(string(b), "\n")
	keyPEM, err := integrity.LedgerKeyPEM(v.vkey)
	if err == nil {
		err = v.same("ledger/key.txt", []byte(v.vkey+"\n"))
	}
	if err == nil {
		v.key, err = note.NewVerifier(v.vkey)
	}
	if err != nil {
		return &ContainerError{"ledger/key.txt", err.Error()}
	}
	v.expect("ledger/key.pem")
	v.add("ledger key", "ledger/key.pem", v.same("ledger/key.pem", keyPEM))
	switch known := v.options.LedgerKey; known {
	case "":
		v.notCheckable("ledger key known", "ledger/key.txt", "no ledger key was given: the checkpoint's signature is verified with the key in the bundle")
	case v.vkey:
		v.add("ledger key known", "ledger/key.txt", nil)
	default:
		v.add("ledger key known", "ledger/key.txt", fmt.Errorf("the bundle carries %s, the verifier knows %s", v.vkey, known))
	}
	return nil
}

// checkpoint verifies a checkpoint, its evidence record and its token.
func (v *verifier) checkpoint(id string) error {
	size, err := strconv.ParseInt(id, 10, 64)
	name := checkpointName(size)
	target := "ledger/" + name + ".txt"
	if err != nil || size < 0 || "checkpoint-"+id != name {
		return &ContainerError{"ledger/checkpoint-" + id + ".txt", "no ledger size in its name"}
	}
	signed, err := v.take(target)
	if err != nil {
		return err
	}
	der, err := v.take(recordName(name))
	if err != nil {
		return err
	}
	cp, err := integrity.ParseCheckpoint(signed, v.key)
	if err == nil && cp.Size != size {
		err = fmt.Errorf("it stands for %d entries", cp.Size)
	}
	good := v.add("checkpoint signature", target, err)
	digest := v.sums[target]
	record, _ := v.record(der, name, []string{target}, digest[:])
	v.manifest(name, dataObject{target, digest[:]})
	if token := v.tokenFiles(name, record); token != nil {
		reportCheckpoint(&v.text.checkpoints, size, token)
		if good {
			v.sealed[string(signed)] = sealed{cp, sha256.Sum256(token.Raw)}
		}
	}
	return nil
}

// manifest holds the manifest of a record against what it must be.
func (v *verifier) manifest(name string, objects ...dataObject) {
	v.expect(manifestName(name))
	v.add("manifest", manifestName(name), v.same(manifestName(name), manifest(recordName(name), objects...)))
}

// record parses and verifies an evidence record over members with the given
// digests, and gives the time since when it proves them. The record is nil when
// it does not parse, the time zero when a check failed.
func (v *verifier) record(der []byte, target string, members []string, digests ...[]byte) (*ers.EvidenceRecord, time.Time) {
	r, err := ers.Parse(der)
	if !v.add("evidence record form", target, err) {
		return nil, time.Time{}
	}
	known := map[crypto.Hash][][]byte{crypto.SHA256: digests}
	checks, at := ers.Verify(r, func(h crypto.Hash) (_ [][]byte, err error) {
		if known[h] == nil {
			known[h], err = v.digests(h, members)
		}
		return known[h], err
	}, v.token)
	for _, c := range checks {
		c.Target = target + ", " + c.Target
		v.report.Checks = append(v.report.Checks, c)
	}
	return r, at
}

// digests hashes members again under another algorithm (RFC 4998 section 5.3).
func (v *verifier) digests(h crypto.Hash, members []string) (out [][]byte, err error) {
	for _, name := range members {
		if !h.Available() {
			return nil, fmt.Errorf("%s cannot be hashed with %v", name, h)
		}
		sum := h.New()
		if err := v.c.copy(sum, name); err != nil {
			return nil, err
		}
		out = append(out, sum.Sum(nil))
	}
	return out, nil
}

// token verifies a token once for each imprint: a bundle holds it many times. A
// token that was renewed must have been renewed while its certificate was valid
// (RFC 4998 section 5.3): until is when.
func (v *verifier) token(der []byte, h crypto.Hash, imprint []byte, target string, until time.Time) (time.Time, []integrity.Check) {
	// No two triples are the same bytes: h gives the length of the imprint.
	id := sha256.Sum256(slices.Concat(der, []byte{byte(h)}, imprint))
	s, ok := v.tokens[id]
	if !ok {
		s = v.verifyToken(der, h, imprint)
		v.tokens[id] = s
	}
	out := slices.Clone(s.checks)
	if !until.IsZero() {
		c := integrity.Check{Name: "renewed in time", Status: integrity.OK}
		if s.expires.Before(until) {
			c.Status = integrity.Failed
			c.Detail = fmt.Sprintf("its certificate expired on %s, it was renewed on %s", s.expires.Format(time.DateOnly), until.Format(time.DateOnly))
		}
		out = append(out, c)
	}
	for i := range out {
		out[i].Target = target
	}
	return s.time, out
}

func (v *verifier) verifyToken(der []byte, h crypto.Hash, imprint []byte) stamped {
	t, err := tsp.Parse(der)
	if err != nil {
		return stamped{checks: []integrity.Check{{Name: "token form", Status: integrity.Failed, Detail: err.Error()}}}
	}
	return stamped{t.Time, expiry(t), t.Verify(tsp.Expect{Hash: h, Imprint: imprint, Roots: v.options.Roots})}
}

// expiry is the end of the first certificate for time-stamping that a token
// carries to end: its signer's, when it carries one, as is usual.
func expiry(t *tsp.Token) (end time.Time) {
	for _, c := range t.Certificates {
		if slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageTimeStamping) && (end.IsZero() || c.NotAfter.Before(end)) {
			end = c.NotAfter
		}
	}
	return end
}

// tokenFiles holds the members under tsa/ against the first token in the record
// of a checkpoint, which is nil when it did not parse.
func (v *verifier) tokenFiles(name string, r *ers.EvidenceRecord) *tsp.Token {
	err := fmt.Errorf("the evidence record cannot be read")
	var token *tsp.Token
	if r != nil {
		token, err = tsp.Parse(r.Chains[0][0].Token)
	}
	if err != nil {
		v.add("token files", "tsa/"+name, err)
		for _, suffix := range []string{".tst", ".pem", ".crl.pem"} {
			if v.c.members["tsa/"+name+suffix] != nil {
				v.expect("tsa/" + name + suffix)
			}
		}
		return nil
	}
	for _, m := range tokenMembers(name, token) {
		v.expect(m.name)
		v.add("token files", m.name, v.same(m.name, m.data))
	}
	if token.Time.After(v.last) {
		v.last = token.Time
	}
	return token
}

// sealedBy gives the checkpoint of a receipt, which must be sealed by the token
// that also seals the document: a batch is the documents and the ledger that
// holds them, under one time-stamp.
func (v *verifier) sealedBy(signed []byte, record *ers.EvidenceRecord) (integrity.Checkpoint, error) {
	s, ok := v.sealed[string(signed)]
	switch {
	case !ok:
		return s.checkpoint, fmt.Errorf("its checkpoint is not one that this bundle proves to be sealed")
	case record == nil || sha256.Sum256(record.Chains[0][0].Token) != s.token:
		return s.checkpoint, fmt.Errorf("its checkpoint is sealed by another time-stamp than the document")
	}
	return s.checkpoint, nil
}
