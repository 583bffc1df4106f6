package archive

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"context"
	"crypto/aes"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"sae/archive/procedure"
	"sae/archive/s3"
	"sae/archive/s3/s3test"
	"sae/archive/search"
	"sae/archive/stream"
	"sae/archive/vault"
	"sae/retention"
	"sae/seda"
)

// somebody is a person whose values are planted wherever the archive takes any. All begin with the tag.
type somebody struct {
	tag, birth string
	subject    *Subject
	units      []string // outside of the file
	all        []string // units and subjects
	values     map[string]bool
	contents   [][]byte
}

// v is a value of the person of which a needle is kept.
func (p *somebody) v(kind string) string {
	p.values[p.tag+kind] = true
	return p.tag + kind
}

// deflated is text within a zip.
func deflated(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("letter.txt")
	if err == nil {
		_, err = io.WriteString(w, strings.Repeat(text+" ", 40))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// streamedPDF is like a PDF whose text is a compressed stream.
func streamedPDF(text string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	io.WriteString(z, strings.Repeat("BT ("+text+") Tj ET ", 30))
	z.Close()
	return fmt.Sprintf("%%PDF-1.4\n1 0 obj<</Title(%s)>>endobj\n2 0 obj<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream endobj\n%%%%EOF\n", text, b.Len(), b.Bytes())
}

// citizensOf is citizens with a transfer's formats accepted, and offers as edit makes them.
func citizensOf(t *testing.T) (*Archive, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "archive")
	if _, err := Create(dir, New{AcceptUnknown: acceptable}); err != nil {
		t.Fatal(err)
	}
	editConfig(t, dir, func(c string) string { return strings.Replace(c, "    accept-unknown:", gdprRoles, 1) })
	a := reopened(t, dir)
	ctx := context.Background()
	rules, err := retention.Starting()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := a.PlanRules(ctx, "", rules, false)
	if err == nil {
		_, err = a.ChangeRules(ctx, "alice", plan)
	}
	if err == nil {
		_, err = a.AddProcedure(ctx, "alice", "", procedure.ShippedFile(procedure.Shipped()[0]))
	}
	if err != nil {
		t.Fatal(err)
	}
	return a, dir
}

// plant brings a person into the archive in every way in which there is one.
func plant(t *testing.T, a *Archive, tag, number, birth string) *somebody {
	t.Helper()
	ctx := context.Background()
	p := &somebody{tag: tag, birth: birth, values: map[string]bool{}}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	sub := FederatedID{"https://fournisseur.example", p.v("sub")}
	person := PersonData{FamilyName: p.v("family"), BirthName: p.v("maiden"), GivenNames: p.v("given"), BirthDate: birth, BirthPlace: p.v("place")}
	s, file, docs := openOwn(t, a, number, person, sub)
	p.values[number] = true
	other, err := a.NewSubject(ctx, "alice", "", PersonData{FamilyName: p.v("twin")}, []FederatedID{{"https://cd99.example", p.v("twinsub")}})
	do(err)
	_, err = a.MergeSubjects(ctx, "alice", other.ID, s.ID, p.v("mergereason"))
	do(err)
	_, err = a.LinkIdentity(ctx, "alice", s.ID, FederatedID{"https://cd98.example", p.v("linked")}, p.v("linkreason"))
	do(err)
	_, err = a.RectifySubject(ctx, "alice", s.ID, "", PersonData{FamilyName: p.v("newfamily")}, p.v("rectifyreason"))
	do(err)
	_, err = a.RecordEvent(ctx, "alice", EventRequest{File: number, Event: "decision", Day: "2015-03-01", Reason: p.v("eventreason")})
	do(err)

	// Outside of the file: contents of all forms, custom fields, a copy, a transfer.
	wide := string(utf16le(strings.Repeat(p.v("wide")+" ", 30)))
	units := []NewUnit{
		digital(p.v("title"), strings.Repeat(p.v("plain")+" habite ici. ", 50)),
		digital("pdf", streamedPDF(p.v("pdf"))),
		digital("zip", deflated(t, p.v("zip"))),
		digital("wide", wide),
		digital("large", strings.Repeat(p.v("large")+" ", maxPacked/4)),
	}
	units[1].Content.Filename = p.v("filename") + ".pdf"
	units[0].Description, units[0].Custom = p.v("description"), map[string]string{p.v("field"): p.v("custom")}
	d, err := a.Deposit(ctx, "alice", Deposit{Units: units})
	do(err)
	for _, u := range units {
		r, err := u.Content.Open()
		do(err)
		b, err := io.ReadAll(r)
		do(err)
		p.contents = append(p.contents, b)
	}
	c := copyOf(d.Units[0].ID, d.Units[0].Objects[0].ID, "Dissemination", pdf(p.v("copy")))
	c.Reason, c.Files[0].Tool, c.Files[0].Content = p.v("copyreason"), p.v("copytool"), text(p.v("copyfile")+".pdf", pdf(p.v("copy")))
	_, err = a.Convert(ctx, "alice", c)
	do(err)
	manifest := strings.Replace(simple("", "abc"), "<Title>Titre</Title>", "<Title>"+p.v("sedatitle")+"</Title>", 1)
	manifest = strings.Replace(manifest, ">N-1</OriginatingAgencyArchiveUnitIdentifier>", ">"+p.v("sedaidentifier")+"</OriginatingAgencyArchiveUnitIdentifier><Description>"+p.v("sedatext")+"</Description>", 1)
	manifest = strings.Replace(manifest, "<MessageIdentifier>m<", "<MessageIdentifier>"+p.v("sedamessage")+"<", 1)
	manifest = strings.Replace(manifest, "<Date>", "<Comment>"+p.v("sedacomment")+"</Comment><Date>", 1)
	in, err := a.DepositTransfer(ctx, "alice", Transfer{Package: packageOf(t, manifest), Subject: p.v("sedasubject")})
	if err != nil {
		t.Fatal(err, in.Findings.List)
	}
	var came []string
	do(a.cat.view(func(t *tx) error {
		return t.eachUnit(func(r *unitRecord) error {
			if r.deposited().Operation == in.Operation && isUnit(r.Unit) {
				came = append(came, r.Unit)
			}
			return nil
		})
	}))

	// What was decided on it, and asked.
	hold, err := a.Act(ctx, "alice", "", HoldAct, ActText{Units: []string{file}, Reason: p.v("holdreason"), Owner: p.v("holdowner")})
	do(err)
	_, err = a.ReviewHold(ctx, "alice", hold.ID, "", p.v("reviewreason"))
	do(err)
	_, err = a.EndAct(ctx, "alice", hold.ID, p.v("endreason"))
	do(err)
	q, err := a.OpenRequest(ctx, "alice", NewRequest{Article: 16, Subject: s.ID, Units: []string{d.Units[0].ID}, Words: RequestWords{Who: p.v("who"), Wish: p.v("wish"), Address: []string{p.v("street")}, Channel: p.v("channel")}})
	do(err)
	_, err = a.IdentifyRequest(ctx, "alice", q.ID, p.v("method"), false)
	do(err)
	_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: p.v("basis"), Paragraphs: []string{p.v("paragraph")}})
	do(err)
	title := p.v("newtitle")
	_, err = a.ExecuteRectification(ctx, "dave", q.ID, Rectified{Unit: d.Units[0].ID, Title: &title, Note: p.v("note"), Restrict: true})
	do(err)
	_, err = a.EndExecution(ctx, "dave", q.ID, p.v("donereason"))
	do(err)
	_, err = a.AnswerRequest(ctx, "dora", q.ID, "", "")
	do(err)
	// A restriction is a hold: it is lifted before anything is erased.
	acts, err := a.Acts("", RestrictionAct)
	do(err)
	for _, act := range acts {
		if act.Ended == nil && slices.Contains(act.Units, d.Units[0].ID) {
			_, err = a.EndAct(ctx, "alice", act.ID, p.v("liftreason"))
			do(err)
		}
	}
	p.subject = must(a.Subject(s.ID))
	for _, u := range d.Units {
		p.units = append(p.units, u.ID)
	}
	p.units = append(p.units, came...)
	p.all = append([]string{s.ID, other.ID, file, docs.Units[0].ID, docs.Units[1].ID}, p.units...)
	return p
}

