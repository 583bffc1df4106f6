package ers

import (
	"bytes"
	"crypto"
	"fmt"
	"slices"
	"time"

	"sae/integrity"
)

// TokenVerifier checks a time-stamp token against the imprint that it has to
// stamp, and returns its genTime and its checks, named for the given target; a
// Failed one among them fails the record. until is the time at which the token
// must still have been valid: the genTime of the time-stamp that covers it
// (RFC 4998 section 5.3 steps 2 b and 3 b). It is zero for the last one, which
// nothing covers yet.
type TokenVerifier func(token []byte, hash crypto.Hash, imprint []byte, target string, until time.Time) (time.Time, []integrity.Check)

// The names of the checks that Verify makes itself.
const (
	CheckRecord  = "evidence record"   // the record can be verified at all (section 3.1)
	CheckAlgos   = "algorithms"        // none is broken, one per chain (sections 5.1, 5.3 step 2 c)
	CheckDigests = "group digests"     // the caller could give the members' hashes
	CheckTree    = "reduced hash tree" // covers exactly the group (section 4.3)
	CheckLink    = "renewal link"      // covers the token before (section 5.3 step 2 a)
	CheckRenewal = "hash-tree renewal" // covers the group and all earlier chains (section 5.3 step 3 a)
	CheckOrder   = "time order"        // strictly ascending (section 5.1)
)

// Verify proves a record for a data object group (RFC 4998 sections 3.3, 4.3
// and 5.3). digests gives the hash of every member of the group under an
// algorithm, in any order; it is called once for each chain. Verify reports all
// checks, in the order of the record, and returns the genTime of the first
// token: since when the group is proved to exist. The time is zero when any
// check failed.
//
// A group of several members must be all that the first list of each chain
// covers (section 4.3, last paragraph). For a group of one, other hashes may
// stand beside it: makers put its neighbours in the tree there, as section 4.2
// lets them.
func Verify(r *EvidenceRecord, digests func(crypto.Hash) ([][]byte, error), token TokenVerifier) ([]integrity.Check, time.Time) {
	v := &verifier{record: r, digests: digests, token: token}
	if !v.verifyRecord() || !v.verifyAlgorithms() {
		return v.checks, time.Time{}
	}
	steps := v.verifyTrees()
	v.verifyTokens(steps)
	failed := func(c integrity.Check) bool { return c.Status == integrity.Failed }
	if slices.ContainsFunc(v.checks, failed) {
		return v.checks, time.Time{}
	}
	return v.checks, steps[0].time
}

type verifier struct {
	record  *EvidenceRecord
	digests func(crypto.Hash) ([][]byte, error)
	token   TokenVerifier
	checks  []integrity.Check
}

// step is one ArchiveTimeStamp on the way through the record.
type step struct {
	*ArchiveTimeStamp
	target  string
	imprint []byte // what its token has to stamp; nil when that is not known
	time    time.Time
	checks  []integrity.Check
}

func (s *step) report(name string, problem string) {
	s.checks = append(s.checks, check(name, s.target, problem))
}

// check is Failed when there is a problem.
func check(name, target, problem string) integrity.Check {
	if problem != "" {
		return integrity.Check{Name: name, Target: target, Status: integrity.Failed, Detail: problem}
	}
	return integrity.Check{Name: name, Target: target, Status: integrity.OK}
}

// verifyRecord refuses a record that was composed wrongly; Parse gives none.
func (v *verifier) verifyRecord() bool {
	problem := ""
	if v.record == nil {
		problem = "no record"
	} else if v.record.Version != 1 {
		problem = fmt.Sprintf("version %d, want 1", v.record.Version)
	} else if err := v.record.check(); err != nil {
		problem = err.Error()
	}
	v.checks = append(v.checks, check(CheckRecord, wholeRecord, problem))
	return problem == ""
}

// verifyAlgorithms checks each chain's algorithm. When one fails, nothing more
// is computed: a broken hash proves nothing.
func (v *verifier) verifyAlgorithms() bool {
	ok := true
	for c, chain := range v.record.Chains {
		problem := chainAlgorithmProblem(chain)
		v.checks = append(v.checks, check(CheckAlgos, fmt.Sprintf("chain %d", c+1), problem))
		ok = ok && problem == ""
	}
	return ok
}

func chainAlgorithmProblem(chain []ArchiveTimeStamp) string {
	for i, a := range chain {
		if !usable(a.Hash) {
			return fmt.Sprintf("time-stamp %d uses %v, which is no longer accepted", i+1, a.Hash)
		}
		if a.Hash != chain[0].Hash {
			return fmt.Sprintf("time-stamp %d uses %v in a chain of %v", i+1, a.Hash, chain[0].Hash)
		}
	}
	return ""
}

// verifyTrees checks what each ArchiveTimeStamp covers and finds the imprint
// that its token has to stamp.
func (v *verifier) verifyTrees() []*step {
	var steps []*step
	for c, chain := range v.record.Chains {
		for i := range chain {
			s := &step{ArchiveTimeStamp: &chain[i], target: target(c, i)}
			s.imprint = Root(s.Hash, s.ReducedHashtree)
			if i == 0 {
				v.verifyGroup(s, c)
			} else {
				s.verifyLink(&chain[i-1])
			}
			steps = append(steps, s)
		}
	}
	return steps
}

