package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// shells give the shells that verify.sh is run under: the ones that are there.
func shells(t testing.TB) (out [][]string) {
	t.Helper()
	for _, tool := range []string{"openssl", "sha256sum"} {
		peer(t, tool)
	}
	for _, sh := range [][]string{{"dash"}, {"bash", "--posix"}} {
		if _, err := exec.LookPath(sh[0]); err == nil {
			out = append(out, sh)
		}
	}
	if len(out) < 2 {
		peer(t, "dash")
		peer(t, "bash")
	}
	return out
}

// peer skips a test that needs a program, or fails it when peers are required.
func peer(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("SAE_REQUIRE_PEERS") == "1" {
		t.Fatalf("%s is missing: install it", name)
	}
	t.Skipf("%s is missing: install it", name)
}

// extract unpacks a bundle into a new folder and puts the roots beside it.
func extract(t testing.TB, m *maker, zip []byte) (folder, roots string) {
	t.Helper()
	roots = filepath.Join(t.TempDir(), "my roots.pem")
	check(t, os.WriteFile(roots, m.rootsPEM(), 0o600))
	folder = filepath.Join(filepath.Dir(roots), "a bundle's folder")
	c, err := openContainer(bytes.NewReader(zip), int64(len(zip)))
	check(t, err)
	for _, name := range c.order {
		b, err := c.small(name)
		check(t, err)
		put(t, folder, name, b)
	}
	return folder, roots
}

func put(t testing.TB, folder, name string, b []byte) {
	t.Helper()
	path := filepath.Join(folder, filepath.FromSlash(name))
	check(t, os.MkdirAll(filepath.Dir(path), 0o700))
	check(t, os.WriteFile(path, b, 0o600))
}

// script runs this package's verify.sh over a folder.
func script(t testing.TB, shell []string, folder string, args ...string) (output string, status int) {
	t.Helper()
	args = append(append(slices.Clone(shell[1:]), filepath.Join(folder, "verify.sh")), args...)
	cmd := exec.Command(shell[0], args...)
	out, err := cmd.CombinedOutput()
	if ended := new(exec.ExitError); errors.As(err, &ended) {
		return string(out), ended.ExitCode()
	}
	check(t, err)
	return string(out), 0
}

func TestScriptAccepts(t *testing.T) {
	all := map[string]func(testing.TB) *maker{"witnessed": witnessed}
	for name, make := range samples {
		all[name] = make
	}
	for name, make := range all {
		for _, sh := range shells(t) {
			t.Run(name+", "+sh[0], func(t *testing.T) {
				t.Parallel()
				m := make(t)
				folder, roots := extract(t, m, m.zip())
				out, status := script(t, sh, folder, roots)
				if status != 0 || !strings.HasSuffix(out, "VERIFIED under "+roots+"\n") {
					t.Fatalf("status %d:\n%s", status, out)
				}
				for _, p := range m.bundle.Proofs {
					if !strings.Contains(out, "OK      "+p.member()+": archived ") {
						t.Errorf("nothing is said of %s:\n%s", p.member(), out)
					}
				}
			})
		}
	}
}

func TestScriptNeedsRoots(t *testing.T) {
	m := one(t)
	folder, _ := extract(t, m, m.zip())
	_, strangers := extract(t, newMaker(t), m.zip())
	for _, sh := range shells(t) {
		if out, status := script(t, sh, folder); status != 1 || !strings.Contains(out, "NOT TRUSTED") {
			t.Errorf("without roots: status %d:\n%s", status, out)
		}
		if out, status := script(t, sh, folder, strangers); status != 1 || !strings.Contains(out, "time-stamp\n") {
			t.Errorf("with other roots: status %d:\n%s", status, out)
		}
		if out, status := script(t, sh, folder, "/nowhere"); status != 1 {
			t.Errorf("with roots that are not there: status %d:\n%s", status, out)
		}
	}
}

