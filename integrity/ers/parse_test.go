package ers_test

import (
	"bytes"
	"crypto"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"pgregory.net/rapid"

	"sae/integrity/ers"
)

// der is one DER element of the given parts.
func der(tag byte, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.Tag(tag), func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(parts...)) })
	return b.BytesOrPanic()
}

const (
	integer  = 0x02
	octets   = 0x04
	null     = 0x05
	oid      = 0x06
	sequence = 0x30
	set      = 0x31
	context0 = 0xa0
	context1 = 0xa1
	context2 = 0xa2
)

var (
	version1  = der(integer, []byte{1})
	oidSHA256 = der(oid, []byte{0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1})
	oidSHA512 = der(oid, []byte{0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3})
	oidSigned = der(oid, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2})
	oidTST    = der(oid, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 4})
	sha256DER = der(sequence, oidSHA256)
	listed    = der(sequence, sha256DER)
	hash32    = der(octets, make([]byte, 32))
	aTree     = der(context2, der(sequence, hash32, hash32), der(sequence, hash32))
	attribute = der(sequence, oidSHA256, der(set, version1))
	stated    = der(context0, oidSHA256)
	aToken    = token(oidSHA256)
	aStamp    = der(sequence, stated, aTree, aToken)
)

// token is as much of a TimeStampToken as is read here.
func token(algorithm []byte) []byte {
	imprint := der(sequence, der(sequence, algorithm), der(octets, make([]byte, 32)))
	info := der(sequence, version1, oidSHA256, imprint)
	signed := der(sequence, version1, der(set), der(sequence, oidTST, der(context0, der(octets, info))))
	return der(sequence, oidSigned, der(context0, signed))
}

func record(parts ...[]byte) []byte { return der(sequence, parts...) }

func oneStamp(stamp []byte) []byte {
	return record(version1, listed, der(sequence, der(sequence, stamp)))
}

