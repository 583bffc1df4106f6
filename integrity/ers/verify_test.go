package ers_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sae/integrity"
	"sae/integrity/ers"
)

// TestVerifyNamesTheProblem changes a good record, or what it is compared with,
// and wants the check that says so to fail first.
func TestVerifyNamesTheProblem(t *testing.T) {
	const text = "seal sha256 2/5, renew 1/3, renew 2/2, rehash sha512 2/3, renew 1/2"
	type subject struct {
		record  *ers.EvidenceRecord
		digests func(crypto.Hash) ([][]byte, error)
		token   ers.TokenVerifier
	}
	for _, c := range []struct {
		name, check, target string
		spoil               func(s *subject)
	}{
		{"no record", ers.CheckRecord, "evidence record", func(s *subject) { s.record = nil }},
		{"no chain", ers.CheckRecord, "evidence record", func(s *subject) { s.record.Chains = nil }},
		{"empty chain", ers.CheckRecord, "evidence record", func(s *subject) { s.record.Chains[1] = nil }},
		{"version", ers.CheckRecord, "evidence record", func(s *subject) { s.record.Version = 2 }},
		{"short hash", ers.CheckRecord, "evidence record", func(s *subject) { s.record.Chains[0][0].ReducedHashtree[0][0] = nil }},
		{"SHA-1", ers.CheckAlgos, "chain 1", func(s *subject) {
			s.record.Chains[0] = []ers.ArchiveTimeStamp{{Hash: crypto.SHA1, Token: s.record.Chains[0][0].Token}}
		}},
		{"MD5", ers.CheckAlgos, "chain 2", func(s *subject) {
			s.record.Chains[1] = []ers.ArchiveTimeStamp{{Hash: crypto.MD5, Token: s.record.Chains[1][0].Token}}
		}},
		{"two algorithms", ers.CheckAlgos, "chain 1", func(s *subject) { s.record.Chains[0] = append(s.record.Chains[0], s.record.Chains[1]...) }},
		{"digests unknown", ers.CheckDigests, "chain 1, time-stamp 1", func(s *subject) {
			s.digests = func(crypto.Hash) ([][]byte, error) { return nil, errors.New("the salt is gone") }
		}},
		{"no member", ers.CheckDigests, "chain 1, time-stamp 1", func(s *subject) { s.digests = group() }},
		{"digest of another algorithm", ers.CheckDigests, "chain 1, time-stamp 1", func(s *subject) {
			s.digests = func(crypto.Hash) ([][]byte, error) { return digestsOf(crypto.SHA384, content, salt), nil }
		}},
		{"old digests only", ers.CheckDigests, "chain 2, time-stamp 1", func(s *subject) {
			s.digests = func(crypto.Hash) ([][]byte, error) { return digestsOf(crypto.SHA256, content, salt), nil }
		}},
		{"other content", ers.CheckTree, "chain 1, time-stamp 1", func(s *subject) { s.digests = group([]byte("other"), salt) }},
		{"content unlike later", ers.CheckRenewal, "chain 2, time-stamp 1", func(s *subject) {
			s.digests = func(h crypto.Hash) ([][]byte, error) {
				if h == crypto.SHA512 {
					return digestsOf(h, []byte("other"), salt), nil
				}
				return digestsOf(h, content, salt), nil
			}
		}},
		{"member more", ers.CheckTree, "chain 1, time-stamp 1", func(s *subject) { s.digests = group(content, salt, content) }},
		{"first list holds more", ers.CheckTree, "chain 1, time-stamp 1", func(s *subject) { mergeLists(s.record, nil) }},
		{"group without a tree", ers.CheckTree, "chain 1, time-stamp 1", func(s *subject) { s.record.Chains[0][0].ReducedHashtree = nil }},
		{"sibling", "imprint", "chain 1, time-stamp 1", func(s *subject) { s.record.Chains[0][0].ReducedHashtree[1][0][0] ^= 1 }},
		{"old token", ers.CheckLink, "chain 1, time-stamp 2", func(s *subject) {
			s.token = verifyImprint // which does not see the change
			old := s.record.Chains[0][0].Token
			old[len(old)-3] ^= 1
		}},
		{"renewal without a tree", "imprint", "chain 1, time-stamp 3", func(s *subject) { s.record.Chains[0][2].ReducedHashtree = nil }},
		// The third covers the first too, so only the new tree sees the gap.
		{"renewal left out", ers.CheckRenewal, "chain 2, time-stamp 1", func(s *subject) { s.record.Chains[0] = slices.Delete(s.record.Chains[0], 1, 2) }},
		{"renewals exchanged", ers.CheckLink, "chain 1, time-stamp 3", func(s *subject) { slices.Reverse(s.record.Chains[0][1:]) }},
		{"first time-stamp left out", ers.CheckTree, "chain 1, time-stamp 1", func(s *subject) { s.record.Chains[0] = s.record.Chains[0][1:] }},
		{"last renewal of a chain left out", ers.CheckRenewal, "chain 2, time-stamp 1", func(s *subject) { s.record.Chains[0] = s.record.Chains[0][:2] }},
		{"chain first", ers.CheckTree, "chain 1, time-stamp 1", func(s *subject) { slices.Reverse(s.record.Chains) }},
		{"token refused", "token", "chain 1, time-stamp 3", func(s *subject) {
			token := s.token
			s.token = func(der []byte, h crypto.Hash, imprint []byte, target string, until time.Time) (time.Time, []integrity.Check) {
				if target != "chain 1, time-stamp 3" {
					return token(der, h, imprint, target, until)
				}
				return time.Time{}, []integrity.Check{{Name: "token", Target: target, Status: integrity.Failed}}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAuthority(t)
			s := &subject{tell(t, a.stamp, text, content, salt), group(content, salt), a.verify}
			c.spoil(s)
			checks, since := ers.Verify(s.record, s.digests, s.token)
			if !since.IsZero() {
				t.Errorf("proved since %v", since)
			}
			failed := func(c integrity.Check) bool { return c.Status == integrity.Failed }
			i := slices.IndexFunc(checks, failed)
			if i < 0 || checks[i].Name != c.check || checks[i].Target != c.target {
				t.Errorf("problems %q, want first %q of %q", problems(checks), c.check, c.target)
			}
		})
	}
}

// TestTimeOrder: equal times and times that go back are refused, within a chain
// and between chains.
func TestTimeOrder(t *testing.T) {
	base := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		hours [4]int // of the tokens in the order of the record
		want  string // target, or none
	}{
		{[4]int{0, 1, 2, 3}, ""},
		{[4]int{0, 0, 2, 3}, "chain 1, time-stamp 2"},
		{[4]int{2, 1, 2, 3}, "chain 1, time-stamp 2"},
		{[4]int{0, 1, 1, 3}, "chain 2, time-stamp 1"},
		{[4]int{0, 3, 2, 4}, "chain 2, time-stamp 1"},
		{[4]int{0, 1, 2, 2}, "chain 2, time-stamp 2"},
	} {
		a := newAuthority(t)
		count := 0
		stamp := func(h crypto.Hash, imprint []byte) []byte {
			a.now = base.Add(time.Duration(c.hours[count]) * time.Hour)
			count++
			return a.stamp(h, imprint)
		}
		r := tell(t, stamp, "seal sha256 1/2, renew 1/1, rehash sha512 1/1, renew 1/1", content, salt)
		checks, _ := ers.Verify(r, group(content, salt), a.verify)
		got := problems(checks)
		if c.want == "" && got != nil || c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], ers.CheckOrder+" of "+c.want)) {
			t.Errorf("hours %v: problems %q, want %q", c.hours, got, c.want)
		}
	}
}

