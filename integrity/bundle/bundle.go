// Package bundle writes and verifies proof bundles: a zip that holds documents
// and everything that is needed to verify them without the archive, for decades.
//
// A bundle is an ASiC-E container with evidence records (ETSI EN 319 162-1
// clause 4.4; RFC 4998): its first member is mimetype, and each data object group
// has an ASiCEvidenceRecordManifest and an evidence record under META-INF. All
// members are stored, none is deflated: what is verified is what lies there.
//
// Members, where ID is a unit's or an object's identifier and SIZE that of a
// ledger checkpoint:
//
//	mimetype
//	documents/OBJECT/FILENAME           the content of an object
//	units/UNIT.json                     the description of a unit
//	salts/ID.bin                        the 32 bytes of salt grouped with it
//	ledger/ID.item                      the ledger item, and its proof in its entry
//	ledger/ID.tlog-proof                the entry and its proof in the checkpoint (C2SP tlog-proof)
//	ledger/checkpoint-SIZE.txt          the signed checkpoint
//	ledger/key.txt, ledger/key.pem      the ledger's key
//	tsa/checkpoint-SIZE.tst             the time-stamp token of the batch (also inside the records)
//	tsa/checkpoint-SIZE.pem             its certificates
//	tsa/checkpoint-SIZE.crl.pem         its revocation lists, if any
//	META-INF/ASiCEvidenceRecordManifest-ID.xml, META-INF/evidencerecord-ID.ers
//	META-INF/ASiCEvidenceRecordManifest-checkpoint-SIZE.xml, META-INF/evidencerecord-checkpoint-SIZE.ers
//	report.txt, README.txt, LISEZMOI.txt, verify.sh
//	SHA256SUMS                          of every other member
//
// Everything that Verify says rests on the bytes of the members; no member tells
// it what to believe.
package bundle

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"sae/integrity"
)

// Media type of the container (ETSI EN 319 162-1 annex A).
const mediaType = "application/vnd.etsi.asic-e+zip"

// Bundle is what goes into a proof bundle.
type Bundle struct {
	LedgerKey   string // note verifier key
	Proofs      []Proof
	Checkpoints []Checkpoint
}

// Proof is one data object, a document or the description of a unit, with its
// evidence.
type Proof struct {
	ID       string // the object's identifier, or the unit's for a description
	Filename string // of a document; "" for a description
	Size     int64
	Open     func() (io.ReadCloser, error) // read twice: the zip wants a checksum first
	Salt     [32]byte
	Record   []byte // RFC 4998, over {content, salt}
	Item     ItemProof
	Receipt  integrity.Receipt // under one of the checkpoints
}

// Checkpoint is a signed checkpoint with its evidence.
type Checkpoint struct {
	Signed []byte
	Size   int64
	Record []byte // RFC 4998, over the signed checkpoint alone
	Token  []byte
}

// member names a member by what it is of.
func (p *Proof) member() string {
	if p.Filename == "" {
		return "units/" + p.ID + ".json"
	}
	return "documents/" + p.ID + "/" + p.Filename
}

func checkpointName(size int64) string { return fmt.Sprintf("checkpoint-%d", size) }

// SafeName is a document's file name as a bundle carries it: what a zip or a file
// system could misread becomes an underscore.
func SafeName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`/\:*?"<>|`, r) || r == 0xfffd {
			return '_'
		}
		return r
	}, name)
	if len(name) > 200 {
		cut := name[:200]
		name = strings.ToValidUTF8(cut, "")
	}
	if strings.Trim(name, ". ") == "" {
		return "document"
	}
	return name
}

var errName = errors.New("not a name a bundle may hold")

// checkName refuses member names that could lead out of a folder or be read in
// two ways.
func checkName(name string) error {
	if name == "" || len(name) > 300 || path.Clean(name) != name || path.IsAbs(name) ||
		strings.HasPrefix(name, "..") || strings.ContainsAny(name, "\\\x00") || strings.HasSuffix(name, "/") {
		return errName
	}
	dir, file := path.Split(name)
	if SafeName(file) != file || strings.Count(dir, "/") > 2 {
		return errName
	}
	return nil
}
