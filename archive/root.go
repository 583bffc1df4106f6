package archive

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sae/archive/durable"
	"sae/archive/hsm"
	"sae/archive/vault"
)

// The root key lies in a slot of its own: as it is, or wrapped under a key of a token (keeper.go).
// To destroy data keys is to draw another root, and to destroy this one:
//
//  1. the token, where roots are kept in one, makes a key for the root to come;
//  2. the slot takes the root that is and the one to come, behind each other;
//  3. the transaction destroys the keys and wraps what survives anew, under the new root;
//  4. the slot takes the new root alone, and its other place is wiped;
//  5. the token destroys the key of the old one.
//
// A crash leaves a key in the token of which the slot does not speak, or both roots in the slot, of
// which the catalogue tells which one it is under, or a place to be wiped, or the old key: opening
// for writing goes on from there. The slot says of each root how it is kept, so that to move it is
// to replace it: nothing else changes.

const rootSize = 32

// rootsForm begins what a slot holds when a root in it is wrapped. Without one, it is the bytes of
// one root or of two.
const rootsForm = "sae-root/1"

type heldRoots struct {
	Form  string     `json:"form"`
	Roots []heldRoot `json:"roots"` // the one to come last
}

func encodeRoots(held ...heldRoot) []byte {
	var plain []byte
	for _, h := range held {
		if h.Key != "" {
			return mustJSON(heldRoots{rootsForm, held})
		}
		plain = append(plain, h.Root...)
	}
	return plain
}

func parseRoots(value []byte) ([]heldRoot, error) {
	if len(value) == rootSize || len(value) == 2*rootSize {
		var held []heldRoot
		for root := range slices.Chunk(value, rootSize) {
			held = append(held, heldRoot{Root: root})
		}
		return held, nil
	}
	var h heldRoots
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil || h.Form != rootsForm || len(h.Roots) != 1 && len(h.Roots) != 2 {
		return nil, fmt.Errorf("%d bytes that are not root keys", len(value)) // the cause could quote them
	}
	return h.Roots, nil
}

// rootSlot is the slot of the root key, and the ways in which roots are kept.
type rootSlot struct {
	slot  *durable.Slot
	held  []heldRoot // the one to come last
	gen   uint64
	token *inToken // nil when there is none, or nothing needs it
}

// rootPlace is where to find the root key of an archive.
type rootPlace struct {
	fs      durable.FS
	path    string
	archive string
	token   *hsm.Config
	fault   func(string) error // see inToken
}

func (a *Archive) rootPlace() rootPlace {
	return rootPlace{a.fs, a.config.Slots.Root, a.config.Archive, a.config.Slots.PKCS11, a.tokenFault}
}

// errTokenNeeded says that a slot can be read with a token only.
var errTokenNeeded = errors.New("it lies in a PKCS#11 token: name module, token and pin-file of that under slots.pkcs11 in " + ConfigName)

// open opens the slot and, where it is needed, the token; without write it changes nothing in
// either.
func (p rootPlace) open(write bool) (*rootSlot, error) {
	slot, err := durable.OpenSlot(p.fs, p.path)
	if err != nil {
		return nil, &DamagedError{What: "root key", Where: p.path, Err: err}
	}
	s := &rootSlot{slot: slot}
	if err := s.load(); err != nil {
		return nil, errors.Join(&DamagedError{What: "root key", Where: p.path, Err: err}, slot.Close())
	}
	inToken := slices.ContainsFunc(s.held, func(h heldRoot) bool { return h.Key != "" })
	switch {
	case inToken && p.token == nil:
		err = errTokenNeeded
	case inToken || write && p.token != nil:
		s.token, err = openToken(*p.token, p.archive, write, p.fault)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("root key %s: %w", p.path, err), slot.Close())
	}
	return s, nil
}

func (s *rootSlot) load() error {
	value, gen, _, err := s.slot.Load()
	if err != nil {
		return err
	}
	s.gen = gen
	s.held, err = parseRoots(value)
	return err
}

