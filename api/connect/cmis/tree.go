package cmis

import (
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"sae/api"
	"sae/api/client"
)

// tree is a folder as it was when it was read: what becomes of it, and by what a change is noticed.
type tree struct {
	root     *Object
	metadata api.DepositMetadata
	contents []client.Content
	marks    []mark // what is marked when it is archived, the root first
	stamp    hash.Hash
	size     int64 // as declared
	skipped  int   // objects that are neither folder nor document, or that the mapping skips
	seen     map[string]bool
}

// mark is an object to mark.
type mark struct {
	ID        string   `json:"id"`
	Token     string   `json:"token,omitempty"`
	Secondary []string `json:"secondary,omitempty"` // types that it has
	Unit      int      `json:"unit"`                // index among the units
}

const (
	maxUnits  = 10_000 // of a deposit
	maxLevels = 50
)

// errChanged: a folder is not any more as it was, or somebody is at work in it. It comes later.
var errChanged = errors.New("it changed meanwhile")

// read reads what a deposit of an object is.
func (p *Puller) read(ctx context.Context, root *Object) (*tree, error) {
	m := p.Mapping
	t := &tree{root: root, stamp: sha256.New(), seen: map[string]bool{}}
	t.metadata = api.DepositMetadata{Agreement: root.text(m.Agreement), Agency: root.text(m.Agency), File: root.text(m.File)}
	if m.File != "" && t.metadata.File == "" {
		return nil, Problems{fmt.Sprintf("file: %s has nothing at %s", root.ID, m.File)}
	}
	return t, p.add(ctx, t, root, nil, 0)
}

// fingerprint is of all that tells of a change.
func (t *tree) fingerprint() string { return hex.EncodeToString(t.stamp.Sum(nil)) }

func (t *tree) note(o *Object) {
	modified := o.props[propModified]
	fmt.Fprintf(t.stamp, "%q %q %q %q %q %q\n", o.ID, o.Text(propToken), fmt.Sprint(modified...), o.Text(propLabel), o.Text(propLength), o.Text(propName))
}

// add adds an object, and what stands below it.
func (p *Puller) add(ctx context.Context, t *tree, o *Object, parent *int, level int) error {
	if t.seen[o.ID] { // filed in two folders, which a folder may not be
		return nil
	}
	t.seen[o.ID] = true
	rule := p.Mapping.ruleOf(o)
	if rule.Skip {
		t.skipped++
		return nil
	}
	switch o.Text(propBase) {
	case baseFolder:
		t.note(o)
		return p.addFolder(ctx, t, o, rule, parent, level)
	case baseDocument:
		return p.addDocument(ctx, t, o, rule, parent)
	}
	t.skipped++ // items, policies, relationships
	return nil
}

func (p *Puller) addFolder(ctx context.Context, t *tree, o *Object, rule TypeRule, parent *int, level int) error {
	if level > maxLevels {
		return Problems{fmt.Sprintf("%s stands deeper than %d folders", o.ID, maxLevels)}
	}
	at, err := t.unit(o, rule, parent)
	if err != nil {
		return err
	}
	if level == 0 {
		t.mark(o, at)
	}
	children, err := p.children(ctx, o)
	if err != nil {
		return err
	}
	for _, child := range children {
		if err := p.add(ctx, t, child, &at, level+1); err != nil {
			return err
		}
	}
	return nil
}

// children are what stands in a folder, by name: a repository promises no order, and what is deposited
// again after a lost answer is to be the same.
func (p *Puller) children(ctx context.Context, o *Object) (all []*Object, err error) {
	for {
		page, err := p.Browser.children(ctx, o.ID, len(all))
		if err != nil {
			return nil, err
		}
		if all = append(all, page.objects...); len(all) > maxUnits {
			return nil, tooMany(o)
		}
		if !page.more {
			break
		}
	}
	slices.SortFunc(all, func(a, b *Object) int {
		return cmp.Or(strings.Compare(a.Text(propName), b.Text(propName)), strings.Compare(a.ID, b.ID))
	})
	return all, nil
}

func tooMany(o *Object) error {
	return Problems{fmt.Sprintf("%s has more than %d objects: a deposit has at most that many", o.ID, maxUnits)}
}

// addDocument adds a document. When it has several versions, each is a unit of its own below the
// document's: it has its own date, content and label, as an ArchiveUnit of SEDA has its Version.
func (p *Puller) addDocument(ctx context.Context, t *tree, o *Object, rule TypeRule, parent *int) error {
	if o.isTrue(propPWC) || o.isTrue(propOut) {
		return fmt.Errorf("%s is checked out: %w", o.ID, errChanged)
	}
	versions := []*Object{o}
	if p.Mapping.Versions != "last" && o.Text(propSeries) != "" {
		all, err := p.Browser.versions(ctx, o.ID)
		if err != nil && (o.Text(propLabel) != "" || !unversioned(err)) {
			return err
		}
		if err == nil && len(all) > 0 {
			versions = all
		}
	}
	if len(versions) == 1 {
		at, err := t.document(p, ctx, versions[0], rule, parent, "")
		if err == nil && (parent == nil || p.marksDocuments()) {
			t.mark(versions[0], at)
		}
		return err
	}
	at, err := t.unit(o, rule, parent)
	if err != nil {
		return err
	}
	t.metadata.Units[at].Document = "" // its versions have the type
	if parent == nil || p.marksDocuments() {
		t.mark(versions[len(versions)-1], at)
	}
	for _, v := range versions {
		t.seen[v.ID] = true
		if v.isTrue(propPWC) {
			return fmt.Errorf("%s is checked out: %w", o.ID, errChanged)
		}
		if _, err := t.document(p, ctx, v, rule, &at, v.Text(propLabel)); err != nil {
			return err
		}
	}
	return nil
}

