package bundle

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"sae/integrity"
	"sae/integrity/ers"
)

// TestForgedProofs puts true parts together wrongly, in bundles that are otherwise
// well made. Each says which check must fail, the first of all to fail.
func TestForgedProofs(t *testing.T) {
	t.Parallel()
	other := samples["unit of three"](t)
	for name, tc := range map[string]struct {
		forge func(m *maker)
		check string
	}{
		"evidence of another document": {func(m *maker) { swap(m, func(p *Proof) *[]byte { return &p.Record }) }, ers.CheckTree},
		"salt of another document":     {func(m *maker) { swap(m, func(p *Proof) *[32]byte { return &p.Salt }) }, ers.CheckTree},
		"content of another document":  {func(m *maker) { swap(m, func(p *Proof) *proofContent { return &p.Open }) }, ers.CheckTree},
		"name of another document":     {func(m *maker) { swap(m, func(p *Proof) *string { return &p.Filename }) }, "description"},
		"another name":                 {func(m *maker) { m.bundle.Proofs[1].Filename = "accord.txt" }, "description"},
		"item of another document":     {func(m *maker) { swap(m, func(p *Proof) *ItemProof { return &p.Item }) }, "salted commitment"},
		"another identifier":           {func(m *maker) { m.bundle.Proofs[1].ID = "o9" }, "salted commitment"},
		"description as a document":    {func(m *maker) { m.bundle.Proofs[0].Filename = "u.json" }, "salted commitment"},
		"document as a description":    {func(m *maker) { m.bundle.Proofs[1].Filename = "" }, "salted commitment"},
		"index of the item":            {func(m *maker) { m.bundle.Proofs[1].Item.Index-- }, "item inclusion"},
		"item beyond the entry":        {func(m *maker) { m.bundle.Proofs[1].Item.Index = 1 << 40 }, "item inclusion"},
		"proof of the item cut":        {func(m *maker) { cutLast(&m.bundle.Proofs[1].Item.Proof) }, "item inclusion"},
		"proof of the entry cut":       {func(m *maker) { cutLast(&m.bundle.Proofs[1].Receipt.Proof) }, "ledger inclusion"},
		"index of the entry":           {func(m *maker) { m.bundle.Proofs[1].Receipt.Index-- }, "ledger inclusion"},
		"another entry":                {func(m *maker) { m.bundle.Proofs[1].Receipt.Entry = m.entries[0] }, "ledger inclusion"},
		"another entry with its proof": {func(m *maker) {
			m.bundle.Proofs[1].Receipt = m.receipt(0, m.bundle.Checkpoints[0].Size, m.bundle.Checkpoints[0].Signed)
		}, "item inclusion"},
		"item of another ledger":         {func(m *maker) { m.bundle.Proofs[1].Item = other.bundle.Proofs[2].Item }, "salted commitment"},
		"receipt of another ledger":      {func(m *maker) { m.bundle.Proofs[1].Receipt = other.bundle.Proofs[1].Receipt }, "sealed checkpoint"},
		"checkpoint of another ledger":   {func(m *maker) { m.bundle.Checkpoints = other.bundle.Checkpoints }, "checkpoint signature"},
		"key of another ledger":          {func(m *maker) { m.bundle.LedgerKey = other.vkey }, "checkpoint signature"},
		"size of the checkpoint":         {func(m *maker) { m.bundle.Checkpoints[0].Size++ }, "checkpoint signature"},
		"evidence of another checkpoint": {func(m *maker) { m.bundle.Checkpoints[0].Record = m.bundle.Proofs[0].Record }, ers.CheckTree},
		"token of another checkpoint":    {func(m *maker) { m.bundle.Checkpoints[0].Token = other.bundle.Checkpoints[0].Token }, "token files"},
		"later checkpoint, not sealed": {func(m *maker) {
			m.fill(1)
			cp, signed := m.checkpoint()
			m.bundle.Proofs[1].Receipt = m.receipt(m.bundle.Proofs[1].Receipt.Index, cp.Size, signed)
		}, "sealed checkpoint"},
		"no checkpoint":            {func(m *maker) { m.bundle.Checkpoints = nil }, "sealed checkpoint"},
		"no description":           {func(m *maker) { m.bundle.Proofs = m.bundle.Proofs[1:] }, "description"},
		"no document":              {func(m *maker) { m.bundle.Proofs = nil }, "documents"},
		"record that is none":      {func(m *maker) { m.bundle.Proofs[1].Record = []byte("x") }, "evidence record form"},
		"checkpoint's record, cut": {func(m *maker) { cutLast(&m.bundle.Checkpoints[0].Record) }, "evidence record form"},
		"wider first list":         {func(m *maker) { m.bundle.Proofs[1].Record = widened(m, m.bundle.Proofs[1].Record) }, ers.CheckTree},
		"own time-stamp on the document": {func(m *maker) {
			attacker := newMaker(m.t)
			attacker.now = m.now
			records, _ := attacker.stamp([][][]byte{digestsOf(&m.bundle.Proofs[1])})
			m.bundle.Proofs[1].Record = records[0]
		}, "trust anchor"},
		"true time-stamp of another day": {func(m *maker) {
			records, _ := m.stamp([][][]byte{digestsOf(&m.bundle.Proofs[1])})
			m.bundle.Proofs[1].Record = records[0]
		}, "sealed checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			m := samples["unit of three"](t)
			tc.forge(m)
			r := verify(t, m.zip(), Options{Roots: m.roots()})
			i := slices.IndexFunc(r.Checks, func(c integrity.Check) bool { return c.Status == integrity.Failed })
			if r.Verdict != NotTrusted || i < 0 || r.Checks[i].Name != tc.check {
				t.Errorf("%s: %q, want %q to fail", r.Verdict, problems(r), tc.check)
			}
			if own := verify(t, m.zip(), Options{}); own.Verdict != NotTrusted && name != "own time-stamp on the document" {
				t.Errorf("without roots: %s", own.Verdict)
			}
		})
	}
}