// TestScriptFollowsProofs: paths of every shape, through ledgers and operations of
// 1, 2, 3, 5 and 8 items, of which one in the middle is followed.
func TestScriptFollowsProofs(t *testing.T) {
	sh := shells(t)
	for i, entries := range []int{1, 2, 3, 7, 8, 9, 100} {
		t.Run(fmt.Sprint(entries), func(t *testing.T) {
			t.Parallel()
			m := newMaker(t)
			operations := []int{1, 2, 3, 5, 8}[max(0, 5-entries):]
			for k, items := range operations {
				m.deposit(fmt.Sprint("u", k), items-1)
				m.fill(-len(m.entries) + (k+1)*entries/len(operations))
			}
			if len(m.entries) != entries {
				t.Fatalf("%d entries, want %d", len(m.entries), entries)
			}
			m.seal(entries)
			folder, roots := extract(t, m, m.zip())
			if out, status := script(t, sh[i%len(sh)], folder, roots); status != 0 {
				t.Errorf("status %d:\n%s", status, out)
			}
		})
	}
}

// TestScriptNoticesEveryMember flips a bit in the middle of every member.
func TestScriptNoticesEveryMember(t *testing.T) {
	t.Parallel()
	m := samples["two batches"](t)
	folder, roots := extract(t, m, m.zip())
	for _, sh := range shells(t) {
		for _, mem := range append(unzip(t, m.zip()), member{sumsName, []byte(sums(t, m.zip()))}) {
			if mem.name == "verify.sh" {
				continue // it would not be itself any more
			}
			edited := bytes.Clone(mem.data)
			edited[len(edited)/2] ^= 1
			put(t, folder, mem.name, edited)
			if out, status := script(t, sh, folder, roots); status != 1 || !strings.Contains(out, "NOT VERIFIED") {
				t.Errorf("%s: %s: status %d:\n%s", sh[0], mem.name, status, out)
			}
			put(t, folder, mem.name, mem.data)
		}
		if out, status := script(t, sh, folder, roots); status != 0 {
			t.Errorf("in the end: status %d:\n%s", status, out)
		}
	}
}

func sums(t testing.TB, zip []byte) string {
	t.Helper()
	c, err := openContainer(bytes.NewReader(zip), int64(len(zip)))
	check(t, err)
	b, err := c.small(sumsName)
	check(t, err)
	return string(b)
}

