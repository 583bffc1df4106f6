package ers_test

import (
	"crypto"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"sae/integrity"
	"sae/integrity/ers"
)

// A story tells how a record came to be, in steps separated by commas:
//
//	seal sha256 2/5     the group is leaf 2 of a batch of 5, stamped
//	renew 1/3           its chain's tokens are renewed as batch 1 of 3
//	rehash sha512 2/4   the hash tree is renewed, the group being leaf 2 of 4
//
// The other leaves are invented.
type story struct {
	t       testing.TB
	stamp   stamper
	members [][]byte
	record  *ers.EvidenceRecord
}

// stamper is a time-stamping authority: it gives a token over an imprint.
type stamper func(h crypto.Hash, imprint []byte) []byte

var hashNames = map[string]crypto.Hash{
	"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512,
}

// tell makes the record of a story for a group.
func tell(t testing.TB, stamp stamper, text string, members ...[]byte) *ers.EvidenceRecord {
	t.Helper()
	s := &story{t: t, stamp: stamp, members: members}
	for step := range strings.SplitSeq(text, ",") {
		verb, rest, _ := strings.Cut(strings.TrimSpace(step), " ")
		switch verb {
		case "seal":
			h, i, n := hashAndPlace(t, rest)
			s.record = ers.New(s.plant(h, i, n, digestsOf(h, members...)))
		case "renew":
			s.renew(place(t, rest))
		case "rehash":
			h, i, n := hashAndPlace(t, rest)
			bound, err := s.record.RenewHashTree(h, digestsOf(h, members...))
			if err != nil {
				t.Fatal(err)
			}
			s.record.AppendChain(s.plant(h, i, n, bound))
		default:
			t.Fatalf("story has no step %q", step)
		}
	}
	return s.record
}

func hashAndPlace(t testing.TB, text string) (crypto.Hash, int, int) {
	t.Helper()
	name, rest, _ := strings.Cut(text, " ")
	i, n := place(t, rest)
	return hashNames[name], i, n
}

func place(t testing.TB, text string) (i, n int) {
	t.Helper()
	if _, err := fmt.Sscanf(text, "%d/%d", &i, &n); err != nil {
		t.Fatalf("reading place %q: %v", text, err)
	}
	return i - 1, n
}

// plant makes the ArchiveTimeStamp of the group as leaf i of a tree of n.
func (s *story) plant(h crypto.Hash, i, n int, members [][]byte) ers.ArchiveTimeStamp {
	s.t.Helper()
	leaves := inventedLeaves(h, n)
	leaves[i] = ers.GroupHash(h, members...)
	root, store := buildTree(s.t, h, leaves)
	siblings, err := ers.Path(h, int64(n), int64(i), store.read)
	if err != nil {
		s.t.Fatal(err)
	}
	return ers.ArchiveTimeStamp{Hash: h, ReducedHashtree: ers.Reduced(members, siblings), Token: s.stamp(h, root)}
}

func (s *story) renew(i, n int) {
	s.t.Helper()
	last := s.record.Chains[len(s.record.Chains)-1]
	chains := make([][][]byte, n)
	for k := range chains {
		chains[k] = [][]byte{fmt.Appendf(nil, "first token of batch %d", k), fmt.Appendf(nil, "second token of batch %d", k)}
	}
	chains[i] = ers.Tokens(last)
	renewal, err := ers.RenewTimestamps(last[0].Hash, chains...)
	if err != nil {
		s.t.Fatal(err)
	}
	stamp, err := renewal.ArchiveTimeStamp(i, s.stamp(last[0].Hash, renewal.Root))
	if err != nil {
		s.t.Fatal(err)
	}
	s.record.Append(stamp)
}

func inventedLeaves(h crypto.Hash, n int) [][]byte {
	leaves := make([][]byte, n)
	for i := range leaves {
		leaves[i] = digestOf(h, binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	return leaves
}

func digestOf(h crypto.Hash, data []byte) []byte {
	hash := h.New()
	hash.Write(data)
	return hash.Sum(nil)
}

func digestsOf(h crypto.Hash, members ...[]byte) [][]byte {
	digests := make([][]byte, len(members))
	for i, m := range members {
		digests[i] = digestOf(h, m)
	}
	return digests
}

// group is the digests function of a group held in memory.
func group(members ...[]byte) func(crypto.Hash) ([][]byte, error) {
	return func(h crypto.Hash) ([][]byte, error) { return digestsOf(h, members...), nil }
}

// problems lists the checks that are not OK.
func problems(checks []integrity.Check) []string {
	var list []string
	for _, c := range checks {
		if c.Status != integrity.OK {
			list = append(list, fmt.Sprintf("%s of %s: %s: %s", c.Name, c.Target, c.Status, c.Detail))
		}
	}
	return list
}

func marshal(t testing.TB, r *ers.EvidenceRecord) []byte {
	t.Helper()
	der, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func parse(t testing.TB, der []byte) *ers.EvidenceRecord {
	t.Helper()
	r, err := ers.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