func (s *rootSlot) close() error {
	err := s.slot.Close()
	if s.token != nil {
		err = errors.Join(err, s.token.close())
	}
	for _, h := range s.held {
		clear(h.Root)
	}
	return err
}

// keeperOf gives the way in which a root is kept.
func (s *rootSlot) keeperOf(held heldRoot) keeper {
	if held.Key == "" {
		return inFile{}
	}
	return s.token
}

// openedRoot is a root, and how the slot holds it.
type openedRoot struct {
	root [rootSize]byte
	held heldRoot
}

// roots opens what the slot holds, the one to come first. One whose key is gone is left out, as
// long as another opens.
func (s *rootSlot) roots() (roots []openedRoot, err error) {
	var gone error
	for _, h := range slices.Backward(s.held) {
		root, err := s.keeperOf(h).open(h)
		switch {
		case errors.Is(err, hsm.ErrNoKey):
			gone = err
		case err != nil:
			return nil, err
		default:
			roots = append(roots, openedRoot{root, h})
		}
	}
	if len(roots) == 0 {
		return nil, gone
	}
	return roots, nil
}

func (s *rootSlot) swap(held ...heldRoot) (err error) {
	value := encodeRoots(held...)
	defer clear(value)
	if s.gen, err = s.slot.CompareAndSwap(s.gen, value); err == nil {
		s.held = held
	}
	return err
}

// settle leaves one root in the slot, and nothing of another, there or in the token.
func (s *rootSlot) settle(held heldRoot) error {
	if len(s.held) != 1 {
		if err := s.swap(held); err != nil {
			return fmt.Errorf("settling the root key: %w", err)
		}
	}
	alone, err := s.slot.Alone()
	if err != nil {
		return err
	}
	if !alone {
		if err := s.slot.WipeOther(); err != nil {
			return fmt.Errorf("wiping the root key before: %w", err)
		}
	}
	if s.token == nil {
		return nil
	}
	if err := s.token.only(held); err != nil {
		return fmt.Errorf("destroying the key of the root key before: %w", err)
	}
	return nil
}

// RootKept says where a root key is kept.
type RootKept string

// Where it is kept.
const (
	KeptInFile   RootKept = "file"
	KeptInPKCS11 RootKept = "pkcs11"
)

// kept says where the configuration wants roots kept.
func (c *SlotConfig) kept() RootKept {
	if c.PKCS11 != nil {
		return KeptInPKCS11
	}
	return KeptInFile
}

func (h *heldRoot) kept() RootKept {
	if h.Key != "" {
		return KeptInPKCS11
	}
	return KeptInFile
}

// create makes the slot with a first root, kept as the configuration says. It fails when there is
// a file. Keys that an archive whose slot was lost has left in the token stay until it is opened for
// writing: who rebuilds it elsewhere to look at it takes nothing from the one that lives.
func (p rootPlace) create(root [rootSize]byte) (err error) {
	var k keeper = inFile{}
	if p.token != nil {
		if k, err = openToken(*p.token, p.archive, true, p.fault); err != nil {
			return fmt.Errorf("root key: %w", err)
		}
	}
	held, err := k.keep(root)
	if err == nil {
		err = durable.CreateSlot(p.fs, p.path, 0o600, encodeRoots(held))
	}
	return errors.Join(err, k.close())
}

// undo leaves no key of the archive in the token.
func (p rootPlace) undo() error {
	k, err := openToken(*p.token, p.archive, true, p.fault)
	if err != nil {
		return nil // then there is none either
	}
	return errors.Join(k.only(heldRoot{}), k.close())
}

// nextRoot is a root that is to take the place of the one that is.
type nextRoot struct {
	a        *Archive
	slot     *rootSlot
	root     [rootSize]byte
	old, new heldRoot
}