// TestTokenWithoutTime leaves the order unknown, not passed.
func TestTokenWithoutTime(t *testing.T) {
	a := newAuthority(t)
	r := tell(t, a.stamp, "seal sha256 1/2, renew 1/1", content, salt)
	checks, since := ers.Verify(r, group(content, salt), func([]byte, crypto.Hash, []byte, string, time.Time) (time.Time, []integrity.Check) {
		return time.Time{}, nil
	})
	if got := problems(checks); len(got) != 1 || !strings.Contains(got[0], "time order of chain 1, time-stamp 2: not checkable") || !since.IsZero() {
		t.Errorf("problems %q, proved since %v", got, since)
	}
}

// TestTokensMustBeValidUntilCovered: each token is judged at the time of the one
// that covers it, the last without such a time.
func TestTokensMustBeValidUntilCovered(t *testing.T) {
	a := newAuthority(t)
	first := a.now
	r := tell(t, a.stamp, "seal sha256 1/2, renew 1/1, rehash sha512 1/1", content, salt)
	until := map[string]time.Time{}
	token := func(der []byte, h crypto.Hash, imprint []byte, target string, at time.Time) (time.Time, []integrity.Check) {
		until[target] = at
		return a.verify(der, h, imprint, target, at)
	}
	if checks, _ := ers.Verify(r, group(content, salt), token); problems(checks) != nil {
		t.Fatalf("refused: %v", problems(checks))
	}
	for target, want := range map[string]time.Time{
		"chain 1, time-stamp 1": first.AddDate(1, 0, 0),
		"chain 1, time-stamp 2": first.AddDate(2, 0, 0),
		"chain 2, time-stamp 1": {},
	} {
		if got, called := until[target]; !called || !got.Equal(want) {
			t.Errorf("%s had to be valid until %v, want %v", target, got, want)
		}
	}
	a.leaf = &x509.Certificate{NotAfter: first.AddDate(1, 6, 0)}
	checks, _ := ers.Verify(r, group(content, salt), token)
	if got := problems(checks); len(got) != 1 || !strings.HasPrefix(got[0], "token validity of chain 1, time-stamp 2") {
		t.Errorf("renewed too late: problems %q", got)
	}
}

