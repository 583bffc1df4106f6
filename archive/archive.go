package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"sae/archive/durable"
	"sae/archive/hsm"
	"sae/archive/search"
	"sae/archive/vault"
	"sae/integrity"
	"sae/integrity/tsp"
	"sae/retention"
)

// Archive is an open archive, or the view of one tenant on it (Within). Its methods may be called at
// the same time.
type Archive struct {
	*state
	only string // tenant, of a view
}

// state is what an archive and its views share.
type state struct {
	// Set at opening, never changed.
	dir         string
	config      *Config
	policies    map[string]*policy
	fs          durable.FS
	log         *slog.Logger
	readOnly    bool
	session     string // first part of the names of blobs written now
	lock        *durable.Lock
	cat         *catalogue
	vault       *vault.Vault
	indexKey    [32]byte
	ledgerKey   string
	signer      note.Signer // nil when read-only
	verifier    note.Verifier
	offers      []*offer
	stageItems  int // see stage.go
	packFrom    int // see pack.go
	fileGroups  int // to a file of the search index; tests have fewer
	schedules   atomic.Pointer[map[string]*retention.Schedule]
	tokenFault  func(step string) error
	pause       time.Duration // after a failure to write to a bucket: see ailment
	slot        *durable.Slot // nil when read-only
	slotHealed  bool          // a place of the slot was found damaged at opening, and written again
	authorities []authority

	blobs   atomic.Uint64 // blobs named in this session
	sealing sync.Mutex    // one seal at a time
	acting  sync.Mutex    // one change of schedules, acts and eliminations at a time
	backing sync.Mutex    // one backup at a time
	closed  atomic.Bool
	noting  noting   // rows of refusals that wait: see noted.go
	running sync.Map // keys of writes that are under way: see once.go

	spooling sync.Mutex // one use of the spool of accesses at a time in this process; after acting
	spool    spoolState // guarded by spooling

	// What is done is counted, and traced when that is not nil: see work.go.
	counters counters
	trace    func(ctx context.Context, w Work) (context.Context, func(error))

	// The way of a commit.
	queue   chan pending
	stopped chan struct{}         // closed: no more is taken from the queue
	ended   chan struct{}         // closed: the committer has ended
	storing atomic.Int64          // deposits that are storing their content, or queued
	failed  atomic.Pointer[error] // a commit whose outcome is unknown: no more writes

	// Owned by the committer.
	lastTime time.Time // of the last entry
	edge     *edge     // of the ledger
	slotGen  uint64
}

// Options change how an archive is opened; the zero value is what people want.
type Options struct {
	ReadOnly bool
	Command  string       // what holds the lock, for those who find it taken
	Log      *slog.Logger // nil: nothing is logged
	FS       durable.FS   // tests inject faults here
	// NoKeys opens without the root key, for reading only: what is enciphered stays so.
	NoKeys bool
	// CatalogueFault, in tests, is asked before ("commit") and after ("committed")
	// each commit of the catalogue.
	CatalogueFault func(step string) error
	// TokenFault, in tests, is asked before and after each step of a PKCS#11 token: see inToken.
	TokenFault func(step string) error
	// Authorities, when not nil, stand in for those of the configuration.
	Authorities []tsp.Authority
	// AcceptRollback opens an archive whose catalogue was rolled back, so that
	// Archive.AcceptRollback can record it.
	AcceptRollback bool
	// Trace is called when a work begins, and what it gives when that has ended; it may be nil. It is
	// told what is done, never to whom or what.
	Trace func(ctx context.Context, w Work) (context.Context, func(error))
}

// Paths within an archive's directory.
const (
	lockFile      = "lock"
	catalogueFile = "catalogue.db"
	ledgerKeyFile = "keys/ledger"     // note signer key (C2SP signed-note)
	ledgerPubFile = "keys/ledger.pub" // note verifier key
	sessionFile   = "session"         // sessions of writers that did not close
	searchDir     = "search"
)

// Open opens the archive in dir. It fails with an error matching ErrLocked when
// another process writes to it, with a *RollbackError when its catalogue is older
// than the last checkpoint signed, and with a *DamagedError when its files
// contradict each other. Opened for writing, it first removes the ciphertext
// that an interrupted deposit left.
func Open(dir string, o Options) (*Archive, error) {
	config, err := LoadConfig(dir)
	if err != nil {
		return nil, err
	}
	o.ReadOnly = o.ReadOnly || o.NoKeys
	a := &Archive{state: &state{dir: dir, config: config, policies: config.policies(), fs: o.FS, log: o.Log, readOnly: o.ReadOnly, session: newID("s"), stageItems: stageItems, packFrom: packFrom, fileGroups: search.Groups, tokenFault: o.TokenFault, trace: o.Trace, pause: ailingFor,
		queue: make(chan pending, maxGroup), stopped: make(chan struct{}), ended: make(chan struct{})}}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if err := a.open(o); err != nil {
		a.release()
		return nil, err
	}
	go a.committer()
	if !o.AcceptRollback {
		a.takeAccessesWhenDue()
	}
	return a, nil
}