// fill uses up a group of data keys, so that what comes behind stands in another.
func fill(t *testing.T, a *Archive) {
	t.Helper()
	units := make([]NewUnit, 300)
	for i := range units {
		units[i] = NewUnit{Parent: -1, Title: "folder"}
	}
	deposit(t, a, units...)
}

// eraseAll erases a person, with the units outside of the file.
func eraseAll(t *testing.T, a *Archive, p *somebody) *Erased {
	t.Helper()
	ctx := context.Background()
	q, err := a.OpenRequest(ctx, "alice", NewRequest{Article: 17, Subject: p.subject.ID, Units: p.units, Words: RequestWords{Who: p.v("who17"), Wish: p.v("wish17")}})
	if err == nil {
		_, err = a.IdentifyRequest(ctx, "alice", q.ID, p.v("method17"), false)
	}
	if err == nil {
		_, _, err = a.AnalyseRequest(ctx, "alice", q.ID)
	}
	if err == nil {
		_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Granted, LegalBasis: p.v("basis17"), Paragraphs: []string{p.v("paragraph17")}})
	}
	if err == nil {
		_, err = a.AnswerRequest(ctx, "dora", q.ID, strings.Repeat("0", 64), "")
	}
	var out *Erased
	if err == nil {
		out, err = a.ExecuteErasure(ctx, "dave", q.ID, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if int(out.Destroyed) != len(p.units)+3 || len(out.Kept) != 0 || len(out.Subjects) != 2 || !out.Words || out.Waiting != 0 {
		t.Fatalf("%+v", out)
	}
	return out
}

// TestErasureBeatsACopy: who has a copy of everything from before an erasure, and everything that is
// alive after it, reads nothing of the person, and confirms no guess; of somebody who stays, both.
func TestErasureBeatsACopy(t *testing.T) {
	a, dir := citizensOf(t)
	beatsACopy(t, a, dir, nil)
}

// TestErasureBeatsACopyInBucket: the same with an S3 server as third offer.
func TestErasureBeatsACopyInBucket(t *testing.T) {
	a, dir := citizensOf(t)
	a.Close()
	r, bucket := bucketOffer(t, dir)
	a = reopened(t, dir)
	if _, err := a.SyncOffer(context.Background(), "alice", "cloud", SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	beatsACopy(t, a, dir, func(to string) map[string][]byte { return bucketFiles(t, r, bucket) })
}

func beatsACopy(t *testing.T, a *Archive, dir string, bucket func(string) map[string][]byte) {
	defer func() { a.Close() }()
	goes := plant(t, a, "Zephirine", "Z-1931", "1931-02-03")
	fill(t, a)
	stays := plant(t, a, "Melchior", "M-1942", "1942-05-06")
	fill(t, a)
	mustSeal(t, a)
	for _, p := range []*somebody{goes, stays} {
		if found, err := a.Search("", p.v("description"), 10); err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
	}
	// Why somebody read is kept until the log's own retention is over (docs/gdpr.md): it is attacked
	// with the words of who stays.
	if _, err := a.As("alice", retention.ToRead).For(ForInstruction, stays.v("why")).Unit(stays.units[0], 0); err != nil {
		t.Fatal(err)
	}
	a.Close()
	before := filepath.Join(t.TempDir(), "before")
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	restorePermissions(t, before)
	var inBucket map[string][]byte
	if bucket != nil {
		inBucket = bucket(dir)
	}
	a = reopened(t, dir)
	eraseAll(t, a, goes)
	mustSeal(t, a)
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Fatalf("%+v %v", r.List, err)
	}
	mustFsck(t, a)
	a.Close()
	nothingOpens(t, before, dir)

	x := attack(t, before, inBucket, dir)
	x.guesses = nil
	for _, p := range []*somebody{goes, stays} {
		for v := range p.values {
			x.guesses = append(x.guesses, v)
		}
		x.guesses = append(x.guesses, p.birth)
	}
	if len(x.opened) < 300 || x.journals == 0 {
		t.Fatalf("it opens %d records and %d journal blobs: the attack does not work", len(x.opened), x.journals)
	}
	if x.spooled == 0 {
		t.Error("the spool of accesses does not open: the attack does not work")
	}
	if bucket != nil && x.inBucket == 0 {
		t.Error("the bucket's copies were not attacked")
	}
	all := bytes.Join(x.opened, []byte{0})
	for v := range goes.values {
		for _, form := range [][]byte{[]byte(v), utf16le(v), []byte(nameKey(v))} {
			if bytes.Contains(all, form) {
				t.Errorf("%s is read", v)
			}
		}
	}
	read := 0
	for v := range stays.values {
		if bytes.Contains(all, []byte(v)) || bytes.Contains(all, utf16le(v)) {
			read++
		} else if !strings.Contains(v, "sub") && v != "Melchiorlinked" && !strings.HasSuffix(v, "zip") && !strings.HasSuffix(v, "pdf") { // of identifiers there are pseudonyms; compressed
			t.Errorf("of who stays, %s is not read: the attack does not reach it", v)
		}
	}
	named := x.named()
	for what := range named {
		if strings.Contains(what, goes.tag) || strings.Contains(what, strings.ToUpper(goes.tag)) || strings.Contains(what, "Z-1931") {
			t.Errorf("a row that names confirms %q", what)
		}
	}
	for _, want := range []string{"Melchiorsub", "MELCHIORNEWFAMILY", "MELCHIORMAIDEN", "MELCHIORTWIN", "M-1942", "Melchiorsedaidentifier", "Melchiorlinked"} {
		if !named[want] {
			t.Errorf("of who stays, %q is not confirmed: the attack does not work", want)
		}
	}
	for what := range x.indexed() {
		if what != "archives" {
			t.Errorf("an index row confirms %q", what)
		}
	}
	if !x.indexed()["archives"] {
		t.Error("an index row does not confirm the tenant: the attack does not work")
	}
	for what := range x.searched(x.keys) {
		if !strings.Contains(what, stays.tag) && what != "M-1942" {
			t.Errorf("the search index confirms %q", what)
		}
	}
	with := x.searched(x.groupsBefore())
	for _, p := range []*somebody{goes, stays} {
		if !with[p.v("description")] {
			t.Errorf("not even the root from before opens the search index: the attack does not work: %v", with)
		}
	}
}

// bucketOffer adds a bucket to the offers of an archive.
func bucketOffer(t *testing.T, dir string) (*s3test.Running, s3.Config) {
	t.Helper()
	r := s3test.Start(t, s3test.MinIO)
	bucket := r.Bucket(t, "")
	if err := AddOffer(context.Background(), dir, OfferConfig{Name: "cloud", S3: &bucket}, Options{}); err != nil {
		t.Fatal(err)
	}
	return r, bucket
}

// bucketFiles are all objects of a bucket.
func bucketFiles(t *testing.T, r *s3test.Running, c s3.Config) map[string][]byte {
	t.Helper()
	ctx, out := context.Background(), map[string][]byte{}
	for o := range r.Client.ListObjects(ctx, c.Bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		g, err := r.Client.GetObject(ctx, c.Bucket, o.Key, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if out[o.Key], err = io.ReadAll(g); err != nil {
			t.Fatal(err)
		}
		g.Close()
	}
	return out
}

// rootIn is the root key of a slot.
func rootIn(t *testing.T, path string) [32]byte {
	t.Helper()
	held, _ := rootsIn(t, path)
	if len(held) != 1 || len(held[0].Root) != 32 {
		t.Fatal(len(held), "roots")
	}
	return [32]byte(held[0].Root)
}

// attacker has a copy of an archive from before, and every key that opens with the root of after.
type attacker struct {
	t        *testing.T
	dir      string
	rows     map[bucket][]record // of the copy: its catalogue, and journal blobs that open
	seen     map[string]bool
	blobs    map[string][]byte
	keys     [][32]byte
	index    [32]byte // data key 0
	wrapped  []record // keys that no key opens
	opened   [][]byte // what opens: records, contents
	guesses  []string
	journals int
	inBucket int
	spooled  int
}

func attack(t *testing.T, before string, inBucket map[string][]byte, live string) *attacker {
	t.Helper()
	x := &attacker{t: t, dir: before, rows: map[bucket][]record{}, seen: map[string]bool{}, blobs: map[string][]byte{}}
	x.keys = [][32]byte{rootIn(t, filepath.Join(live, "keys/root"))}
	known := map[[32]byte]bool{x.keys[0]: true}
	var wrapped []record
	x.catalogue(live, func(b bucket, k, v []byte) {
		if b == bktKey {
			wrapped = append(wrapped, record{b, k, v})
		}
	})
	wrapped = x.unwrap(wrapped, known)
	if len(wrapped) != 0 {
		t.Fatalf("%d keys of the archive that is alive do not open", len(wrapped))
	}
	x.catalogue(before, x.take)
	err := filepath.WalkDir(filepath.Join(before, "offers"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		x.blob(filepath.Base(path), readFile(t, path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, b := range inBucket {
		if x.blob(filepath.Base(key), b) {
			x.inBucket++
		}
	}
	for name, b := range x.blobs {
		x.journal(name, b)
	}
	x.wrapped = x.unwrap(x.rows[bktKey], known)
	x.records()
	x.contents()
	x.accesses()
	return x
}

// catalogue calls f for every row of a catalogue.
func (x *attacker) catalogue(dir string, f func(b bucket, k, v []byte)) {
	x.t.Helper()
	c, err := openCatalogue(filepath.Join(dir, catalogueFile), true)
	if err != nil {
		x.t.Fatal(err)
	}
	defer c.close()
	err = c.view(func(t *tx) error {
		return t.eachRow(func(b bucket, k, v []byte) error { f(b, bytes.Clone(k), bytes.Clone(v)); return nil })
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

// take keeps a row of the copy, once.
func (x *attacker) take(b bucket, k, v []byte) {
	if id := string(b) + "\x00" + string(k) + "\x00" + string(v); !x.seen[id] && v != nil {
		x.seen[id] = true
		x.rows[b] = append(x.rows[b], record{b, bytes.Clone(k), bytes.Clone(v)})
	}
}

// blob takes a blob of the copy; it reports whether it stands in the copy's folders, too, as it is.
func (x *attacker) blob(name string, b []byte) bool {
	was, ok := x.blobs[name]
	if ok && !bytes.Equal(was, b) {
		name += "+"
	}
	x.blobs[name] = b
	return ok
}

// unwrap opens wrapped keys with every key that it knows, until no more open; it gives those left.
func (x *attacker) unwrap(wrapped []record, known map[[32]byte]bool) []record {
	try := slices.Clone(x.keys)
	for len(try) > 0 {
		var fresh [][32]byte
		wrapped = slices.DeleteFunc(slices.Clone(wrapped), func(r record) bool {
			ad := append([]byte("sae vault 1"), r.key...) // level, number
			for _, k := range try {
				if b, err := vault.Open(k, ad, r.value); err == nil {
					key := [32]byte(b)
					if bytes.Equal(r.key, wrappedKey(0, indexKeyNumber)) {
						x.index = key
					}
					if !known[key] {
						known[key] = true
						fresh = append(fresh, key)
					}
					return true
				}
			}
			return false
		})
		x.keys, try = append(x.keys, fresh...), fresh
	}
	return wrapped
}

// journal reads the rows of a journal blob with any key.
func (x *attacker) journal(name string, b []byte) {
	_, head, err := readHeader(bytes.NewReader(b))
	if err != nil {
		return
	}
	for _, k := range append([][32]byte{x.index}, x.keys...) {
		n := 0
		err := readJournal(fileBlob{bytes.NewReader(b)}, journalKey(k), head, func(b bucket, k, v []byte) error { n++; x.take(b, k, v); return nil })
		if err == nil && n > 0 {
			x.journals++
			return
		}
	}
	x.t.Errorf("journal blob %s does not open: the attack does not work", name)
}

// fileBlob is bytes as a blob.
type fileBlob struct{ *bytes.Reader }

func (fileBlob) Close() error { return nil }

// records opens the sealed part of every row with every key.
func (x *attacker) records() {
	derived := make([][32]byte, len(x.keys))
	for i, k := range x.keys {
		derived[i] = recordKey(k)
	}
	for _, rows := range x.rows {
		for _, r := range rows {
			x.opened = append(x.opened, r.value) // what is in clear
			clear, cipher, ok := bytes.Cut(r.value, []byte{'\n'})
			if !ok || len(cipher) == 0 {
				continue
			}
			for _, k := range derived {
				if b, err := vault.Open(k, clear, cipher); err == nil {
					x.opened = append(x.opened, b)
					break
				}
			}
		}
	}
}

// contents opens every object with every key.
func (x *attacker) contents() {
	for _, r := range x.rows[bktObject] {
		var o objectRecord
		if err := decodeClear(r.value, &o); err != nil {
			x.t.Fatal(err)
		}
		for _, name := range []string{o.Blob, o.Blob + "+"} {
			b, ok := x.blobs[name]
			if !ok {
				continue
			}
			if o.Pack {
				b = b[o.Offset : o.Offset+o.length()]
			}
			for _, k := range x.keys {
				s, err := stream.NewReader(k, streamAD, stream.Source{Name: "copy", ReaderAt: bytes.NewReader(b), Size: int64(len(b))})
				if err != nil {
					continue
				}
				if got, err := io.ReadAll(s); err == nil {
					x.opened = append(x.opened, got)
					break
				}
			}
		}
	}
}

// accesses opens the spool of accesses with every key.
func (x *attacker) accesses() {
	b, err := os.ReadFile(filepath.Join(x.dir, spoolFile))
	if err != nil {
		x.t.Fatal(err)
	}
	h, err := parseSpoolHeader(b[:spoolHead])
	if err != nil {
		x.t.Fatal(err)
	}
	for _, k := range x.keys {
		scanSpool(bytes.NewReader(b), int64(len(b)), &h, spoolKey(k), func(_ uint64, plain []byte) error {
			x.spooled++
			x.opened = append(x.opened, bytes.Clone(plain))
			return nil
		})
	}
}

// named are the guesses that a row which names confirms: deciphered with every key as a group's, and
// as it stands.
func (x *attacker) named() map[string]bool {
	hashes := map[string]string{} // hash -> guess
	for _, kind := range namedKinds {
		for _, g := range x.guesses {
			id := func(issuer string) string {
				return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(keyedHash(x.index, "identity", "archives", issuer, g)))
			}
			for value, is := range map[string]string{g: g, nameKey(g): nameKey(g), id("https://fournisseur.example"): g, id("https://cd98.example"): g, id("https://cd99.example"): g,
				fieldKey(seda.Field{Name: "Title", Value: g}): g, fieldKey(seda.Field{Name: "OriginatingAgencyArchiveUnitIdentifier", Value: g}): g} {
				for _, k := range [][32]byte{x.index, x.keys[0]} {
					hashes[string(keyedHash(k, string(kind), "archives", value)[:aes.BlockSize])] = is
				}
			}
		}
	}
	var blocks []interface{ Decrypt(dst, src []byte) }
	for _, k := range x.keys {
		group := vault.Derive(k, "sae group 1")
		for _, key := range [][32]byte{k, group} {
			b, err := aes.NewCipher(key[:])
			if err != nil {
				x.t.Fatal(err)
			}
			blocks = append(blocks, b)
		}
	}
	out, clear := map[string]bool{}, make([]byte, aes.BlockSize)
	for _, r := range x.rows[bktNamed] {
		hash := r.key[1+groupSize : namedPrefix]
		if g, ok := hashes[string(hash)]; ok {
			out[g] = true
		}
		for _, b := range blocks {
			b.Decrypt(clear, hash)
			if g, ok := hashes[string(clear)]; ok {
				out[g] = true
			}
		}
	}
	return out
}

// indexed are the guesses, and public words, that rows of the index confirm.
func (x *attacker) indexed() map[string]bool {
	have := map[string]bool{}
	for _, r := range x.rows[bktIndex] {
		have[string(r.key[:min(17, len(r.key))])] = true
	}
	out := map[string]bool{}
	for kind := byte('a'); kind <= 'z'; kind++ {
		for _, g := range append([]string{"archives"}, x.guesses...) {
			for _, v := range []string{g, nameKey(g)} {
				for _, k := range [][32]byte{x.index, x.keys[0]} {
					if have[string(append([]byte{kind}, keyedHash(k, string(kind), "archives", v)[:16]...))] {
						out[g] = true
					}
				}
			}
		}
	}
	return out
}

// groupsBefore are the keys of groups of data keys, which the root from before opens.
func (x *attacker) groupsBefore() (keys [][32]byte) {
	c, err := openCatalogue(filepath.Join(x.dir, catalogueFile), true)
	if err != nil {
		x.t.Fatal(err)
	}
	defer c.close()
	v := vault.New(rootIn(x.t, filepath.Join(x.dir, "keys/root")))
	err = c.view(func(t *tx) error {
		_, next, err := t.counters()
		for group := uint64(0); err == nil && group <= vault.GroupOf(next-1); group++ {
			var key [32]byte
			key, err = v.Group(keyStore{t}, group)
			keys = append(keys, key)
		}
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return keys
}

// searched are the guesses that the copy's search index confirms, under keys and what is derived of
// them.
func (x *attacker) searched(keys [][32]byte) map[string]bool {
	files, err := filepath.Glob(filepath.Join(x.dir, searchDir, "[0-9]*"))
	if err != nil || len(files) == 0 {
		x.t.Fatal(files, err)
	}
	an, err := search.NewAnalyser()
	if err != nil {
		x.t.Fatal(err)
	}
	out, blocks := map[string]bool{}, 0
	for _, file := range files {
		f, err := search.Parse(readFile(x.t, file), vault.Derive(x.index, searchLabel))
		if err != nil {
			x.t.Fatal(err)
		}
		for group := range f.Groups {
			g := &f.Groups[group]
			if len(g.Units) == 0 {
				continue
			}
			blocks++
			for _, k := range keys {
				for _, key := range [][32]byte{k, vault.Derive(k, searchLabel), vault.Derive(vault.Derive(k, "sae group 1"), searchLabel)} {
					block, err := vault.Open(key, blockAD(uint64(group), g.Units), g.Block)
					if err != nil {
						continue
					}
					for _, guess := range x.guesses {
						if terms := an.Terms(guess); len(terms) > 0 {
							search.Match(block, terms, func(int, int) { out[guess] = true })
						}
					}
				}
			}
		}
	}
	if blocks == 0 {
		x.t.Fatal("the search index of the copy is empty")
	}
	return out
}

// TestErasureLeavesNoByte: no byte of what is alive after an erasure holds a value of the person, in
// any form in which a program could have written it; nor did any before, for none is in clear.
func TestErasureLeavesNoByte(t *testing.T) {
	t.Parallel()
	a, dir := citizensOf(t)
	defer func() { a.Close() }()
	p := plant(t, a, "Zephirine", "Z-1931", "1931-02-03")
	other := plant(t, a, "Melchior", "M-1942", "1942-05-06")
	mustSeal(t, a)
	if found, err := a.Search("", p.v("description"), 10); err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	a.Close()
	needles := needlesOf(p)
	grepAll(t, dir, needles, false)
	a = reopened(t, dir)
	eraseAll(t, a, p)
	mustSeal(t, a)
	if found, err := a.Search("", other.v("description"), 10); err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	a.Close()
	grepAll(t, dir, needles, !raced)
}

// needlesOf are the values of a person in all forms. The tag stands at the beginning of most.
func needlesOf(p *somebody) map[string]string {
	needles := map[string]string{}
	add := func(what string, b []byte) {
		for name, n := range encodings(b) {
			needles[n] = what + ", " + name
		}
	}
	for _, v := range []string{p.tag, strings.ToUpper(p.tag), "Z-1931", p.birth} {
		add(v+" in UTF-8", []byte(v))
		add(v+" in UTF-16LE", utf16le(v))
		be := utf16le(v)
		for i := 0; i < len(be); i += 2 {
			be[i], be[i+1] = be[i+1], be[i]
		}
		add(v+" in UTF-16BE", be)
	}
	for _, c := range p.contents {
		sum := sha256.Sum256(c)
		add("a digest", sum[:])
	}
	return needles
}

// grepAll looks for needles in every byte of every file below a folder and, when deep, in whatever can
// be decompressed from any byte on.
func grepAll(t *testing.T, dir string, needles map[string]string, deep bool) {
	t.Helper()
	seen := map[[sha256.Size]byte]bool{} // offers hold the same
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b := readFile(t, path)
		grep(t, path, append([]byte(path+"\x00"), b...), needles)
		if sum := sha256.Sum256(b); !deep || seen[sum] {
			return nil
		} else {
			seen[sum] = true
		}
		revealed(b, func(out []byte) { grep(t, path+", decompressed", out, needles) })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRevealedWouldFind: each form that is planted is found.
func TestRevealedWouldFind(t *testing.T) {
	p := &somebody{tag: "Zephirine", birth: "1931-02-03", contents: [][]byte{[]byte("content")}}
	needles := needlesOf(p)
	sum := sha256.Sum256([]byte("content"))
	noise := bytes.Repeat([]byte{0xd3, 0x5a, 0x00, 0x91, 0x17}, 40)
	plain := []byte("Mme Zephirine, née le 1931-02-03")
	for what, hay := range formsOf(t, plain, sum[:]) {
		found := 0
		look := func(b []byte) {
			for n := range needles {
				if bytes.Contains(b, []byte(n)) {
					found++
				}
			}
		}
		in := slices.Concat(noise, hay, noise)
		look(in)
		revealed(in, look)
		if found == 0 {
			t.Errorf("%s: not found", what)
		}
	}
	found := false
	revealed(noise, func(b []byte) { found = found || bytes.Contains(b, []byte("Zephirine")) })
	if found {
		t.Error("it finds what is not there")
	}
}