// unversioned reports whether an error says that a document is of a type that has no versions: the
// specification has no word for it, and repositories use these.
func unversioned(err error) bool {
	return isException(err, "constraint") || isException(err, "notSupported") || isException(err, "invalidArgument")
}

func (p *Puller) marksDocuments() bool { return p.Mapping.Mark != nil && p.Mapping.Mark.Documents }

func (t *tree) mark(o *Object, unit int) {
	m := mark{ID: o.ID, Token: o.Text(propToken), Unit: unit}
	for _, v := range o.props[propSecondary] {
		m.Secondary = append(m.Secondary, text(v, ""))
	}
	t.marks = append(t.marks, m)
}

// unit adds the unit of an object.
func (t *tree) unit(o *Object, rule TypeRule, parent *int) (int, error) {
	if len(t.metadata.Units) == maxUnits {
		return 0, tooMany(t.root)
	}
	u := api.Unit{Title: o.text(rule.Title), Description: o.text(rule.Description), StartDate: o.day(rule.Start), EndDate: o.day(rule.End),
		Rule: o.text(rule.Rule), RuleStart: o.day(rule.RuleStart), Access: o.text(rule.Access), AccessStart: o.day(rule.AccessStart), Document: o.text(rule.Document)}
	if parent != nil {
		at := *parent
		u.Parent = &at
	}
	for key, from := range rule.Custom {
		if v := o.text(from); v != "" {
			if u.Custom == nil {
				u.Custom = map[string]string{}
			}
			u.Custom[key] = v
		}
	}
	if u.Title == "" {
		return 0, Problems{fmt.Sprintf("%s has no title: it has nothing at %s", o.ID, rule.Title)}
	}
	t.metadata.Units = append(t.metadata.Units, u)
	return len(t.metadata.Units) - 1, nil
}

// document adds the unit of a document, or of one version of it, with its content.
func (t *tree) document(p *Puller, ctx context.Context, o *Object, rule TypeRule, parent *int, label string) (int, error) {
	t.note(o)
	at, err := t.unit(o, rule, parent)
	if err != nil || !o.hasContent() {
		return at, err
	}
	u := &t.metadata.Units[at]
	if label != "" {
		u.Title += " (version " + label + ")"
	}
	u.Content = &api.UnitContent{Part: fmt.Sprintf("p%d", len(t.contents)), Filename: o.Text(propFileName)}
	if u.Content.Filename == "" {
		u.Content.Filename = u.Title
	}
	if n := o.length(); n >= 0 {
		u.Content.Size = &n
		t.size += n
	}
	check, digest := declared(o)
	if check == "sha-256" {
		u.Content.SHA256 = digest
	}
	t.contents = append(t.contents, client.Content{Part: u.Content.Part, Open: func() (io.ReadCloser, error) {
		body, err := p.Browser.content(ctx, o.ID)
		if err != nil {
			return nil, err
		}
		held := &held{body: body, of: o.ID, length: o.length(), most: p.most(), want: digest}
		if check != "" {
			held.sum = hashes[check]()
		}
		return held, nil
	}})
	return at, nil
}

// hashes are those that cmis:contentStreamHash may have, the best first.
var (
	hashNames = []string{"sha-256", "sha-512", "sha-1", "md5"}
	hashes    = map[string]func() hash.Hash{"sha-256": sha256.New, "sha-512": sha512.New, "sha-1": sha1.New, "md5": md5.New}
)

// declared is the best digest that a repository declares of a content: {algorithm}hexadecimal (section
// 2.1.4.3.3). "" when there is none that is known.
func declared(o *Object) (algorithm, digest string) {
	found := map[string]string{}
	for _, v := range o.props[propHash] {
		name, digest, ok := strings.Cut(strings.TrimPrefix(text(v, ""), "{"), "}")
		name = strings.ToLower(name)
		if made, known := hashes[name]; ok && known {
			if b, err := hex.DecodeString(strings.ReplaceAll(digest, " ", "")); err == nil && len(b) == made().Size() {
				found[name] = hex.EncodeToString(b)
			}
		}
	}
	for _, name := range hashNames {
		if found[name] != "" {
			return name, found[name]
		}
	}
	return "", ""
}

// held is a content that is held against what was declared of it. One that is not as declared is not
// archived: the deposit is given up before its end.
type held struct {
	body   io.ReadCloser
	of     string // object
	read   int64
	length int64 // -1: not declared
	most   int64
	sum    hash.Hash // nil: no digest is declared
	want   string
}

func (h *held) Read(p []byte) (int, error) {
	n, err := h.body.Read(p)
	h.read += int64(n)
	if h.sum != nil {
		h.sum.Write(p[:n])
	}
	switch {
	case h.length >= 0 && h.read > h.length:
		return n, Problems{fmt.Sprintf("%s: its content is longer than the %d bytes that are declared", h.of, h.length)}
	case h.read > h.most:
		return n, Problems{fmt.Sprintf("%s: its content has more than %d bytes", h.of, h.most)}
	case err == io.EOF && h.length >= 0 && h.read < h.length:
		return n, cutShort{fmt.Errorf("%s: its content ended after %d of %d bytes", h.of, h.read, h.length)}
	case err == io.EOF && h.sum != nil && hex.EncodeToString(h.sum.Sum(nil)) != h.want:
		return n, Problems{fmt.Sprintf("%s: its content does not have the digest that is declared", h.of)}
	case err != nil && err != io.EOF:
		return n, cutShort{fmt.Errorf("%s: reading its content: %w", h.of, err)}
	}
	return n, err
}

func (h *held) Close() error { return h.body.Close() }