// TestScriptNoticesForgeries: what Verify refuses, in bundles whose SHA256SUMS is
// right, the script refuses too, for its own reason.
func TestScriptNoticesForgeries(t *testing.T) {
	sh := shells(t)
	other := samples["unit of three"](t)
	n := 0
	for name, tc := range map[string]struct {
		forge func(m *maker)
		why   string
	}{
		"evidence":         {func(m *maker) { swap(m, func(p *Proof) *[]byte { return &p.Record }) }, "first list"},
		"salt":             {func(m *maker) { swap(m, func(p *Proof) *[32]byte { return &p.Salt }) }, "first list"},
		"wider first list": {func(m *maker) { m.bundle.Proofs[1].Record = widened(m, m.bundle.Proofs[1].Record) }, "first list"},
		"item":             {func(m *maker) { swap(m, func(p *Proof) *ItemProof { return &p.Item }) }, "commits to something else"},
		"identifier":       {func(m *maker) { m.bundle.Proofs[1].ID = "o9" }, "of something else"},
		"another name":     {func(m *maker) { m.bundle.Proofs[1].Filename = "accord.txt" }, "another name"},
		"no description":   {func(m *maker) { m.bundle.Proofs = m.bundle.Proofs[1:] }, "description of its unit is missing"},
		"description as a document": {func(m *maker) {
			m.bundle.Proofs = m.bundle.Proofs[:1]
			m.bundle.Proofs[0].Filename = "u.json"
		}, "of something else"},
		"document as a description": {func(m *maker) { m.bundle.Proofs[1].Filename = "" }, "of something else"},
		"index of the item":         {func(m *maker) { m.bundle.Proofs[1].Item.Index-- }, "not in its entry"},
		"item beyond the entry":     {func(m *maker) { m.bundle.Proofs[1].Item.Index = 1 << 40 }, "not in its entry"},
		"item's index too long":     {func(m *maker) { m.bundle.Proofs[1].Item.Index = 1 << 62 }, "no number"},
		"proof of the item cut":     {func(m *maker) { cutLast(&m.bundle.Proofs[1].Item.Proof) }, "not in its entry"},
		"proof of the entry cut":    {func(m *maker) { cutLast(&m.bundle.Proofs[1].Receipt.Proof) }, "not in the ledger"},
		"proof of the entry longer": {func(m *maker) {
			m.bundle.Proofs[1].Receipt.Proof = append(m.bundle.Proofs[1].Receipt.Proof, [32]byte{})
		}, "not in the ledger"},
		"index of the entry":        {func(m *maker) { m.bundle.Proofs[1].Receipt.Index-- }, "not in the ledger"},
		"entry without items":       {func(m *maker) { m.bundle.Proofs[1].Receipt = m.receipt(0, 6, m.bundle.Checkpoints[0].Signed) }, "no number"},
		"receipt of another ledger": {func(m *maker) { m.bundle.Proofs[1].Receipt = other.bundle.Proofs[1].Receipt }, "not sealed here"},
		"checkpoint of another":     {func(m *maker) { m.bundle.Checkpoints = other.bundle.Checkpoints }, "time-stamp"},
		"key of another ledger":     {func(m *maker) { m.bundle.LedgerKey = other.vkey }, "signature"},
		"no checkpoint":             {func(m *maker) { m.bundle.Checkpoints = nil }, "no checkpoint"},
		"no document":               {func(m *maker) { m.bundle.Proofs = nil }, "no document"},
		"record that is none":       {func(m *maker) { m.bundle.Proofs[1].Record = []byte("x") }, "no number"},
		"checkpoint's record":       {func(m *maker) { m.bundle.Checkpoints[0].Record = m.bundle.Proofs[0].Record }, "first list"},
		"huge number of items":      {func(m *maker) { remake(m, func() { m.count = 1<<63 - 1 }) }, "no number"},
		"description, other digest": {func(m *maker) { remake(m, func() { m.description = describe(t, "u1", file{"o1", "a.txt", "b"}) }) }, "does not list"},
		"description, other name":   {func(m *maker) { remake(m, func() { m.description = describe(t, "u1", file{"o1", "b.txt", "a"}) }) }, "another name"},
		"description, other object": {func(m *maker) { remake(m, func() { m.description = describe(t, "u1", file{"o2", "a.txt", "a"}) }) }, "does not list"},
		"stamped before":            {func(m *maker) { remake(m, func() { m.tsa.Now = func() time.Time { return start } }) }, "after its time-stamp"},
		"attacker's own time-stamps": {func(m *maker) {
			remake(m, func() { m.tsa = newMaker(t).tsa; m.tsa.Now = func() time.Time { return m.now } })
		}, "time-stamp"},
		"own time-stamp on the document": {func(m *maker) {
			attacker := newMaker(m.t)
			records, _ := attacker.stamp([][][]byte{digestsOf(&m.bundle.Proofs[1])})
			m.bundle.Proofs[1].Record = records[0]
		}, "not that of checkpoint"},
		"renewed": {func(m *maker) { m.renew(1) }, "renewed record"},
	} {
		n++
		shell := sh[n%len(sh)]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := samples["unit of three"](t)
			_, roots := extract(t, m, m.zip())
			tc.forge(m)
			folder, _ := extract(t, m, m.zip())
			out, status := script(t, shell, folder, roots)
			if status != 1 || !strings.Contains(out, "NOT VERIFIED") || !strings.Contains(out, tc.why) {
				t.Errorf("status %d, want %q:\n%s", status, tc.why, out)
			}
		})
	}
}

// remake makes the bundle anew, of one document, after a change of the maker.
func remake(m *maker, change func()) {
	vkey := m.vkey
	m.bundle = Bundle{LedgerKey: vkey}
	change()
	m.now = m.now.Add(time.Hour)
	m.deposit("u1", 0, file{"o1", "a.txt", "a"})
	m.seal(0)
}