// TestSortedHashTreeRenewal accepts the reading of erratum 7411, with a tree and
// without.
func TestSortedHashTreeRenewal(t *testing.T) {
	sortedStory := func(a *authority, members ...[]byte) *ers.EvidenceRecord {
		r := tell(t, a.stamp, "seal sha256 1/2", members...)
		der, err := r.SequenceDER()
		if err != nil {
			t.Fatal(err)
		}
		var bound [][]byte
		for _, d := range digestsOf(crypto.SHA512, members...) {
			bound = append(bound, ers.GroupHash(crypto.SHA512, d, digestOf(crypto.SHA512, der)))
		}
		root := ers.GroupHash(crypto.SHA512, bound...)
		r.AppendChain(ers.ArchiveTimeStamp{Hash: crypto.SHA512, ReducedHashtree: ers.Reduced(bound, nil), Token: a.stamp(crypto.SHA512, root)})
		return r
	}
	for _, members := range [][][]byte{{[]byte("1")}, {[]byte("2")}, {[]byte("3")}, {[]byte("4")}, {content, salt}} {
		a := newAuthority(t)
		checks, _ := ers.Verify(parse(t, marshal(t, sortedStory(a, members...))), group(members...), a.verify)
		if got := problems(checks); got != nil {
			t.Errorf("group of %d: %v", len(members), got)
		}
	}
}

// TestEveryBitFlipIsCaught: whatever bit of a record changes, it is refused or
// fails a check.
func TestEveryBitFlipIsCaught(t *testing.T) {
	a := newAuthority(t)
	record := marshal(t, tell(t, a.stamp, "seal sha256 2/5, renew 1/2, rehash sha512 2/2", content, salt))
	flipped := bytes.Clone(record)
	for i := range record {
		for bit := range 8 {
			flipped[i] = record[i] ^ 1<<bit
			if r, err := ers.Parse(flipped); err == nil {
				if checks, since := ers.Verify(r, group(content, salt), a.verify); problems(checks) == nil || !since.IsZero() {
					t.Errorf("bit %d of byte %d of %d: accepted", bit, i, len(record))
				}
			}
		}
		flipped[i] = record[i]
	}
}

