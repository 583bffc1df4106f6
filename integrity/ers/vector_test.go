package ers_test

import (
	"bufio"
	"bytes"
	"crypto"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sae/integrity"
	"sae/integrity/ers"
)

var update = flag.Bool("update", false, "write the vectors that are missing; none is ever replaced")

// A vector is a text file: lines "key: value", an empty line, the record in hex.
//
//	comment: what it shows
//	story:   how it came to be (see story); absent from records changed by hand
//	member:  a member of the group, in hex; once for each
//	expect:  "proved since TIME", "parsing ..." (the error of Parse) or
//	         "CHECK of TARGET" (the first failed check)
type vector struct {
	comment, story, expect string
	members                [][]byte
	record                 []byte
}

func readVector(t testing.TB, path string) vector {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header, body, _ := strings.Cut(string(data), "\n\n")
	var v vector
	lines := bufio.NewScanner(strings.NewReader(header))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "comment":
			v.comment = value
		case "story":
			v.story = value
		case "expect":
			v.expect = value
		case "member":
			v.members = append(v.members, unhex(t, value))
		default:
			t.Fatalf("%s: unknown key %q", path, key)
		}
	}
	v.record = unhex(t, strings.ReplaceAll(body, "\n", ""))
	return v
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (v vector) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "comment: %s\n", v.comment)
	if v.story != "" {
		fmt.Fprintf(&b, "story: %s\n", v.story)
	}
	for _, m := range v.members {
		fmt.Fprintf(&b, "member: %x\n", m)
	}
	fmt.Fprintf(&b, "expect: %s\n\n", v.expect)
	for line := range slices.Chunk(v.record, 40) {
		fmt.Fprintf(&b, "%x\n", line)
	}
	return b.String()
}

// outcome is what the package says of a vector, in the words of expect.
func (v vector) outcome() string {
	r, err := ers.Parse(v.record)
	if err != nil {
		return err.Error()
	}
	checks, since := ers.Verify(r, group(v.members...), verifyImprint)
	i := slices.IndexFunc(checks, func(c integrity.Check) bool { return c.Status != integrity.OK })
	if i >= 0 {
		return checks[i].Name + " of " + checks[i].Target
	}
	return "proved since " + since.UTC().Format(time.RFC3339)
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	paths, err := filepath.Glob("testdata/vectors/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d vectors (%v)", len(paths), err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			v := readVector(t, path)
			if got := v.outcome(); got != v.expect {
				t.Errorf("%s: got %q, want %q", v.comment, got, v.expect)
			}
			if v.story != "" {
				retell(t, v)
			}
		})
	}
}

// retell makes the vector's record again from its story and its tokens, and
// wants the same bytes: the trees, the renewals and the encoding do not change.
func retell(t *testing.T, v vector) {
	t.Helper()
	var tokens [][]byte
	for _, chain := range parse(t, v.record).Chains {
		tokens = append(tokens, ers.Tokens(chain)...)
	}
	stamp := func(_ crypto.Hash, imprint []byte) []byte {
		token := tokens[0]
		tokens = tokens[1:]
		if info, err := readToken(token); err != nil || !bytes.Equal(info.Imprint.Digest, imprint) {
			t.Errorf("a token stamps %x (%v), the story asks for %x", info.Imprint.Digest, err, imprint)
		}
		return token
	}
	if got := marshal(t, tell(t, stamp, v.story, v.members...)); !bytes.Equal(got, v.record) {
		t.Errorf("told again it is %x", got)
	}
}

func writeVectors(t *testing.T) {
	t.Helper()
	a := newAuthority(t)
	both := [][]byte{content, salt}
	since := "proved since 2001-02-03T04:05:06Z"
	for name, v := range map[string]vector{
		"single":          {comment: "one document alone: no tree", story: "seal sha256 1/1", members: both[:1], expect: since},
		"group":           {comment: "a group alone: one list", story: "seal sha256 1/1", members: both, expect: since},
		"batch":           {comment: "a group in a batch", story: "seal sha256 2/5", members: both, expect: since},
		"carried":         {comment: "the last leaf of five is carried up twice", story: "seal sha256 5/5", members: both, expect: since},
		"tiles":           {comment: "a path through two tile levels", story: "seal sha256 300/513", members: both, expect: since},
		"sha384":          {comment: "another algorithm", story: "seal sha384 1/3", members: both, expect: since},
		"renewed":         {comment: "three time-stamp renewals", story: "seal sha256 2/5, renew 1/1, renew 2/3, renew 1/2", members: both, expect: since},
		"rehashed":        {comment: "a hash-tree renewal to SHA-512", story: "seal sha256 2/5, rehash sha512 1/3", members: both, expect: since},
		"rehashed-single": {comment: "a hash-tree renewal without trees", story: "seal sha256 1/1, rehash sha512 1/1", members: both[:1], expect: since},
		"mixed":           {comment: "both renewals in turn", story: "seal sha256 2/5, renew 1/2, rehash sha512 1/3, renew 2/2", members: both, expect: since},
	} {
		a.now = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
		v.record = marshal(t, tell(t, a.stamp, v.story, v.members...))
		addVector(t, name, v)
	}
	a.now = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	good := marshal(t, tell(t, a.stamp, "seal sha256 2/3, renew 1/2", both...))
	changed := func(spoil func(r *ers.EvidenceRecord)) []byte {
		r := parse(t, good)
		spoil(r)
		return marshal(t, r)
	}
	for name, v := range map[string]vector{
		"bad-member":    {comment: "verified for another salt", members: [][]byte{content, []byte("other")}, record: good, expect: "reduced hash tree of chain 1, time-stamp 1"},
		"bad-group":     {comment: "a stranger in the first list", members: both, record: changed(func(r *ers.EvidenceRecord) { mergeLists(r, nil) }), expect: "reduced hash tree of chain 1, time-stamp 1"},
		"bad-sibling":   {comment: "a changed sibling", members: both, record: changed(func(r *ers.EvidenceRecord) { changeHash(0, 0, 1)(r, nil) }), expect: "imprint of chain 1, time-stamp 1"},
		"bad-link":      {comment: "the renewal covers another token", members: both, record: changed(func(r *ers.EvidenceRecord) { changeHash(0, 1, 0)(r, nil) }), expect: "renewal link of chain 1, time-stamp 2"},
		"bad-algorithm": {comment: "SHA-1", members: both[:1], record: weakRecord(), expect: "algorithms of chain 1"},
		"bad-trailing":  {comment: "a byte after the record", members: both, record: append(bytes.Clone(good), 0), expect: "parsing evidence record: 1 bytes after the record"},
		"bad-set":       {comment: "a SET in place of the SEQUENCE", members: both, record: append([]byte{set}, good[1:]...), expect: "parsing evidence record: not a DER SEQUENCE"},
	} {
		addVector(t, name, v)
	}
}

func weakRecord() []byte {
	sha1 := der(oid, []byte{0x2b, 0x0e, 3, 2, 0x1a})
	stamp := der(sequence, der(context0, sha1), aToken)
	return record(version1, der(sequence, der(sequence, sha1)), der(sequence, der(sequence, stamp)))
}

func addVector(t *testing.T, name string, v vector) {
	t.Helper()
	path := filepath.Join("testdata", "vectors", name+".txt")
	if _, err := os.Stat(path); err == nil {
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(v.text()), 0o644); err != nil {
		t.Fatal(err)
	}
}