// newRoot draws a root and writes it into the slot beside the one that is, for a transaction
// that destroys keys.
func (a *Archive) newRoot(kept RootKept) (*nextRoot, error) {
	slot, err := a.rootPlace().open(true)
	if err != nil {
		return nil, err
	}
	n := &nextRoot{a: a, slot: slot, old: slot.held[0]}
	if err := n.draw(kept); err != nil {
		return nil, errors.Join(fmt.Errorf("root key: %w", err), slot.close())
	}
	root := n.root // which close clears: when the outcome is not known, both open what there is until the end
	a.vault.Prepare(&root)
	return n, nil
}

func (n *nextRoot) draw(kept RootKept) (err error) {
	if len(n.slot.held) != 1 {
		return errors.New("it is being replaced already: reopen the archive")
	}
	rand.Read(n.root[:])
	var k keeper = inFile{}
	if kept == KeptInPKCS11 {
		k = n.slot.token
	}
	if n.new, err = k.keep(n.root); err != nil {
		return err
	}
	return n.slot.swap(n.old, n.new)
}

// settle ends it: the new root alone stays when the transaction took place, the old one when it
// did not. When that is not known, both stay, and it is not called.
func (n *nextRoot) settle(committed bool) error {
	if !committed {
		n.a.vault.Prepare(nil)
		return n.slot.settle(n.old)
	}
	n.a.vault.Advance()
	return n.slot.settle(n.new)
}

func (n *nextRoot) close() error {
	clear(n.root[:])
	return n.slot.close()
}

// metaRoot is the row of how often the root key was replaced, a rootRecord.
var metaRoot = []byte("root")

type rootRecord struct {
	Replaced int64     `json:"replaced"` // times
	Since    time.Time `json:"since"`    // when it was, the last time
	Entry    int64     `json:"entry"`    // of the ledger, by which
}

func (t *tx) rootRecord() (r rootRecord, err error) {
	v, err := t.get(bktMeta, metaRoot)
	if err == nil && v != nil {
		err = json.Unmarshal(v, &r)
	}
	return r, err
}

// commitNewRoot commits an operation under a new root key, on behalf of agent. last is what it does
// last in its transaction: it must bring the key tree under the new root. The caller holds acting.
func (a *Archive) commitNewRoot(ctx context.Context, agent string, op *operation, kept RootKept, last func(t *tx, p position, root [rootSize]byte) error) (position, error) {
	if a.readOnly {
		return position{}, ErrReadOnly
	}
	next, err := a.newRoot(kept)
	if err != nil {
		return position{}, err
	}
	defer next.close()
	op.alone = true
	op.last = func(t *tx, p position) error {
		if err := last(t, p, next.root); err != nil {
			return err
		}
		r, err := t.rootRecord()
		if err != nil {
			return err
		}
		return t.put(bktMeta, metaRoot, mustJSON(rootRecord{r.Replaced + 1, p.time, p.entry}))
	}
	pos, _, err := a.commit(ctx, op)
	if errors.Is(err, errUncertain) {
		return pos, err // reopening tells which root it is
	}
	if settled := next.settle(err == nil); settled != nil {
		a.fail(settled)
		err = errors.Join(err, settled)
	}
	if err == nil {
		a.renewEscrow(context.WithoutCancel(ctx), agent)
	}
	return pos, err
}

// rootOf gives the root of a slot that opens the catalogue; ErrWrongRoot when none does.
func (s *rootSlot) rootOf(cat *catalogue) (*openedRoot, error) {
	roots, err := s.roots()
	if err != nil {
		return nil, err
	}
	for i := range roots {
		if err = opensCatalogue(cat, roots[i].root); !errors.Is(err, vault.ErrWrongRoot) {
			return &roots[i], err
		}
	}
	return nil, err
}

// opensCatalogue says whether a root key opens a catalogue.
func opensCatalogue(cat *catalogue, root [rootSize]byte) error {
	return cat.view(func(t *tx) error {
		_, err := vault.New(root).Unwrap(keyStore{t}, indexKeyNumber)
		return err
	})
}