// TestParseKeepsEveryForm: each is valid and must be written back as it came.
func TestParseKeepsEveryForm(t *testing.T) {
	infos := der(context0, attribute)
	for name, input := range map[string][]byte{
		"ours":             oneStamp(aStamp),
		"no tree":          oneStamp(der(sequence, stated, aToken)),
		"null parameters":  oneStamp(der(sequence, der(context0, oidSHA256, der(null)), aTree, aToken)),
		"implied":          oneStamp(der(sequence, aTree, aToken)),
		"attributes":       oneStamp(der(sequence, stated, der(context1, attribute, attribute), aTree, aToken)),
		"cryptoInfos":      record(version1, listed, infos, der(sequence, der(sequence, aStamp))),
		"null listed":      record(version1, der(sequence, der(sequence, oidSHA256, der(null))), der(sequence, der(sequence, aStamp))),
		"unused algorithm": record(version1, der(sequence, der(sequence, oidSHA512), sha256DER), der(sequence, der(sequence, aStamp))),
	} {
		r, err := ers.Parse(input)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := marshal(t, r); !bytes.Equal(got, input) {
			t.Errorf("%s: written back as %x", name, got)
		}
		if r.Chains[0][0].Hash != crypto.SHA256 {
			t.Errorf("%s: algorithm %v", name, r.Chains[0][0].Hash)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	chains := func(n int) []byte { return bytes.Repeat(der(sequence, aStamp), n) }
	bare := der(sequence, stated, aToken)
	for _, c := range []struct {
		want  string
		input []byte
	}{
		{"not a DER SEQUENCE", nil},
		{"not a DER SEQUENCE", []byte{0x30, 0x80, 0, 0}},
		{"not a DER SEQUENCE", []byte{0x30, 0x81, 0x00}},
		{"not a DER SEQUENCE", der(set, version1)},
		{"longer than", make([]byte, ers.MaxRecord+1)},
		{"1 bytes after the record", append(oneStamp(aStamp), 0)},
		{"version is not an INTEGER", record(listed)},
		{"version is not an INTEGER", record(der(integer, []byte{0, 1}), listed)},
		{"version 2, want 1", record(der(integer, []byte{2}), listed)},
		{"digestAlgorithms: not a SEQUENCE of at least one", record(version1, der(sequence))},
		{"digestAlgorithms: entry 1 is not a SEQUENCE", record(version1, der(sequence, oidSHA256))},
		{"digestAlgorithms: SHA-256 is listed twice", record(version1, der(sequence, sha256DER, sha256DER))},
		{"hash algorithm 1.2.3 is not known", record(version1, der(sequence, der(sequence, der(oid, []byte{0x2a, 3}))))},
		{"hash algorithm SHA-256 has parameters", record(version1, der(sequence, der(sequence, oidSHA256, version1)))},
		{"hash algorithm SHA-256 has parameters", record(version1, der(sequence, der(sequence, oidSHA256, der(null), der(null))))},
		{"hash algorithm has no OBJECT IDENTIFIER", record(version1, der(sequence, der(sequence)))},
		{"cryptoInfos: no Attribute", record(version1, listed, der(context0))},
		{"cryptoInfos: malformed Attribute", record(version1, listed, der(context0, sha256DER))},
		{"cryptoInfos: malformed value", record(version1, listed, der(context0, der(sequence, oidSHA256, der(set, []byte{4, 9}))))},
		{"encryptionInfo: not supported", record(version1, listed, der(context1, oidSHA256, version1), der(sequence, der(sequence, aStamp)))},
		{"not a SEQUENCE of at least one chain", record(version1, listed)},
		{"not a SEQUENCE of at least one chain", record(version1, listed, der(sequence))},
		{"chain 1 is not a SEQUENCE of at least one", record(version1, listed, der(sequence, der(sequence)))},
		{"more than 64 chains", record(version1, listed, der(sequence, chains(ers.MaxChains+1)))},
		{"chain 1, time-stamp 1025: more than", record(version1, listed, der(sequence, der(sequence, bytes.Repeat(bare, ers.MaxTimeStamps+1))))},
		{"bytes after archiveTimeStampSequence", record(version1, listed, der(sequence, chains(1)), der(null))},
		{"chain 1, time-stamp 1: not a DER SEQUENCE", oneStamp(der(set, stated, aToken))},
		{"attributes: no Attribute", oneStamp(der(sequence, stated, der(context1), aToken))},
		{"time-stamp 1, reducedHashtree: present but empty", oneStamp(der(sequence, stated, der(context2), aToken))},
		{"list 1 is not a SEQUENCE", oneStamp(der(sequence, stated, der(context2, hash32), aToken))},
		{"list 1: no hash", oneStamp(der(sequence, stated, der(context2, der(sequence)), aToken))},
		{"list 1: hash 1 is not an OCTET STRING", oneStamp(der(sequence, stated, der(context2, der(sequence, version1)), aToken))},
		{"list 1: hash 2 has 31 bytes, want 32", oneStamp(der(sequence, stated, der(context2, der(sequence, hash32, der(octets, make([]byte, 31)))), aToken))},
		{"more than 256 lists", oneStamp(der(sequence, stated, der(context2, bytes.Repeat(der(sequence, hash32), ers.MaxLists+1)), aToken))},
		{"more than 65536 hashes", oneStamp(der(sequence, stated, der(context2, der(sequence, bytes.Repeat(hash32, ers.MaxHashesInList+1))), aToken))},
		{"timeStamp is not a DER ContentInfo", oneStamp(der(sequence, stated, aTree))},
		{"timeStamp is not a ContentInfo of SignedData", oneStamp(der(sequence, stated, der(sequence, oidTST, der(context0))))},
		{"timeStamp is not a ContentInfo of SignedData", oneStamp(der(sequence, stated, der(sequence, oidSigned)))},
		{"timeStamp is not a ContentInfo of SignedData", oneStamp(der(sequence, stated, der(sequence, oidSigned, der(context0), der(null))))},
		{"2 bytes after timeStamp", oneStamp(der(sequence, stated, aToken, der(null)))},
		{"messageImprint cannot be read", oneStamp(der(sequence, der(sequence, oidSigned, der(context0))))},
		{"uses SHA-512, which digestAlgorithms does not list", oneStamp(der(sequence, der(context0, oidSHA512), aToken))},
		{"uses SHA-512, which digestAlgorithms does not list", oneStamp(der(sequence, token(oidSHA512)))},
		{"time-stamp 1: 34 bytes after timeStamp", oneStamp(der(sequence, stated, aToken, hash32))},
	} {
		_, err := ers.Parse(c.input)
		var refused *ers.ParseError
		if !errors.As(err, &refused) {
			t.Errorf("%s: error %v, want a *ParseError", c.want, err)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %q, want %q", err, c.want)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	good := func() *ers.EvidenceRecord { return parse(t, oneStamp(aStamp)) }
	for name, spoil := range map[string]func(r *ers.EvidenceRecord){
		"no chain":          func(r *ers.EvidenceRecord) { r.Chains = nil },
		"empty chain":       func(r *ers.EvidenceRecord) { r.Chains[0] = nil },
		"no token":          func(r *ers.EvidenceRecord) { r.Chains[0][0].Token = nil },
		"token not DER":     func(r *ers.EvidenceRecord) { r.Chains[0][0].Token = []byte{1, 2, 3} },
		"unknown algorithm": func(r *ers.EvidenceRecord) { r.Chains[0][0].Hash = 99 },
		"unknown listed":    func(r *ers.EvidenceRecord) { r.DigestAlgorithms = []crypto.Hash{99} },
		"empty tree":        func(r *ers.EvidenceRecord) { r.Chains[0][0].ReducedHashtree = [][][]byte{} },
		"empty list":        func(r *ers.EvidenceRecord) { r.Chains[0][0].ReducedHashtree[0] = nil },
		"short hash":        func(r *ers.EvidenceRecord) { r.Chains[0][0].ReducedHashtree[0][0] = []byte{1} },
		"version":           func(r *ers.EvidenceRecord) { r.Version = 0 },
		"infos":             func(r *ers.EvidenceRecord) { r.CryptoInfos = []byte{1} },
		"attributes":        func(r *ers.EvidenceRecord) { r.Chains[0][0].Attributes = attribute },
	} {
		r := good()
		spoil(r)
		if der, err := r.Marshal(); err == nil {
			t.Errorf("%s: written as %x", name, der)
		}
	}
}

// TestMarshalListsEveryAlgorithm that a record composed by hand uses.
func TestMarshalListsEveryAlgorithm(t *testing.T) {
	r := &ers.EvidenceRecord{Version: 1, Chains: [][]ers.ArchiveTimeStamp{
		{{Hash: crypto.SHA256, Token: aToken}}, {{Hash: crypto.SHA512, Token: aToken}},
	}}
	got := parse(t, marshal(t, r)).DigestAlgorithms
	if !slices.Equal(got, []crypto.Hash{crypto.SHA256, crypto.SHA512}) {
		t.Errorf("listed: %v", got)
	}
}

func drawStamp(t *rapid.T, h crypto.Hash) ers.ArchiveTimeStamp {
	hash := rapid.SliceOfN(rapid.Byte(), h.Size(), h.Size())
	trees := rapid.SliceOfN(rapid.SliceOfN(hash, 1, 4), 0, 5)
	stamp := ers.ArchiveTimeStamp{Hash: h, Token: token(oidSHA256)}
	if tree := trees.Draw(t, "tree"); len(tree) > 0 {
		stamp.ReducedHashtree = tree
	}
	return stamp
}

func TestParseReversesMarshal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hashes := rapid.SampledFrom([]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256})
		var r *ers.EvidenceRecord
		for range rapid.IntRange(1, 4).Draw(t, "chains") {
			h := hashes.Draw(t, "hash")
			if r == nil {
				r = ers.New(drawStamp(t, h))
			} else {
				r.AppendChain(drawStamp(t, h))
			}
			for range rapid.IntRange(0, 3).Draw(t, "renewals") {
				r.Append(drawStamp(t, h))
			}
		}
		der, err := r.Marshal()
		if err != nil {
			t.Fatalf("writing: %v", err)
		}
		back, err := ers.Parse(der)
		if err != nil {
			t.Fatalf("reading back: %v", err)
		}
		again, err := back.Marshal()
		if err != nil || !bytes.Equal(again, der) {
			t.Fatalf("written as %x, then as %x (%v)", der, again, err)
		}
		if !equal(r, back) {
			t.Fatalf("read back as another record")
		}
	})
}

