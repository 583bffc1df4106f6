package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sae/archive/durable"
	"sae/archive/escrow"
	"sae/archive/hsm"
	"sae/archive/vault"
	"sae/integrity"
)

// A sealed copy of the root key opens the catalogue of its time, and what was destroyed since: as
// long as a holder may have one, what is destroyed is not beyond recovery. So each has a last day,
// and an entry in the ledger, which comes before the file: a crash between them leaves an entry of
// a copy that nobody has.

// metaEscrow is the row of the last sealed copy, an escrowRecord.
var metaEscrow = []byte("escrow")

type escrowRecord struct {
	Time     time.Time `json:"time"`
	Entry    int64     `json:"entry"`
	Replaced int64     `json:"replaced"` // how often the root key had been replaced: rootRecord
	MaxAge   int64     `json:"maxAge"`   // seconds
}

func (t *tx) escrowRecord() (*escrowRecord, error) {
	v, err := t.get(bktMeta, metaEscrow)
	if err != nil || v == nil {
		return nil, err
	}
	r := &escrowRecord{}
	return r, json.Unmarshal(v, r)
}

// Escrowed is a sealed copy of the root key.
type Escrowed struct {
	File  string `json:"file"`
	Entry int64  `json:"ledgerEntry"`
	escrow.Header
	replaced int64 // how often the root key had been replaced
}

// Escrow writes a copy of the root key into a new file, sealed to the recipients of the
// configuration, on behalf of agent. It is durable on return.
func (a *Archive) Escrow(ctx context.Context, agent, path string) (*Escrowed, error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("sealing the root key: %s: %w", path, ErrExists)
	}
	a.acting.Lock() // the root key is not replaced meanwhile
	defer a.acting.Unlock()
	return a.escrow(ctx, agent, path)
}

// escrow does it; the caller holds acting.
func (a *Archive) escrow(ctx context.Context, agent, path string) (*Escrowed, error) {
	e, sealed, err := a.sealRoot(ctx, agent)
	if err != nil {
		return nil, err
	}
	e.File = path
	if err := a.fs.WriteFile(path, sealed, 0o600); err != nil {
		return nil, fmt.Errorf("sealing the root key: the ledger has entry %d, there is no copy: %w", e.Entry, err)
	}
	return e, nil
}

// sealRoot seals the root key to the recipients of the configuration, after the ledger says so; the
// caller holds acting, and keeps what it gives.
func (a *Archive) sealRoot(ctx context.Context, agent string) (*Escrowed, []byte, error) {
	c := a.config.Escrow
	if c == nil {
		return nil, nil, &Refusal{Problems: []string{"to whom? name recipients and max-age under escrow in " + ConfigName}}
	}
	age, err := c.maxAge()
	if err != nil {
		return nil, nil, err
	}
	slot, err := a.rootPlace().open(false)
	if err != nil {
		return nil, nil, fmt.Errorf("sealing the root key: %w", err)
	}
	defer slot.close()
	root, err := slot.rootOf(a.cat) // a copy that opens nothing is none
	if err != nil {
		return nil, nil, fmt.Errorf("sealing the root key: %w", err)
	}
	op := &operation{id: newID(opID), entry: integrity.Entry{Kind: integrity.RootEscrowed, Tenant: a.config.Tenants[0].ID, Agent: agentID(a.indexKey, agent)}}
	op.detail = func(p position) any {
		return integrity.RootEscrowedDetail{Recipients: len(c.Recipients), MaxAge: int64(age / time.Second), Size: p.entry + 1}
	}
	replaced, err := a.replaced()
	if err != nil {
		return nil, nil, err
	}
	op.records = append(op.records, func(p position) []record {
		return []record{{bktMeta, metaEscrow, mustJSON(escrowRecord{p.time, p.entry, replaced, int64(age / time.Second)})}}
	})
	pos, _, err := a.commit(ctx, op)
	if err != nil {
		return nil, nil, fmt.Errorf("sealing the root key: %w", err)
	}
	// A crash here leaves an entry without a copy.
	e := &Escrowed{Entry: pos.entry, replaced: replaced, Header: escrow.Header{Archive: a.config.Archive, Made: pos.time, Ledger: pos.entry + 1, DestroyBy: pos.time.Add(age), Recipients: c.Recipients}}
	sealed, err := escrow.Seal(e.Header, root.root)
	if err != nil {
		return nil, nil, fmt.Errorf("sealing the root key: the ledger has entry %d, there is no copy: %w", pos.entry, err)
	}
	return e, sealed, nil
}

// replaced is how often the root key was.
func (a *Archive) replaced() (n int64, err error) {
	err = a.cat.view(func(t *tx) error {
		r, err := t.rootRecord()
		n = r.Replaced
		return err
	})
	return n, err
}

// escrowSuffix ends the names of sealed copies in the folder of the configuration.
const escrowSuffix = ".sae-escrow"

// renewEscrow seals the new root key into the folder of the configuration, after it was
// replaced, and removes the copies before. What fails undoes nothing: sae status says that the copy
// opens nothing any more. The caller holds acting.
func (a *Archive) renewEscrow(ctx context.Context, agent string) {
	c := a.config.Escrow
	if c == nil || c.Folder == "" {
		return
	}
	name := fmt.Sprintf("%s-%s%s", a.config.Archive, time.Now().UTC().Format("20060102T150405.000Z"), escrowSuffix)
	e, err := a.escrow(ctx, agent, filepath.Join(c.Folder, name))
	if err == nil {
		err = a.removeEscrows(c.Folder, e)
	}
	if err != nil {
		a.log.Error("the root key was replaced, and no copy of the new one was sealed, or older ones are left: run sae root escrow", "folder", c.Folder, "error", err)
	}
}

