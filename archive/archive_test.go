package archive

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sae/integrity"
	"sae/integrity/tsp"
)

// newArchive makes an archive that is audited when the test ends: whatever a test
// does, the archive must be sound after it.
func newArchive(t *testing.T, edit func(config string) string) *Archive {
	t.Helper()
	dir := createEdited(t, edit)
	a, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		report, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1})
		if err != nil || !report.Sound() {
			t.Errorf("the archive is not sound after the test: %v %+v", err, report)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func editConfig(t *testing.T, dir string, edit func(string) string) {
	t.Helper()
	path := filepath.Join(dir, ConfigName)
	writeFileAt(t, path, []byte(edit(string(readFile(t, path)))))
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFileAt(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func text(name, content string) *Content {
	return &Content{Filename: name, Size: int64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

func deposit(t *testing.T, a *Archive, units ...NewUnit) *Deposited {
	t.Helper()
	d, err := a.Deposit(context.Background(), "test", Deposit{Units: units})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func digital(title, content string) NewUnit {
	return NewUnit{Parent: -1, Title: title, Channel: Digital, Content: text(title+".txt", content)}
}

func TestDepositComesOutUnchanged(t *testing.T) {
	a := newArchive(t, nil)
	for _, size := range []int{0, 1, 100, 64 << 10, inMemory - 1, inMemory, inMemory + 1, 3 << 20} {
		content := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		d := deposit(t, a, digital(fmt.Sprint(size), string(content)))
		o := d.Units[0].Objects[0]
		if sum := sha256.Sum256(content); o.SHA256 != hex.EncodeToString(sum[:]) || o.Size != int64(size) {
			t.Errorf("size %d: object says %d, %s", size, o.Size, o.SHA256)
		}
		var out bytes.Buffer
		if _, bad, err := a.Get(context.Background(), o.ID, &out); err != nil || len(bad) > 0 || !bytes.Equal(out.Bytes(), content) {
			t.Errorf("size %d: %d bytes came out, %v, %v", size, out.Len(), bad, err)
		}
		entry, _, err := d.Receipt.Check(a.verifier)
		if err != nil || entry.Operation != d.Operation || entry.Items.Count != 2 {
			t.Errorf("size %d: receipt: %+v, %v", size, entry, err)
		}
	}
}

func TestDeclaredSizeAndDigest(t *testing.T) {
	a := newArchive(t, nil)
	wrongSize, wrongSum := text("a.txt", "hello"), text("a.txt", "hello")
	wrongSize.Size = 4
	wrongSum.SHA256 = strings.Repeat("00", 32)
	right := text("a.txt", "hello")
	right.Size, right.SHA256 = -1, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	for _, c := range []struct {
		content *Content
		ok      bool
	}{{wrongSize, false}, {wrongSum, false}, {right, true}} {
		_, err := a.Deposit(context.Background(), "test", Deposit{Units: []NewUnit{{Parent: -1, Title: "a", Channel: Digital, Content: c.content}}})
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%+v: %v", c.content, err)
		}
	}
}

func TestDepositRefusesAllAtOnce(t *testing.T) {
	a := newArchive(t, nil)
	kept := true
	_, err := a.Deposit(context.Background(), "test", Deposit{Agreement: "none", Parents: []string{"unknown"}, Units: []NewUnit{
		{Parent: -1, Where: "one", Channel: Digital, Content: text("a", "")},                      // no title
		{Parent: -1, Where: "two", Title: "t", Channel: Digitised, Content: text("a", "")},        // no scan record
		{Parent: -1, Where: "three", Title: "t", Channel: Paper, Content: text("a", "")},          // a file, and no location
		{Parent: -1, Where: "four", Title: "t", Channel: "fax", Content: text("a", "")},           // channel
		{Parent: 7, Where: "five", Title: "t", Rule: "NONE"},                                      // parent, rule
		{Parent: -1, Where: "six", Title: "t\xff", Channel: Digital, Content: text("a/b", "")},    // texts
		{Parent: -1, Where: "seven", Title: "t", StartDate: "yesterday", RuleStart: "2026-01-01"}, // dates
		{Parent: -1, Where: "eight", Title: "t", Channel: Both, Content: text("a", ""), Scan: &Scan{By: "x", Date: "2026-13-01", Device: "d", Settings: "s", PaperKept: &kept}},
	}})
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{`agreement "none"`, "parent unknown", "one: no title", "two: channel digitised needs scan.by", "two: channel digitised needs scan.paperKept",
		"three: channel paper has no file", "three: channel paper needs the location", `four: channel "fax"`, "five: its parent", `five: rule "NONE"`,
		"six: title", "six: file name", `seven: start date "yesterday"`, "seven: a start date of a rule", "eight: channel both needs the location", `eight: scan.date "2026-13-01"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say %q:\n%v", want, err)
		}
	}
	if page, err := a.List(Filter{}); err != nil || len(page.Units) > 0 {
		t.Errorf("something was archived: %v, %v", page, err)
	}
}

func TestTreeAndHistory(t *testing.T) {
	a := newArchive(t, nil)
	d := deposit(t, a, NewUnit{Parent: -1, Title: "dossier"},
		NewUnit{Parent: 0, Title: "pièce", Channel: Digital, Content: text("p.txt", "x")})
	folder, piece := d.Units[0].ID, d.Units[1].ID
	more, err := a.Deposit(context.Background(), "test", Deposit{Parents: []string{folder}, Units: []NewUnit{digital("later", "y")}})
	if err != nil {
		t.Fatal(err)
	}
	u, err := a.Unit(folder)
	if err != nil || len(u.Children) != 2 || u.Children[0] != piece || u.Children[1] != more.Units[0].ID {
		t.Errorf("children %v, %v", u.Children, err)
	}
	if _, err := a.Seal(context.Background(), "test"); err != nil {
		t.Fatal(err)
	}
	events, err := a.History(piece)
	if err != nil || len(events) != 3 || events[0].Entry.Kind != integrity.Deposit || events[1].Item.Object == "" || events[2].Entry.Kind != integrity.Seal {
		t.Errorf("history %+v, %v", events, err)
	}
}

func TestListFiltersAndPages(t *testing.T) {
	a := newArchive(t, nil)
	var before time.Time
	for i := range 7 {
		u := digital(fmt.Sprint("unit ", i), "x")
		u.Subject = fmt.Sprint("S", i%2)
		deposit(t, a, u)
		if i == 3 {
			if _, err := a.Seal(context.Background(), "test"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Millisecond) // entries have the time in milliseconds
			before = time.Now().Truncate(time.Millisecond)
		}
	}
	deposit(t, a, NewUnit{Parent: -1, Title: "carton", Channel: Paper, Paper: &PhysicalObject{Location: "M2"}})
	for _, c := range []struct {
		f    Filter
		want int
	}{
		{Filter{}, 8}, {Filter{Subject: "S0"}, 4}, {Filter{Subject: "S1"}, 3}, {Filter{Subject: "S9"}, 0},
		{Filter{Channel: Paper}, 1}, {Filter{Channel: Digital}, 7}, {Filter{Agreement: "general"}, 8},
		{Filter{State: "sealed"}, 4}, {Filter{State: "pending"}, 4}, {Filter{State: "pending", Subject: "S0"}, 2},
		{Filter{From: before}, 4}, {Filter{To: before}, 4}, {Filter{From: before, Channel: Paper}, 1},
	} {
		total, pages := 0, 0
		f := c.f
		f.Limit = 3
		for {
			page, err := a.List(f)
			if err != nil {
				t.Fatal(err)
			}
			total += len(page.Units)
			if pages++; page.Next == "" {
				break
			}
			f.After = page.Next
		}
		if total != c.want || pages != max(1, (c.want+2)/3) {
			t.Errorf("%+v: %d units on %d pages, want %d", c.f, total, pages, c.want)
		}
	}
}

func TestSearch(t *testing.T) {
	a := newArchive(t, nil)
	deposit(t, a, digital("Décisions d'attribution de l'allocation", "x"), digital("Certificat médical", "x"))
	for words, want := range map[string]int{"décision": 1, "DECISION": 1, "allocations": 1, "attribution décision": 1, "médical": 1, "medicaux": 1, "bidule": 0, "attribution médical": 0, "txt": 2} {
		units, err := a.Search("", words, 10)
		if err != nil || len(units) != want {
			t.Errorf("%q: %d units, want %d (%v)", words, len(units), want, err)
		}
	}
	deposit(t, a, digital("Courrier du conseil", "x")) // the index follows
	if units, err := a.Search("", "courriers", 10); err != nil || len(units) != 1 {
		t.Errorf("a new unit is not found: %v, %v", units, err)
	}
	if _, err := a.Search("", "le de", 10); !errors.Is(err, ErrRefused) {
		t.Errorf("stop words alone: %v", err)
	}
}

func TestSealSplitsAndCovers(t *testing.T) {
	a := newArchive(t, func(s string) string { return strings.Replace(s, "max-leaves: 1048576", "max-leaves: 4", 1) })
	d := deposit(t, a, digital("a", "1"), digital("b", "2"), digital("c", "3"), digital("d", "4")) // 8 leaves, 3 beside each checkpoint
	batches, err := a.Seal(context.Background(), "test")
	if err != nil || len(batches) != 3 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	if again, err := a.Seal(context.Background(), "test"); err != nil || len(again) != 0 {
		t.Errorf("sealing again: %v, %v", again, err)
	}
	for _, u := range d.Units { // objects and their units lie in different batches
		if err := a.Proof(context.Background(), u.ID, io.Discard); err != nil {
			t.Error(err)
		}
	}
}

func TestNoAuthorityAnswers(t *testing.T) {
	a := newArchive(t, nil)
	deposit(t, a, digital("a", "1"))
	good := a.authorities
	down := func(context.Context, crypto.Hash, []byte) (*tsp.Token, error) {
		return nil, errors.New("connection refused")
	}
	a.authorities = []authority{{name: "one", stamp: down, timeout: time.Second, tries: 1}, {name: "two", stamp: down, timeout: time.Second, tries: 1}}
	_, err := a.Seal(context.Background(), "test")
	if !errors.Is(err, ErrNoAuthority) || !strings.Contains(err.Error(), "one: try 1: connection refused") || !strings.Contains(err.Error(), "two") {
		t.Errorf("%v", err)
	}
	s, err := a.Status()
	if err != nil || s.Pending != 2 || s.PendingFrom == nil {
		t.Errorf("status %+v, %v", s, err)
	}
	a.authorities = append(a.authorities, good...) // the third answers
	if b, err := a.Seal(context.Background(), "test"); err != nil || len(b) != 1 || b[0].Authority != "embedded" {
		t.Errorf("%v, %v", b, err)
	}
}

// TestRemoteAuthorities seals with an authority on the network, behind one that is
// down and one that answers with nonsense.
func TestRemoteAuthorities(t *testing.T) {
	local, err := tsp.NewLocal("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	files, err := local.PEM()
	if err != nil {
		t.Fatal(err)
	}
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, files.Root, 0o600); err != nil {
		t.Fatal(err)
	}
	good := httptest.NewServer(local)
	defer good.Close()
	nonsense := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }))
	defer nonsense.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	a := newArchive(t, func(s string) string {
		before, _, _ := strings.Cut(s, "timestamps:\n")
		var b strings.Builder
		b.WriteString(before + "timestamps:\n")
		for _, x := range []struct{ name, url string }{{"gone", gone.URL}, {"nonsense", nonsense.URL}, {"good", good.URL}} {
			fmt.Fprintf(&b, "  - name: %s\n    url: %s\n    roots: %s\n    timeout: 5s\n    tries: 1\n", x.name, x.url, roots)
		}
		return b.String() + "seal:\n  max-leaves: 100\n"
	})
	deposit(t, a, digital("a", "1"))
	b, err := a.Seal(context.Background(), "test")
	if err != nil || len(b) != 1 || b[0].Authority != "good" {
		t.Fatalf("%v, %v", b, err)
	}
	s, err := a.Status()
	if err != nil || s.Authorities[2].Expires == nil || !s.Authorities[2].Expires.Equal(local.Certificate.NotAfter) {
		t.Errorf("status %+v, %v", s, err)
	}
}

// TestTilesAreReadByATilesClient reads an export with x/mod's own client code.
func TestTilesAreReadByATilesClient(t *testing.T) {
	a := newArchive(t, nil)
	dir := filepath.Join(t.TempDir(), "tiles")
	for round := range 3 {
		concurrently(16, func(int) {
			for range 20 * round {
				e := integrity.Entry{Kind: integrity.Deposit, Tenant: "t", Agent: "a"}
				if _, _, err := a.commit(context.Background(), &operation{id: newID(opID), entry: e}); err != nil {
					t.Error(err)
				}
			}
		})
		if _, err := a.ExportTiles(context.Background(), dir); err != nil {
			t.Fatal(err)
		}
		signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
		if err != nil {
			t.Fatal(err)
		}
		cp, err := integrity.ParseCheckpoint(signed, a.verifier)
		if err != nil {
			t.Fatal(err)
		}
		r := tlog.TileHashReader(tlog.Tree{N: cp.Size, Hash: cp.Root}, tileDir{dir})
		for n := range cp.Size {
			proof, err := tlog.ProveRecord(cp.Size, n, r)
			if err != nil {
				t.Fatal(err)
			}
			entry := readBundle(t, dir, cp.Size, n)
			if err := integrity.CheckInclusion(cp, n, entry, proof); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// tileDir reads tiles in the layout of C2SP.
type tileDir struct{ dir string }

func (d tileDir) Height() int { return 8 }

func (d tileDir) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range tiles {
		b, err := os.ReadFile(filepath.Join(d.dir, strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

func (d tileDir) SaveTiles([]tlog.Tile, [][]byte) {}

// readBundle reads one entry from its entry bundle.
func readBundle(t *testing.T, dir string, size, n int64) []byte {
	t.Helper()
	tile := tlog.Tile{H: 8, L: 0, N: n / 256, W: int(min(256, size-n/256*256))}
	b, err := os.ReadFile(filepath.Join(dir, strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for range n % 256 {
		b = b[2+binary.BigEndian.Uint16(b):]
	}
	return b[2 : 2+binary.BigEndian.Uint16(b)]
}

func TestConfigErrorsNameKeyAndLine(t *testing.T) {
	good, err := newConfigFile("aabcdefghijklmnopqrstuvwxyz", New{Origin: "example.org/sae", Tenant: "t", TenantName: "T"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseConfig(good); err != nil {
		t.Fatalf("the file that init writes: %v", err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"copies: 2", "copies: 3", "storage.copies: want 1 to 2"},
		{"copies: 2", "copies: two", "copies: two"},
		{"offer-down: refuse", "offer-down: hope", "storage.offer-down: want refuse or queue"},
		{"offer-down: refuse", "offre-down: refuse", "offre-down"},
		{"name: second", "name: first", "offers[1].name"},
		{"path: offers/second", "path: offers/first", "offers[1].path"},
		{"embedded: true", "embedded: false", "timestamps[0].name"},
		{"id: general", "id: gen eral", "tenants[0].agreements[0].id"},
		{"max-leaves: 1048576", "max-leaves: 1", "seal.max-leaves"},
		{"origin: ", "origin: 'a b' # ", "origin: want a name"},
		{"seal:", "seal: [", ""},
	} {
		bad := strings.Replace(string(good), c.old, c.new, 1)
		_, err := parseConfig([]byte(bad))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.new, err)
			continue
		}
		// The line is that of the key, or of the first key of its list item.
		line, named := 1+strings.Count(bad[:strings.LastIndex(bad, c.new)], "\n"), false
		for l := line - 2; l <= line+1; l++ {
			named = named || strings.Contains(err.Error(), fmt.Sprintf("line %d,", l)) || strings.Contains(err.Error(), fmt.Sprintf("[%d:", l))
		}
		if !named {
			t.Errorf("%q on line %d: no line in %v", c.new, line, err)
		}
	}
	for _, bad := range []string{"", "[]", "a: b", "\x00"} {
		if _, err := parseConfig([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzConfig(f *testing.F) {
	good, err := newConfigFile("aabcdefghijklmnopqrstuvwxyz", New{Origin: "example.org/sae", Tenant: "t", TenantName: "T"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("a: &x [*x]"))
	f.Fuzz(func(t *testing.T, b []byte) { parseConfig(b) })
}