func equal(a, b *ers.EvidenceRecord) bool {
	sameHash := func(a, b []byte) bool { return bytes.Equal(a, b) }
	sameList := func(a, b [][]byte) bool { return slices.EqualFunc(a, b, sameHash) }
	sameStamp := func(a, b ers.ArchiveTimeStamp) bool {
		return a.Hash == b.Hash && bytes.Equal(a.Token, b.Token) && bytes.Equal(a.Attributes, b.Attributes) &&
			slices.EqualFunc(a.ReducedHashtree, b.ReducedHashtree, sameList)
	}
	return a.Version == b.Version && slices.Equal(a.DigestAlgorithms, b.DigestAlgorithms) &&
		slices.EqualFunc(a.Chains, b.Chains, func(a, b []ers.ArchiveTimeStamp) bool { return slices.EqualFunc(a, b, sameStamp) })
}

func FuzzParse(f *testing.F) {
	f.Add(oneStamp(aStamp))
	f.Add(oneStamp(der(sequence, der(context1, attribute), aTree, aToken)))
	f.Add(record(version1, listed, der(context0, attribute), der(sequence, der(sequence, aStamp, aStamp), der(sequence, aStamp))))
	f.Add(record(version1, listed, der(context1, oidSHA256, version1), der(sequence)))
	f.Fuzz(func(t *testing.T, input []byte) {
		r, err := ers.Parse(input)
		if err != nil {
			var refused *ers.ParseError
			if !errors.As(err, &refused) {
				t.Fatalf("error %v is no *ParseError", err)
			}
			return
		}
		back, err := r.Marshal()
		if err != nil || !bytes.Equal(back, input) {
			t.Fatalf("written back as %x (%v)", back, err)
		}
	})
}