// TestScriptNoticesFiles changes the set of files, with a right SHA256SUMS where
// that can be.
func TestScriptNoticesFiles(t *testing.T) {
	sh := shells(t)
	n := 0
	for name, tc := range map[string]struct {
		edit func(folder string) error
		sums bool // SHA256SUMS is put right again
		why  string
	}{
		"extra":                  {func(f string) error { return os.WriteFile(f+"/notes.txt", nil, 0o600) }, false, "notes.txt: does not belong"},
		"extra, listed":          {func(f string) error { return os.WriteFile(f+"/notes.txt", nil, 0o600) }, true, "notes.txt: does not belong"},
		"extra, hidden":          {func(f string) error { return os.WriteFile(f+"/.notes", nil, 0o600) }, true, ".notes: does not belong"},
		"extra document":         {func(f string) error { return os.WriteFile(f+"/documents/o1/b.txt", nil, 0o600) }, true, "several documents"},
		"extra, hidden document": {func(f string) error { return os.WriteFile(f+"/documents/o1/.b", nil, 0o600) }, true, "several documents"},
		"extra link":             {func(f string) error { return os.Symlink("/etc/passwd", f+"/notes.txt") }, false, "does not belong"},
		"link": {func(f string) error {
			return errors.Join(os.Rename(f+"/mimetype", f+"/../m"), os.Symlink("../m", f+"/mimetype"))
		}, false, "links"},
		"renamed":            {func(f string) error { return os.Rename(f+"/documents/o1/lettre.txt", f+"/documents/o1/b.txt") }, false, "SHA256SUMS"},
		"renamed, listed":    {func(f string) error { return os.Rename(f+"/documents/o1/lettre.txt", f+"/documents/o1/b.txt") }, true, "another name"},
		"missing":            {func(f string) error { return os.Remove(f + "/salts/o1.bin") }, false, "SHA256SUMS"},
		"missing, listed":    {func(f string) error { return os.Remove(f + "/salts/o1.bin") }, true, ""},
		"proof missing":      {func(f string) error { return os.Remove(f + "/ledger/o1.item") }, true, "does not belong"},
		"documents missing":  {func(f string) error { return os.RemoveAll(f + "/documents/o1") }, true, "document is missing"},
		"no SHA256SUMS":      {func(f string) error { return os.Remove(f + "/SHA256SUMS") }, false, "SHA256SUMS"},
		"code for a number":  {func(f string) error { return replace(f+"/ledger/o1.item", "index 1", "index a[$(touch pwned)]") }, true, "no number"},
		"code in a receipt":  {func(f string) error { return replace(f+"/ledger/o1.tlog-proof", "index 0", "index a[$(touch pwned)]") }, true, "no number"},
		"code in its size":   {func(f string) error { return replace(f+"/ledger/o1.tlog-proof", "\n1\n", "\na[$(touch pwned)]\n") }, true, "no number"},
		"mimetype":           {func(f string) error { return os.WriteFile(f+"/mimetype", []byte("x"), 0o600) }, true, "mimetype"},
		"key.pem of another": {func(f string) error { return replace(f+"/ledger/key.txt", "tests+", "test+") }, true, "another ledger"},
		"item for a file":    {func(f string) error { return os.Rename(f+"/ledger/o1.item", f+"/ledger/o 1.item") }, true, "no identifier"},
	} {
		n++
		shell := sh[n%len(sh)]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := one(t)
			folder, roots := extract(t, m, m.zip())
			check(t, tc.edit(folder))
			if tc.sums {
				relist(t, folder)
			}
			out, status := script(t, shell, folder, roots)
			if status != 1 || !strings.Contains(out, "NOT VERIFIED") || !strings.Contains(out, tc.why) {
				t.Errorf("status %d, want %q:\n%s", status, tc.why, out)
			}
			if _, err := os.Stat(filepath.Join(folder, "pwned")); err == nil {
				t.Error("the script ran what a member told it to")
			}
		})
	}
}

func replace(path, from, to string) error {
	b, err := os.ReadFile(path)
	if err == nil && !bytes.Contains(b, []byte(from)) {
		return fmt.Errorf("%s does not hold %q", path, from)
	}
	return errors.Join(err, os.WriteFile(path, bytes.Replace(b, []byte(from), []byte(to), 1), 0o600))
}

// relist writes SHA256SUMS for what lies in the folder.
func relist(t testing.TB, folder string) {
	t.Helper()
	check(t, os.Remove(folder+"/SHA256SUMS"))
	cmd := exec.Command("sh", "-c", "find . -type f | sed 's|^\\./||' | sort | while read -r f; do sha256sum \"$f\"; done >../sums && mv ../sums SHA256SUMS")
	cmd.Dir = folder
	check(t, cmd.Run())
}

func TestScriptTakesRootsInItsFolder(t *testing.T) {
	m := one(t)
	folder, _ := extract(t, m, m.zip())
	put(t, folder, "roots.pem", m.rootsPEM())
	for _, sh := range shells(t) {
		cmd := exec.Command(sh[0], slices.Concat(sh[1:], []string{"verify.sh", "roots.pem"})...)
		cmd.Dir = folder
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v:\n%s", sh[0], err, out)
		}
	}
}

func TestScriptIsClean(t *testing.T) {
	peer(t, "shellcheck")
	for _, dialect := range []string{"sh", "dash"} {
		if out, err := exec.Command("shellcheck", "-s", dialect, "verify.sh").CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
	}
}