// open takes the steps of opening, each of which relies on those before.
func (a *Archive) open(o Options) error {
	if err := a.takeLock(o.Command); err != nil {
		return err
	}
	if err := a.checkPermissions(); err != nil {
		return err
	}
	if err := a.loadLedgerKey(); err != nil {
		return err
	}
	var err error
	if a.cat, err = openCatalogue(filepath.Join(a.dir, catalogueFile), a.readOnly); err != nil {
		return err
	}
	if o.NoKeys {
		a.vault = withoutKeys()
	} else if err := a.openVault(); err != nil {
		return err
	}
	cp, err := a.VerifyLedger(false)
	if err != nil {
		return err
	}
	if err := a.checkSlot(cp, o.AcceptRollback); err != nil {
		return err
	}
	if err := a.cat.view(a.loadSchedules); err != nil {
		return err
	}
	a.openOffers()
	a.authorities = a.newAuthorities(o.Authorities)
	if a.readOnly {
		return nil
	}
	if err := a.sweepSessions(); err != nil {
		return err
	}
	if err := a.forgetOldJournals(context.Background()); err != nil {
		return err
	}
	if err := a.keepFiles(); err != nil {
		return err
	}
	a.cat.fault = o.CatalogueFault
	return nil
}

// Close ends the archive, when no method of it runs any more. Another Close does nothing, nor does that
// of a view.
func (a *Archive) Close() error {
	if a.only != "" {
		return nil
	}
	if a.closed.Swap(true) {
		return nil
	}
	a.takeAccessesWhenDue()
	close(a.stopped)
	<-a.ended
	if !a.readOnly && a.failed.Load() == nil { // else the next opening sweeps
		a.fs.Remove(filepath.Join(a.dir, sessionFile))
	}
	return a.release()
}

func (a *Archive) release() error {
	var errs []error
	if a.cat != nil {
		errs = append(errs, a.cat.close())
	}
	if a.slot != nil {
		errs = append(errs, a.slot.Close())
	}
	if a.lock != nil {
		errs = append(errs, a.lock.Unlock())
	}
	return errors.Join(errs...)
}

// Config is the configuration the archive was opened with; it is not to be changed.
func (a *Archive) Config() *Config { return a.config }

func (a *Archive) takeLock(command string) (err error) {
	path := filepath.Join(a.dir, lockFile)
	if a.readOnly {
		a.lock, err = durable.LockShared(path)
	} else {
		a.lock, err = durable.LockExclusive(path, command)
	}
	return lockError(a.dir, err)
}

// lockError says who holds the archive in dir, when that is why its lock could not be taken.
func lockError(dir string, err error) error {
	var held *durable.HeldError
	if errors.As(err, &held) {
		return fmt.Errorf("%w: %s is held by %s; wait until it has finished", ErrLocked, dir, held.Holder)
	}
	return err
}

// checkPermissions refuses keys that others than their owner may read.
func (a *Archive) checkPermissions() error {
	paths := []string{a.config.Slots.Root, filepath.Join(a.dir, ledgerKeyFile), filepath.Join(a.dir, tsaKeyFile)}
	if token := a.config.Slots.PKCS11; token != nil {
		paths = append(paths, token.PIN)
	}
	for _, path := range paths {
		fi, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // said by the step that needs it
		}
		if err != nil {
			return fmt.Errorf("checking key file: %w", err)
		}
		if perm := fi.Mode().Perm(); perm&0o077 != 0 {
			return &DamagedError{What: "key file", Where: path,
				Why: fmt.Sprintf("its permissions are %#o, others may read it; set them with: chmod 600 %s", perm, path)}
		}
	}
	return nil
}

