// Package bundle writes and verifies proof bundles: a zip that holds documents
// and everything that is needed to verify them without the archive, for decades.
//
// A bundle is an ASiC-E container with evidence records (ETSI EN 319 162-1
// clause 4.4; RFC 4998): its first member is mimetype, and each data object group
// has an ASiCEvidenceRecordManifest and an evidence record under META-INF. All
// members are stored, none is deflated: what is verified is what lies there.
//
// Invariants:
//   - given members, in their order, and the time of the last token, the zip has one
//     form, and Verify takes no other: no byte of it is free;
//   - a document and the checkpoint that its receipt is under are sealed by one token;
//   - a document comes with the description of its unit, which names and hashes it;
//   - memory of a verification does not grow with documents or evidence, only with
//     the number of members and checks, both bounded.
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
	"strings"
	"unicode"

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

// maxName is the longest name of a member, in bytes.
const maxName = 300

// SafeName is a document's file name as a bundle carries it: what a zip, a file
// system or a terminal could misread becomes an underscore. It changes nothing
// when applied twice.
func SafeName(name string) string {
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, name)
	if len(name) > 200 {
		name = strings.ToValidUTF8(name[:200], "")
	}
	if strings.Trim(name, ". ") == "" {
		return "document"
	}
	// A first dot hides a file, a last dot or space is lost on some file systems.
	if name[0] == '.' {
		name = "_" + name[1:]
	}
	if last := name[len(name)-1]; last == '.' || last == ' ' {
		name = name[:len(name)-1] + "_"
	}
	return name
}

var errName = errors.New("not a name a bundle may hold")

// checkName refuses member names that could lead out of a folder or be read in
// two ways: a name is a path of plain words and a file name that SafeName leaves
// as it is.
func checkName(name string) error {
	dirs := strings.Split(name, "/")
	file := dirs[len(dirs)-1]
	dirs = dirs[:len(dirs)-1]
	if len(name) > maxName || len(dirs) > 2 || SafeName(file) != file {
		return errName
	}
	for _, d := range dirs {
		if !isWord(d) {
			return errName
		}
	}
	return nil
}

// isWord says whether an identifier is of characters that no shell, file system,
// text or URI gives a meaning.
func isWord(s string) bool {
	other := func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' && r != '_'
	}
	return s != "" && s[0] != '-' && strings.IndexFunc(s, other) < 0
}

// Plain is text of others as a report may print it: on one line, and nothing that
// a terminal would obey.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, s)
}