// verifyGroup checks the first ArchiveTimeStamp of a chain: it covers the group
// (section 4.3 steps 1 and 2), in later chains bound to all chains before
// (section 5.3 step 3 a).
func (v *verifier) verifyGroup(s *step, chain int) {
	members, err := v.digests(s.Hash)
	if err == nil {
		err = checkDigests(s.Hash, members)
	}
	if err != nil {
		s.report(CheckDigests, err.Error())
		return
	}
	if chain == 0 {
		s.coverGroup(CheckTree, members)
		return
	}
	sequence, err := sequenceDER(v.record.Chains[:chain])
	if err != nil {
		s.report(CheckRenewal, err.Error())
		return
	}
	v.verifyHashTreeRenewal(s, members, sum(s.Hash, sequence))
}

func (v *verifier) verifyHashTreeRenewal(s *step, members [][]byte, sequence []byte) {
	bound := bindSequence(s.Hash, members, sequence)
	if !s.coversGroup(bound) {
		if alternative := bindSorted(s.Hash, members, sequence); s.coversGroup(alternative) {
			bound = alternative
		}
	}
	s.coverGroup(CheckRenewal, bound)
}

// coverGroup reports whether the ArchiveTimeStamp covers the group. Without a
// tree, its token has to stamp the only member itself.
func (s *step) coverGroup(name string, members [][]byte) {
	problem := ""
	if s.ReducedHashtree == nil && len(members) == 1 {
		s.imprint = members[0]
	} else if !s.coversGroup(members) {
		problem = s.groupProblem(members)
	}
	s.report(name, problem)
}

// coversGroup says whether the first list holds the members: all of it when they
// are several. Without a tree, whether the token's imprint is the only member.
func (s *step) coversGroup(members [][]byte) bool {
	list := [][]byte{}
	if s.ReducedHashtree != nil {
		list = s.ReducedHashtree[0]
	} else if _, imprint, err := tokenImprint(s.target, s.Token); err == nil {
		list = [][]byte{imprint}
	}
	if len(members) == 1 {
		return holds(list, members[0])
	}
	return slices.EqualFunc(sorted(members), sorted(list), bytes.Equal)
}

func holds(list [][]byte, digest []byte) bool {
	return slices.ContainsFunc(list, func(h []byte) bool { return bytes.Equal(h, digest) })
}

func (s *step) groupProblem(members [][]byte) string {
	if s.ReducedHashtree == nil {
		return fmt.Sprintf("no reducedHashtree covers the %d members of the group", len(members))
	}
	list := s.ReducedHashtree[0]
	held := 0
	for _, m := range members {
		if holds(list, m) {
			held++
		}
	}
	if held < len(members) {
		return fmt.Sprintf("the first list holds the hashes of %d of the %d members", held, len(members))
	}
	return fmt.Sprintf("the first list holds %d hashes, the group has %d members", len(list), len(members))
}

// verifyLink checks a time-stamp renewal: it covers the token before it in the
// chain (section 5.3 step 2 a). Other hashes may stand beside.
func (s *step) verifyLink(before *ArchiveTimeStamp) {
	digest := sum(s.Hash, before.Token)
	if s.ReducedHashtree == nil {
		s.imprint = digest
		s.report(CheckLink, "")
		return
	}
	problem := ""
	if !holds(s.ReducedHashtree[0], digest) {
		problem = "the first list does not hold the hash of the time-stamp before"
	}
	s.report(CheckLink, problem)
}

// verifyTokens verifies the tokens from the last to the first, since each must
// have been valid until the next one's time, then their order.
func (v *verifier) verifyTokens(steps []*step) {
	var until time.Time
	for _, s := range slices.Backward(steps) {
		if s.imprint == nil {
			s.checks = append(s.checks, integrity.Check{Name: "token", Target: s.target, Status: integrity.NotCheckable,
				Detail: "what it has to stamp is not known"})
			continue
		}
		var checks []integrity.Check
		s.time, checks = v.token(s.Token, s.Hash, s.imprint, s.target, until)
		s.checks = append(s.checks, checks...)
		until = s.time
	}
	for i, s := range steps {
		v.checks = append(v.checks, s.checks...)
		if i > 0 {
			v.checks = append(v.checks, orderCheck(steps[i-1], s))
		}
	}
}

func orderCheck(before, s *step) integrity.Check {
	switch {
	case before.time.IsZero() || s.time.IsZero():
		return integrity.Check{Name: CheckOrder, Target: s.target, Status: integrity.NotCheckable, Detail: "a token gives no time"}
	case !s.time.After(before.time):
		return check(CheckOrder, s.target, fmt.Sprintf("%s is not after %s of the time-stamp before",
			s.time.UTC().Format(time.RFC3339Nano), before.time.UTC().Format(time.RFC3339Nano)))
	}
	return check(CheckOrder, s.target, "")
}