func (a *Archive) loadLedgerKey() error {
	path := filepath.Join(a.dir, ledgerPubFile)
	pub, err := os.ReadFile(path)
	if err != nil {
		return &DamagedError{What: "ledger key", Where: path, Err: err}
	}
	a.ledgerKey = firstLine(pub)
	if a.verifier, err = note.NewVerifier(a.ledgerKey); err != nil {
		return &DamagedError{What: "ledger key", Where: path, Err: err}
	}
	if a.readOnly {
		return nil
	}
	path = filepath.Join(a.dir, ledgerKeyFile)
	key, err := os.ReadFile(path)
	if err != nil {
		return &DamagedError{What: "ledger key", Where: path, Err: err}
	}
	if a.signer, err = note.NewSigner(firstLine(key)); err != nil {
		return &DamagedError{What: "ledger key", Where: path, Why: "not a note signer key"} // the cause could quote the key
	}
	if a.signer.KeyHash() != a.verifier.KeyHash() || a.signer.Name() != a.verifier.Name() {
		return &DamagedError{What: "ledger key", Where: path, Why: "does not belong to " + ledgerPubFile}
	}
	return a.proveKeyPair(path)
}

// proveKeyPair signs and verifies once: a private key of which a byte changed
// would sign checkpoints that nobody can verify.
func (a *Archive) proveKeyPair(path string) error {
	cp := integrity.Checkpoint{Origin: a.config.Origin}
	signed, err := cp.Sign(a.signer)
	if err == nil {
		_, err = integrity.ParseCheckpoint(signed, a.verifier)
	}
	if err != nil {
		return &DamagedError{What: "ledger key", Where: path, Why: "does not sign what " + ledgerPubFile + " verifies for the origin that " + ConfigName + " gives, " + a.config.Origin}
	}
	return nil
}

func firstLine(b []byte) string {
	for i, c := range b {
		if c == '\n' {
			return string(b[:i])
		}
	}
	return string(b)
}

// indexKeyNumber is the data key that is not a record's: the key of the keyed
// hashes in indexes and search.
const indexKeyNumber = 0

func (a *Archive) openVault() error {
	slot, err := a.rootPlace().open(!a.readOnly)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, durable.ErrSlot) {
		return fmt.Errorf("%w; a sealed copy brings it back: sae root restore", err)
	}
	if err != nil {
		return err
	}
	defer slot.close()
	root, err := slot.rootOf(a.cat)
	switch where := a.config.Slots.Root; {
	case errors.Is(err, hsm.ErrNoKey):
		return &DamagedError{What: "root key", Where: where, Err: err,
			Why: "it does not open any more: this is a copy of its slot from before it was replaced, or the token lost it; put back the slot of today, or a sealed copy: sae root restore"}
	case errors.Is(err, vault.ErrWrongRoot):
		return &DamagedError{What: "root key", Where: where, Why: "it does not open this catalogue: another archive's, damaged, or the catalogue is a copy from before units were destroyed"}
	case errors.Is(err, hsm.ErrWrapped):
		return &DamagedError{What: "root key", Where: where, Err: err}
	case err != nil:
		return err
	}
	a.vault = vault.New(root.root)
	if a.indexKey, err = a.unwrap(indexKeyNumber); err != nil {
		return err
	}
	if a.readOnly {
		return nil
	}
	return slot.settle(root.held)
}

// unwrap gives a data key.
func (a *Archive) unwrap(number uint64) (key [32]byte, err error) {
	err = a.cat.view(func(t *tx) error {
		key, err = a.vault.Unwrap(keyStore{t}, number)
		return err
	})
	return key, err
}

// checkSlot holds the catalogue's checkpoint against the last one signed. Ahead by
// a provable extension is what a crash between commit and slot leaves.
func (a *Archive) checkSlot(cp integrity.Checkpoint, acceptRollback bool) error {
	path := a.config.Slots.Checkpoint
	slot, err := durable.OpenSlot(a.fs, path)
	if err != nil {
		return &DamagedError{What: "checkpoint slot", Where: path, Err: err}
	}
	value, gen, damagedPlaces, err := slot.Load()
	if err != nil {
		slot.Close()
		return &DamagedError{What: "checkpoint slot", Where: path, Err: err}
	}
	if a.readOnly {
		defer slot.Close()
	} else {
		a.slot, a.slotGen = slot, gen
	}
	signed, err := integrity.ParseCheckpoint(value, a.verifier)
	if err != nil {
		return &DamagedError{What: "checkpoint slot", Where: path, Err: err}
	}
	if err := a.compareCheckpoints(cp, signed); err != nil {
		var r *RollbackError
		if acceptRollback && errors.As(err, &r) {
			return nil
		}
		return err
	}
	if len(damagedPlaces) > 0 && !a.readOnly { // torn by a crash, or spoilt by the disk
		if err := a.healSlot(); err != nil {
			return err
		}
	}
	return a.loadLastTime(cp)
}

