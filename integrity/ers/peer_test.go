package ers_test

import (
	"fmt"
	"testing"
	"time"

	"sae/integrity/ers"
	"sae/integrity/ers/bctest"
)

var (
	content = []byte("content of a document")
	salt    = []byte("a salt of thirty-two bytes......")
)

// stories are the records that this package and the independent verifier must
// both accept.
func stories() []string {
	var list []string
	for _, n := range []int{1, 2, 3, 5, 8, 1000} {
		for _, i := range []int{1, (n + 1) / 2, n} {
			list = append(list, fmt.Sprintf("seal sha256 %d/%d", i, n))
		}
	}
	return append(list,
		"seal sha384 2/3", "seal sha512 3/3",
		"seal sha256 1/1, renew 1/1",
		"seal sha256 1/1, renew 1/1, renew 1/1",
		"seal sha256 1/1, renew 1/1, renew 1/1, renew 1/1",
		"seal sha256 2/5, renew 3/3, renew 1/2, renew 4/7",
		"seal sha256 2/5, rehash sha512 1/1",
		"seal sha256 2/5, rehash sha512 3/3",
		"seal sha256 2/5, renew 1/1, rehash sha512 2/300",
		"seal sha256 2/5, renew 2/2, renew 1/3, rehash sha512 2/3, renew 1/1, renew 2/3",
		"seal sha256 2/5, renew 2/2, rehash sha384 1/2, renew 1/3, rehash sha512 1/1, renew 1/1",
	)
}

func TestOurRecordsVerify(t *testing.T) {
	for _, text := range stories() {
		for _, members := range [][][]byte{{content}, {content, salt}, {content, salt, []byte("third")}} {
			t.Run(fmt.Sprintf("%s of %d", text, len(members)), func(t *testing.T) {
				a := newAuthority(t)
				first := a.now
				r := parse(t, marshal(t, tell(t, a.stamp, text, members...)))
				checks, since := ers.Verify(r, group(members...), a.verify)
				if list := problems(checks); list != nil {
					t.Fatalf("refused: %v", list)
				}
				if !since.Equal(first) {
					t.Errorf("proved since %v, want %v", since, first)
				}
			})
		}
	}
}

func TestBouncyCastleAcceptsOurRecords(t *testing.T) {
	verify := bctest.Verifier(t)
	for _, text := range stories() {
		for _, members := range [][][]byte{{content}, {content, salt}} {
			a := newAuthority(t)
			record := marshal(t, tell(t, a.stamp, text, members...))
			if err := verify(record, members, a.rootPEM()); err != nil {
				t.Errorf("%s, group of %d: %v", text, len(members), err)
			}
		}
	}
}

// TestTamperedRecordsAreRefusedByBoth changes records in ways that leave them
// well-formed.
func TestTamperedRecordsAreRefusedByBoth(t *testing.T) {
	verify := bctest.Verifier(t)
	const text = "seal sha256 2/5, renew 1/3, renew 2/2, rehash sha512 2/3, renew 1/2"
	for name, tamper := range map[string]func(r *ers.EvidenceRecord, members [][]byte) [][]byte{
		"content":          func(_ *ers.EvidenceRecord, m [][]byte) [][]byte { return [][]byte{[]byte("other"), m[1]} },
		"salt":             func(_ *ers.EvidenceRecord, m [][]byte) [][]byte { return [][]byte{m[0], []byte("other")} },
		"member more":      func(_ *ers.EvidenceRecord, m [][]byte) [][]byte { return append(m, []byte("third")) },
		"sibling":          changeHash(0, 0, 1),
		"member hash":      changeHash(0, 0, 0),
		"renewal sibling":  changeHash(0, 1, 1),
		"renewal member":   changeHash(0, 2, 0),
		"new tree sibling": changeHash(1, 0, 1),
		"last sibling":     changeHash(1, 1, 1),
		"token of another": func(r *ers.EvidenceRecord, m [][]byte) [][]byte {
			r.Chains[0][1].Token = r.Chains[0][0].Token
			return m
		},
		"renewal left out": func(r *ers.EvidenceRecord, m [][]byte) [][]byte { r.Chains[0] = r.Chains[0][:2]; return m },
		"first left out":   func(r *ers.EvidenceRecord, m [][]byte) [][]byte { r.Chains[0] = r.Chains[0][1:]; return m },
		"chains exchanged": func(r *ers.EvidenceRecord, m [][]byte) [][]byte {
			r.Chains[0], r.Chains[1] = r.Chains[1], r.Chains[0]
			return m
		},
		"chain left out": func(r *ers.EvidenceRecord, m [][]byte) [][]byte { r.Chains = r.Chains[1:]; return m },
		"list left out": func(r *ers.EvidenceRecord, m [][]byte) [][]byte {
			a := &r.Chains[0][0]
			a.ReducedHashtree = a.ReducedHashtree[:2]
			return m
		},
		"first list merged": mergeLists,
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t)
			r := tell(t, a.stamp, text, content, salt)
			members := tamper(r, [][]byte{content, salt})
			record := marshal(t, r)
			checks, since := ers.Verify(parse(t, record), group(members...), a.verify)
			if problems(checks) == nil || !since.Equal(time.Time{}) {
				t.Error("accepted by ers")
			}
			if err := verify(record, members, a.rootPEM()); err == nil {
				t.Error("accepted by BouncyCastle")
			}
		})
	}
}

// changeHash flips a bit of the first hash of a list.
func changeHash(chain, stamp, list int) func(*ers.EvidenceRecord, [][]byte) [][]byte {
	return func(r *ers.EvidenceRecord, m [][]byte) [][]byte {
		r.Chains[chain][stamp].ReducedHashtree[list][0][0] ^= 1
		return m
	}
}

// mergeLists puts a neighbour into the first list of the group.
func mergeLists(r *ers.EvidenceRecord, m [][]byte) [][]byte {
	tree := r.Chains[0][0].ReducedHashtree
	tree[0] = append(tree[0], tree[1]...)
	r.Chains[0][0].ReducedHashtree = append(tree[:1], tree[2:]...)
	return m
}

// TestBouncyCastleChecksSignatures: the peer is no rubber stamp.
func TestBouncyCastleChecksSignatures(t *testing.T) {
	verify := bctest.Verifier(t)
	a := newAuthority(t)
	record := marshal(t, tell(t, a.stamp, "seal sha256 1/2", content, salt))
	if err := verify(record, [][]byte{content, salt}, newAuthority(t).rootPEM()); err == nil {
		t.Error("accepted under another root")
	}
	forged := tell(t, a.stamp, "seal sha256 1/2", content, salt)
	token := forged.Chains[0][0].Token
	token[len(token)-3] ^= 1 // in the signature, the last field
	if err := verify(marshal(t, forged), [][]byte{content, salt}, a.rootPEM()); err == nil {
		t.Error("accepted with a changed signature")
	}
	if checks, _ := ers.Verify(forged, group(content, salt), a.verify); problems(checks) == nil {
		t.Error("accepted by ers with a changed signature")
	}
}