func TestRenewalsRefuse(t *testing.T) {
	a := newAuthority(t)
	r := tell(t, a.stamp, "seal sha256 1/1", content)
	if _, err := ers.RenewTimestamps(crypto.SHA1, ers.Tokens(r.Chains[0])); err == nil {
		t.Error("renewed under SHA-1")
	}
	if _, err := ers.RenewTimestamps(crypto.SHA256); err == nil {
		t.Error("renewed nothing")
	}
	if _, err := ers.RenewTimestamps(crypto.SHA256, nil); err == nil {
		t.Error("renewed a chain without tokens")
	}
	renewal, err := ers.RenewTimestamps(crypto.SHA256, ers.Tokens(r.Chains[0]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := renewal.ArchiveTimeStamp(1, nil); err == nil {
		t.Error("gave the time-stamp of a chain that was not renewed")
	}
	if _, err := r.RenewHashTree(crypto.MD5, digestsOf(crypto.SHA256, content)); err == nil {
		t.Error("renewed the tree under MD5")
	}
	if _, err := r.RenewHashTree(crypto.SHA512, digestsOf(crypto.SHA256, content)); err == nil {
		t.Error("renewed the tree with digests of another algorithm")
	}
	if _, err := new(ers.EvidenceRecord).RenewHashTree(crypto.SHA512, digestsOf(crypto.SHA512, content)); err == nil {
		t.Error("renewed the tree of no record")
	}
}

// TestRenewalCoversAllTokens: the first list of a renewal holds the hash of every
// earlier token of the chain and nothing else.
func TestRenewalCoversAllTokens(t *testing.T) {
	a := newAuthority(t)
	chain := tell(t, a.stamp, "seal sha256 2/5, renew 1/2, renew 2/3, renew 1/1", content, salt).Chains[0]
	for i := 1; i < len(chain); i++ {
		want := slices.SortedFunc(slices.Values(digestsOf(crypto.SHA256, ers.Tokens(chain[:i])...)), bytes.Compare)
		if got := chain[i].ReducedHashtree[0]; !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("time-stamp %d covers %x, want %x", i+1, got, want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	paths, err := filepath.Glob("testdata/vectors/*.txt")
	if err != nil || len(paths) == 0 {
		f.Fatalf("%d vectors (%v)", len(paths), err)
	}
	for _, path := range paths {
		v := readVector(f, path)
		f.Add(v.record, content, salt)
		f.Add(v.record, content, []byte{})
	}
	f.Fuzz(func(t *testing.T, der, first, second []byte) {
		r, err := ers.Parse(der)
		if err != nil {
			return
		}
		members := [][]byte{first}
		if len(second) > 0 {
			members = append(members, second)
		}
		checks, since := ers.Verify(r, group(members...), verifyImprint)
		if len(checks) == 0 {
			t.Fatal("nothing was checked")
		}
		genuine := func(m []byte) bool { return bytes.Equal(m, content) || bytes.Equal(m, salt) }
		if problems(checks) == nil && (!genuine(first) || len(second) > 0 && !genuine(second)) {
			t.Fatal("a record proves what it was not made for")
		}
		if problems(checks) != nil && !since.IsZero() {
			t.Fatal("a record with problems proves a time")
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	a := newAuthority(b)
	r := tell(b, a.stamp, "seal sha256 2/1000, renew 1/300", content, salt)
	token := func([]byte, crypto.Hash, []byte, string, time.Time) (time.Time, []integrity.Check) { return a.now, nil }
	for b.Loop() {
		ers.Verify(r, group(content, salt), token)
	}
}