// healSlot writes the spoilt place of the checkpoint slot again.
func (a *Archive) healSlot() error {
	a.log.Warn("a place of the checkpoint slot was damaged", "file", a.config.Slots.Checkpoint)
	a.slotHealed = true
	signed, err := a.Checkpoint()
	if err != nil {
		return err
	}
	return a.storeSlot(signed)
}

func (a *Archive) loadLastTime(cp integrity.Checkpoint) error {
	if cp.Size == 0 {
		return nil
	}
	b, err := a.Entry(cp.Size - 1)
	if err != nil {
		return err
	}
	e, err := integrity.ParseEntry(b)
	a.lastTime = e.Time
	return err
}

// compareCheckpoints gives a *RollbackError unless the catalogue contains the
// ledger of the last checkpoint signed.
func (a *Archive) compareCheckpoints(cp, signed integrity.Checkpoint) error {
	if cp.Size < signed.Size {
		return &RollbackError{Have: cp.Size, Want: signed.Size}
	}
	root, err := a.rootAt(signed.Size)
	if err == nil && root != signed.Root {
		err = &RollbackError{Have: cp.Size, Want: signed.Size, Forked: true}
	}
	return err
}

func (a *Archive) storeSlot(signed []byte) (err error) {
	if a.slotGen, err = a.slot.CompareAndSwap(a.slotGen, signed); err != nil {
		return fmt.Errorf("writing the checkpoint slot %s: %w", a.config.Slots.Checkpoint, err)
	}
	return nil
}

// openOffers opens what it can: an offer that is down is left to the policy.
func (a *Archive) openOffers() {
	var wg sync.WaitGroup
	for _, c := range a.config.Offers {
		o := &offer{name: c.Name}
		a.offers = append(a.offers, o)
		wg.Go(func() {
			store, err := c.open(context.Background(), a.fs, a.config.Archive)
			if err != nil {
				o.down = err
				a.log.Warn("offer is down", "offer", c.Name, "error", err)
			} else {
				o.blobs = store
			}
		})
	}
	wg.Wait()
}

// sweepSessions removes what the last writing processes that did not close the archive
// left, as far as nothing refers to it, and marks this process as the one that writes. Only
// their own blobs are listed: the cost is that of the interrupted work, not of the archive.
func (a *Archive) sweepSessions() error {
	path := filepath.Join(a.dir, sessionFile)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("sweeping after an interrupted process: %w", err)
	}
	var old []string
	for line := range strings.Lines(string(b)) {
		if session := strings.TrimSuffix(line, "\n"); idForm.MatchString(session) {
			old = append(old, session)
		}
	}
	if err := a.markSessions(append(old, a.session)); err != nil {
		return err
	}
	if err := a.sweepStages(); err != nil { // it writes to the journal
		return err
	}
	for _, session := range old {
		// The journal's first: what a journal blob speaks of must not go before it.
		for _, of := range []string{journalSession(session), session} {
			n, err := a.sweep(context.Background(), of+"-")
			if err != nil {
				return fmt.Errorf("sweeping after an interrupted process: %w", err)
			}
			a.log.Info("swept after an interrupted process", "session", of, "blobs", n)
		}
	}
	if len(old) == 0 {
		return nil
	}
	return a.markSessions([]string{a.session})
}

// markSessions writes down the sessions of which blobs may be left.
func (a *Archive) markSessions(sessions []string) error {
	if err := a.fs.WriteFile(filepath.Join(a.dir, sessionFile), []byte(strings.Join(sessions, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("marking the writing process: %w", err)
	}
	return nil
}

// sweep removes the blobs with the given prefix that no object refers to.
func (a *Archive) sweep(ctx context.Context, prefix string) (removed int, err error) {
	for _, o := range a.offers {
		if o.down != nil {
			continue
		}
		var orphans []string
		err := o.blobs.List(ctx, prefix, func(name string, _ int64) error {
			known, err := a.knowsBlob(name)
			if err == nil && !known && !a.isUnused(o.name, name) { // that may be locked
				orphans = append(orphans, name)
			}
			return err
		})
		if err != nil {
			return removed, fmt.Errorf("offer %s: %w", o.name, err)
		}
		for _, name := range orphans {
			if err := o.blobs.Delete(ctx, name); err != nil {
				return removed, fmt.Errorf("offer %s: %w", o.name, err)
			}
			removed++
		}
	}
	return removed, nil
}

func (a *Archive) knowsBlob(name string) (known bool, err error) {
	err = a.cat.view(func(t *tx) error {
		v, err := t.get(bktBlob, []byte(name))
		known = v != nil
		return err
	})
	return known, err
}