type proofContent = func() (io.ReadCloser, error)

// swap exchanges a field of the first two documents.
func swap[T any](m *maker, field func(p *Proof) *T) {
	a, b := field(&m.bundle.Proofs[1]), field(&m.bundle.Proofs[2])
	*a, *b = *b, *a
}

func cutLast[T any](s *[]T) { *s = (*s)[:len(*s)-1] }

func digestsOf(p *Proof) [][]byte {
	r, err := p.Open()
	if err != nil {
		panic(err)
	}
	var b bytes.Buffer
	b.ReadFrom(r)
	content, salt := sha256.Sum256(b.Bytes()), sha256.Sum256(p.Salt[:])
	return [][]byte{content[:], salt[:]}
}

// widened moves the second list of a record into its first.
func widened(m *maker, der []byte) []byte {
	r, err := ers.Parse(der)
	check(m.t, err)
	tree := r.Chains[0][0].ReducedHashtree
	r.Chains[0][0].ReducedHashtree = append([][][]byte{slices.Concat(tree[0], tree[1])}, tree[2:]...)
	out, err := r.Marshal()
	check(m.t, err)
	return out
}

// TestForgedDescriptions are archived as they are: the archive itself says them.
func TestForgedDescriptions(t *testing.T) {
	doc := file{"o1", "a.txt", "a"}
	for name, text := range map[string]string{
		"another digest":     describe(t, "u1", file{"o1", "a.txt", "b"}),
		"another name":       describe(t, "u1", file{"o1", "b.txt", "a"}),
		"another object":     describe(t, "u1", file{"o2", "a.txt", "a"}),
		"another unit":       describe(t, "u2", doc),
		"object twice":       describe(t, "u1", doc, file{"o1", "b.txt", "b"}),
		"one byte":           "x",
		"not JSON":           "{",
		"null":               "null",
		"objects not a list": `{"unit":"u1","objects":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			m := newMaker(t)
			m.description = text
			m.deposit("u1", 0, doc)
			m.seal(0)
			r := verify(t, m.zip(), Options{Roots: m.roots()})
			failed := slices.ContainsFunc(r.Checks, func(c integrity.Check) bool { return c.Status == integrity.Failed && c.Name == "description" })
			if r.Verdict != NotTrusted || !failed {
				t.Errorf("%s: %v", r.Verdict, problems(r))
			}
		})
	}
}

func TestTimeOrder(t *testing.T) {
	for name, tc := range map[string]struct {
		ahead time.Duration // of the archive's clock
		want  Verdict
	}{
		"clocks agree":       {0, Verified},
		"archive a bit fast": {4 * time.Minute, Verified},
		"stamped before":     {10 * time.Minute, NotTrusted},
		"stamped years ago":  {24 * 365 * time.Hour, NotTrusted},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMaker(t)
			m.tsa.Now = func() time.Time { return m.now.Add(-tc.ahead) }
			m.now = m.now.Add(tc.ahead)
			m.deposit("u1", 0, file{"o1", "a.txt", "a"})
			m.seal(0)
			r := verify(t, m.zip(), Options{Roots: m.roots()})
			if r.Verdict != tc.want {
				t.Errorf("%s: %v", r.Verdict, problems(r))
			}
		})
	}
}

// TestRemadeByAnAttacker: all of it is consistent, under an authority of the
// attacker's and a ledger of the same name.
func TestRemadeByAnAttacker(t *testing.T) {
	m, attacker := one(t), newMaker(t)
	attacker.deposit("u1", 0, file{"o1", "lettre.txt", "Au revoir.\n"})
	attacker.seal(0)
	if r := verify(t, attacker.zip(), Options{Roots: m.roots()}); r.Verdict != NotTrusted {
		t.Error(r.Verdict)
	}
	if r := verify(t, attacker.zip(), Options{}); r.Verdict != OwnRoots || r.Accepted(false) || !r.Accepted(true) {
		t.Error(r.Verdict)
	}
	// With a time-stamp that he bought, only the ledger's key tells him.
	attacker.tsa = m.tsa
	attacker.bundle.Proofs, attacker.bundle.Checkpoints = nil, nil
	attacker.deposit("u2", 0, file{"o2", "lettre.txt", "Au revoir.\n"})
	attacker.seal(0)
	if r := verify(t, attacker.zip(), Options{Roots: m.roots(), LedgerKey: m.vkey}); r.Verdict != NotTrusted {
		t.Error(r.Verdict)
	}
	r := verify(t, attacker.zip(), Options{Roots: m.roots()})
	if open := problems(r); len(open) != 1 || !strings.Contains(open[0], "ledger key known") {
		t.Errorf("the report does not say that the ledger's key is not known: %v", open)
	}
}

// renew renews all records of the bundle under another authority.
func (m *maker) renew(years int) {
	m.t.Helper()
	m.now = m.now.AddDate(years, 0, 0)
	var err error
	m.tsa, err = m.tsa.Renew("tests", m.now)
	check(m.t, err)
	m.tsa.Now = func() time.Time { return m.now }
	for _, der := range m.records() {
		r, err := ers.Parse(*der)
		check(m.t, err)
		renewal, err := ers.RenewTimestamps(crypto.SHA256, ers.Tokens(r.Chains[0]))
		check(m.t, err)
		token, err := m.tsa.Timestamp(m.t.Context(), crypto.SHA256, renewal.Root)
		check(m.t, err)
		ats, err := renewal.ArchiveTimeStamp(0, token.Raw)
		check(m.t, err)
		r.Append(ats)
		*der, err = r.Marshal()
		check(m.t, err)
	}
}

func (m *maker) records() (out []*[]byte) {
	for i := range m.bundle.Proofs {
		out = append(out, &m.bundle.Proofs[i].Record)
	}
	for i := range m.bundle.Checkpoints {
		out = append(out, &m.bundle.Checkpoints[i].Record)
	}
	return out
}

func TestRenewal(t *testing.T) {
	for name, tc := range map[string]struct {
		years []int
		want  Verdict
	}{
		"in time":         {[]int{10}, Verified},
		"twice in time":   {[]int{15, 15}, Verified},
		"too late":        {[]int{21}, NotTrusted},
		"second too late": {[]int{1, 21}, NotTrusted},
	} {
		t.Run(name, func(t *testing.T) {
			m := one(t)
			for _, y := range tc.years {
				m.renew(y)
			}
			r := verify(t, m.zip(), Options{Roots: m.roots()})
			late := slices.ContainsFunc(r.Checks, func(c integrity.Check) bool { return c.Name == "renewed in time" && c.Status == integrity.Failed })
			if r.Verdict != tc.want || late != (tc.want == NotTrusted) {
				t.Errorf("%s: %v", r.Verdict, problems(r))
			}
			if tc.want == Verified && !r.Documents[0].Stamped.Equal(start.Add(2*time.Minute)) {
				t.Errorf("proved since %v, not since the first time-stamp", r.Documents[0].Stamped)
			}
		})
	}
}

// TestHashTreeRenewal makes the verifier hash the members again with SHA-512.
func TestHashTreeRenewal(t *testing.T) {
	for _, spoil := range []bool{false, true} {
		m := one(t)
		for i := range m.bundle.Proofs {
			p := &m.bundle.Proofs[i]
			members := [][]byte{read(t, p), p.Salt[:]}
			if spoil {
				members[0] = append(members[0], '!')
			}
			p.Record = m.rehash(p.Record, members...)
		}
		cp := &m.bundle.Checkpoints[0]
		cp.Record = m.rehash(cp.Record, cp.Signed)
		want := Verified
		if spoil {
			want = NotTrusted
		}
		if r := verify(t, m.zip(), Options{Roots: m.roots()}); r.Verdict != want {
			t.Errorf("spoiled %v: %s: %v", spoil, r.Verdict, problems(r))
		}
	}
}

func read(t testing.TB, p *Proof) []byte {
	t.Helper()
	r, err := p.Open()
	check(t, err)
	var b bytes.Buffer
	_, err = b.ReadFrom(r)
	check(t, err)
	return b.Bytes()
}

func (m *maker) rehash(der []byte, members ...[]byte) []byte {
	m.t.Helper()
	r, err := ers.Parse(der)
	check(m.t, err)
	var digests [][]byte
	for _, b := range members {
		h := crypto.SHA512.New()
		h.Write(b)
		digests = append(digests, h.Sum(nil))
	}
	bound, err := r.RenewHashTree(crypto.SHA512, digests)
	check(m.t, err)
	m.now = m.now.Add(time.Minute)
	token, err := m.tsa.Timestamp(m.t.Context(), crypto.SHA512, ers.GroupHash(crypto.SHA512, bound...))
	check(m.t, err)
	r.AppendChain(ers.ArchiveTimeStamp{Hash: crypto.SHA512, ReducedHashtree: ers.Reduced(bound, nil), Token: token.Raw})
	out, err := r.Marshal()
	check(m.t, err)
	return out
}

// TestMembers changes the set of members of bundles whose zip and SHA256SUMS are
// right.
func TestMembers(t *testing.T) {
	m := samples["unit of three"](t)
	members := unzip(t, m.zip())
	at := func(name string) int {
		i := slices.IndexFunc(members, func(m member) bool { return m.name == name })
		if i < 0 {
			t.Fatalf("no member %s", name)
		}
		return i
	}
	with := func(name, data string) []member {
		edited := slices.Clone(members)
		edited[at(name)].data = []byte(data)
		return edited
	}
	more := func(behind string, names ...string) []member {
		edited := slices.Clone(members)
		for _, name := range names {
			edited = slices.Insert(edited, at(behind), member{name, []byte("x")})
		}
		return edited
	}
	renamed := func(from, to string) []member {
		edited := slices.Clone(members)
		edited[at(from)].name = to
		return edited
	}
	moved := func(name string) []member {
		edited := slices.Delete(slices.Clone(members), at(name), at(name)+1)
		return append(edited, members[at(name)])
	}
	for name, tc := range map[string]struct {
		members []member
		why     string
	}{
		"extra":                      {more("report.txt", "notes.txt"), "does not belong"},
		"extra document":             {more("report.txt", "documents/o9/x.txt"), "does not belong"},
		"extra of a document":        {more("report.txt", "documents/o1/x.txt"), "several"},
		"description of a document":  {more("report.txt", "units/o1.json"), "several"},
		"document of a description":  {more("report.txt", "documents/u1/x.txt"), "several"},
		"extra CRL":                  {more("report.txt", "tsa/checkpoint-9.crl.pem"), "does not belong"},
		"extra record":               {more("report.txt", "META-INF/evidencerecord-o9.ers"), "does not belong"},
		"extra signature":            {more("report.txt", "META-INF/signatures.xml"), "does not belong"},
		"item of a checkpoint":       {more("report.txt", "ledger/checkpoint-6.item"), "document"},
		"item with a strange name":   {more("report.txt", "ledger/a b.item", "documents/ab/x"), "document"},
		"checkpoint without a size":  {more("report.txt", "ledger/checkpoint-x.txt"), "no ledger size"},
		"checkpoint with zeros":      {more("report.txt", "ledger/checkpoint-06.txt"), "no ledger size"},
		"checkpoint below zero":      {more("report.txt", "ledger/checkpoint--6.txt"), "no ledger size"},
		"document renamed":           {renamed("documents/o1/a.txt", "documents/o9/a.txt"), "missing"},
		"key renamed":                {renamed("ledger/key.txt", "ledger/key2.txt"), "missing"},
		"document at the end":        {moved("documents/o1/a.txt"), "order"},
		"key at the end":             {moved("ledger/key.txt"), "order"},
		"checkpoint at the end":      {moved("ledger/checkpoint-6.txt"), "order"},
		"mimetype":                   {with("mimetype", "application/zip"), "mimetype"},
		"mimetype with a line's end": {with("mimetype", mediaType+"\n"), "mimetype"},
		"salt too short":             {with("salts/o1.bin", "short"), "32"},
		"key that is none":           {with("ledger/key.txt", "x\n"), "key.txt"},
		"key on two lines":           {with("ledger/key.txt", m.vkey+"\n\n"), "key.txt"},
		"key without a line's end":   {with("ledger/key.txt", m.vkey), "key.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifyMembers(t, m, tc.members)
			if form := new(ContainerError); !errors.As(err, &form) || !strings.Contains(err.Error(), tc.why) {
				t.Errorf("%v, want %q", err, tc.why)
			}
		})
	}
	for _, mem := range members {
		i := at(mem.name)
		r, err := verifyMembers(t, m, slices.Delete(slices.Clone(members), i, i+1))
		if err == nil && r.Verdict != NotTrusted || mem.name != "mimetype" && !strings.HasPrefix(mem.name, "tsa/") && err == nil {
			t.Errorf("without %s: %v", mem.name, r.Verdict)
		}
	}
}

func TestSumsMustListAll(t *testing.T) {
	m := one(t)
	members := unzip(t, m.zip())
	zip := rezip(t, m, members[:len(members)-1])
	if _, err := Verify(bytes.NewReader(zip), int64(len(zip)), Options{}); err == nil {
		t.Error("taken without verify.sh")
	}
	var w bytes.Buffer
	c := newContainer(&w, m.now)
	for _, mem := range members {
		check(t, c.addBytes(mem.name, mem.data))
	}
	c.sums = c.sums[:len(c.sums)-1]
	check(t, c.close())
	r := verify(t, w.Bytes(), Options{Roots: m.roots()})
	if r.Verdict != NotTrusted || !strings.HasPrefix(problems(r)[0], "failed: member digests") {
		t.Error(problems(r))
	}
}

func TestContainerTime(t *testing.T) {
	m := one(t)
	var w bytes.Buffer
	c := newContainer(&w, m.now.Add(time.Hour))
	for _, mem := range unzip(t, m.zip()) {
		check(t, c.addBytes(mem.name, mem.data))
	}
	check(t, c.close())
	if r := verify(t, w.Bytes(), Options{Roots: m.roots()}); r.Verdict != NotTrusted {
		t.Error(r.Verdict)
	}
}

// TestHugeCounts: sizes that a ledger's key vouches for must not make a verifier
// run forever.
func TestHugeCounts(t *testing.T) {
	for _, count := range []int64{1 << 62, 1<<62 + 1, 1<<63 - 1} {
		m := newMaker(t)
		m.count = count
		m.deposit("u1", 0, file{"o1", "a.txt", "a"})
		m.seal(0)
		if r := verify(t, m.zip(), Options{Roots: m.roots()}); r.Verdict != NotTrusted {
			t.Errorf("%d items: %s", count, r.Verdict)
		}
	}
}

// TestWitnessedCheckpoint: signatures of others beside the ledger's are allowed
// (C2SP tlog-checkpoint).
func TestWitnessedCheckpoint(t *testing.T) {
	m := witnessed(t)
	if r := verify(t, m.zip(), Options{Roots: m.roots()}); r.Verdict != Verified {
		t.Error(problems(r))
	}
}

func witnessed(t testing.TB) *maker {
	t.Helper()
	m := newMaker(t)
	m.witness = newMaker(t).signer
	m.deposit("u1", 0, file{"o1", "a.txt", "a"})
	m.seal(0)
	return m
}