// removeEscrows removes the copies of this archive in a folder that are older than one.
func (a *Archive) removeEscrows(folder string, than *Escrowed) error {
	names, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range names {
		path := filepath.Join(folder, n.Name())
		if !n.Type().IsRegular() || !strings.HasSuffix(n.Name(), escrowSuffix) || path == than.File {
			continue
		}
		sealed, err := readEscrow(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if h, _, err := escrow.ReadHeader(sealed); err == nil && h.Archive == than.Archive && h.Ledger < than.Ledger {
			errs = append(errs, a.fs.Remove(path))
		}
	}
	return errors.Join(append(errs, a.fs.SyncDir(folder))...)
}

func readEscrow(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, escrow.MaxSize+1))
}

// EffectiveFrom gives the time from which what was destroyed at t is beyond recovery, also with
// the sealed copies of the root key that were made before: the last day of the last of them, and
// never before t.
func (a *Archive) EffectiveFrom(t time.Time) (time.Time, error) {
	effective := t
	err := a.cat.view(func(x *tx) (err error) {
		effective, err = x.effectiveFrom(t)
		return err
	})
	return effective, err
}

func (x *tx) effectiveFrom(t time.Time) (time.Time, error) {
	effective := t
	var same []time.Time // last days of copies made at t, until something else is found at t behind them
	err := x.entriesOf(func(_ int64, e integrity.Entry) error {
		if e.Kind != integrity.RootEscrowed {
			if e.Time.Equal(t) { // the destruction, perhaps
				for _, until := range same {
					effective = later(effective, until)
				}
				same = nil
			}
			return nil
		}
		var d integrity.RootEscrowedDetail
		if err := e.ReadDetail(integrity.RootEscrowed, &d); err != nil {
			return err
		}
		until := e.Time.Add(time.Duration(d.MaxAge) * time.Second)
		switch {
		case e.Time.Before(t):
			effective = later(effective, until)
		case e.Time.Equal(t):
			same = append(same, until)
		}
		return nil
	}, integrity.RootEscrowed, integrity.RootReplaced, integrity.Destroyed)
	return effective, err
}

func later(x, y time.Time) time.Time {
	if y.After(x) {
		return y
	}
	return x
}

// EscrowSource is a sealed copy, and the file of the identity that opens it.
type EscrowSource struct{ File, Identity string }

// open opens the copy, which must be of the archive.
func (s *EscrowSource) open(archive string) (h escrow.Header, root [rootSize]byte, err error) {
	sealed, err := readEscrow(s.File)
	if err != nil {
		return h, root, fmt.Errorf("reading the sealed copy: %w", err)
	}
	return s.openSealed(sealed, archive)
}

// openSealed opens a copy that was read from File.
func (s *EscrowSource) openSealed(sealed []byte, archive string) (h escrow.Header, root [rootSize]byte, err error) {
	identities, err := os.ReadFile(s.Identity)
	if err != nil {
		return h, root, fmt.Errorf("reading the identity: %w", err)
	}
	defer clear(identities)
	if h, root, err = escrow.Open(sealed, bytes.NewReader(identities)); err != nil {
		return h, root, fmt.Errorf("%s: %w", s.File, err)
	}
	if h.Archive != archive {
		return h, root, &Refusal{Problems: []string{fmt.Sprintf("%s is of archive %s, this is %s", s.File, h.Archive, archive)}}
	}
	return h, root, nil
}

// RestoreRoot puts the root key of a sealed copy back into the slot of the archive in dir, kept as
// its configuration says, when it opens the catalogue. A slot that holds a root is never touched,
// unless it is wrapped under a key that its token has no more.
func RestoreRoot(dir string, from EscrowSource, o Options) (*escrow.Header, error) {
	config, err := LoadConfig(dir)
	if err != nil {
		return nil, err
	}
	p := rootPlace{o.FS, config.Slots.Root, config.Archive, config.Slots.PKCS11, o.TokenFault}
	h, root, err := from.open(config.Archive)
	if err != nil {
		return nil, fmt.Errorf("restoring the root key: %w", err)
	}
	err = locked(dir, "root restore", func() error {
		if err := p.lost(); err != nil {
			return err
		}
		cat, err := openCatalogue(filepath.Join(dir, catalogueFile), true)
		if err != nil {
			return err
		}
		err = errors.Join(opensCatalogue(cat, root), cat.close())
		if errors.Is(err, vault.ErrWrongRoot) {
			return &Refusal{Problems: []string{fmt.Sprintf("the copy of %s does not open the catalogue: the root key was replaced since; take a newer copy, or the catalogue of then", h.Made.Format(time.RFC3339))}}
		}
		if err != nil {
			return err
		}
		// A crash behind this leaves no slot: it is to be done again.
		if err := p.fs.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return p.create(root)
	})
	if err != nil {
		return nil, fmt.Errorf("restoring the root key: %w", err)
	}
	return &h, nil
}

// lost gives nil when the slot holds no root that could open anything.
func (p rootPlace) lost() error {
	s, err := p.open(false)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, durable.ErrSlot):
		return nil
	case err != nil:
		return fmt.Errorf("%w; whether the root key is lost is not known: if it is, move %s away", err, p.path)
	}
	defer s.close()
	if _, err := s.roots(); !errors.Is(err, hsm.ErrNoKey) {
		return &Refusal{Problems: []string{fmt.Sprintf("%s holds a root key: nothing is to be restored; if it is the wrong one, move it away", p.path)}}
	}
	return nil
}
