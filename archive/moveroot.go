package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"sae/archive/durable"
	"sae/archive/hsm"
	"sae/integrity"
)

// ReplaceRoot draws another root key, on behalf of agent, and destroys nothing but the old one:
// copies of that open no catalogue from now on.
func (a *Archive) ReplaceRoot(ctx context.Context, agent string) error {
	if err := a.archiveWide(); err != nil {
		return err
	}
	return a.replaceRoot(ctx, agent, a.config.Slots.kept())
}

func (a *Archive) replaceRoot(ctx context.Context, agent string, kept RootKept) error {
	a.acting.Lock()
	defer a.acting.Unlock()
	op := &operation{id: newID(opID), entry: integrity.Entry{Kind: integrity.RootReplaced, Tenant: a.config.Tenants[0].ID, Agent: agentID(a.indexKey, agent)},
		detail: func(position) any { return integrity.RootReplacedDetail{Kept: string(kept)} }}
	_, err := a.commitNewRoot(ctx, agent, op, kept, func(t *tx, _ position, root [rootSize]byte) error {
		_, err := a.vault.Rekey(keyStore{t}, nil, root)
		return err
	})
	if err != nil {
		err = fmt.Errorf("replacing the root key: %w", err)
	}
	return err
}

// MoveRoot draws another root key for the archive in dir, on behalf of agent, and keeps it in a
// token or in the file of its slot. The configuration names the token before the root is in it,
// and until it is no more: stopped at any point, it goes on from there when it is called again.
// token may be nil when the configuration names it already.
func MoveRoot(ctx context.Context, dir, agent string, to RootKept, token *hsm.Config, o Options) error {
	config, err := LoadConfig(dir)
	if err != nil {
		return err
	}
	if to != KeptInFile && to != KeptInPKCS11 {
		return &Refusal{Problems: []string{fmt.Sprintf("the root key is kept in %s or in %s, not in %q", KeptInFile, KeptInPKCS11, to)}}
	}
	if to == KeptInPKCS11 {
		if err := nameToken(dir, config, token, o); err != nil {
			return err
		}
	}
	a, err := Open(dir, o)
	if err != nil {
		return err
	}
	if err = errors.Join(a.moveRoot(ctx, agent, to), a.Close()); err != nil || to == KeptInPKCS11 {
		return err
	}
	// A crash here leaves a token in the configuration, and nothing of the archive in it.
	return locked(dir, "root move", func() error {
		edited, err := changeConfig(dir, (*configEditor).removeToken)
		if err != nil {
			return err
		}
		return edited.store(o.FS)
	})
}

// moveRoot replaces the root by one that is kept elsewhere; one that is there already stays.
func (a *Archive) moveRoot(ctx context.Context, agent string, to RootKept) error {
	held, err := a.rootPlace().where()
	switch {
	case err != nil:
		return err
	case to != held.kept():
		return a.replaceRoot(ctx, agent, to)
	case to == a.config.Slots.kept():
		return &Refusal{Problems: []string{fmt.Sprintf("the root key is kept there already (%s); sae root replace draws another one", to)}}
	}
	return nil // a move to the file was stopped after it
}

// nameToken writes into the configuration which token keeps the root, once it is known to answer.
func nameToken(dir string, config *Config, token *hsm.Config, o Options) error {
	have := config.Slots.PKCS11
	switch {
	case have == nil && token == nil:
		return &Refusal{Problems: []string{"which token? give its module, its label and the file of its PIN"}}
	case have != nil && token != nil && *have != *token:
		return &Refusal{Problems: []string{"slots.pkcs11 in " + ConfigName + " names another token: correct it there"}}
	case have != nil:
		return nil
	}
	bad := &Refusal{}
	for key, why := range token.Problems() {
		bad.addf("%s: %s", key, why)
	}
	if err := bad.orNil(); err != nil {
		return err
	}
	opened, err := openToken(*token, config.Archive, true, o.TokenFault)
	if err == nil {
		err = opened.close()
	}
	if err != nil {
		return err
	}
	return locked(dir, "root move", func() error {
		edited, err := changeConfig(dir, func(e *configEditor) error { return e.addToken(*token) })
		if err != nil {
			return err
		}
		return edited.store(o.FS)
	})
}

// where reads how the slot holds the root, and opens nothing.
func (p rootPlace) where() (*heldRoot, error) {
	slot, err := durable.OpenSlot(p.fs, p.path)
	if err != nil {
		return nil, &DamagedError{What: "root key", Where: p.path, Err: err}
	}
	defer slot.Close()
	s := rootSlot{slot: slot}
	if err := s.load(); err != nil {
		return nil, &DamagedError{What: "root key", Where: p.path, Err: err}
	}
	return &heldRoot{Key: s.held[len(s.held)-1].Key}, nil
}

// RootStatus is the state of the root key.
type RootStatus struct {
	Archive  string        `json:"archive"`
	File     string        `json:"file"` // of its slot
	Kept     RootKept      `json:"kept"`
	Token    string        `json:"token,omitempty"`
	Module   string        `json:"module,omitempty"`
	Key      string        `json:"key,omitempty"`   // label of the key in the token
	Replaced int64         `json:"replaced"`        // times, as far as it was counted
	Since    *time.Time    `json:"since,omitempty"` // when it was, the last time
	Escrow   *EscrowStatus `json:"escrow,omitempty"`
	Problems []string      `json:"problems"` // what a person should look at
}

// EscrowStatus is the last sealed copy of the root key.
type EscrowStatus struct {
	Made      time.Time `json:"made"`
	Entry     int64     `json:"ledgerEntry"`
	DestroyBy time.Time `json:"destroyBy"`
	Opens     bool      `json:"opens"` // today's catalogue
}

// RootStatus gives the state of the root key.
func (a *Archive) RootStatus() (*RootStatus, error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	held, err := a.rootPlace().where()
	if err != nil {
		return nil, err
	}
	s := &RootStatus{Archive: a.config.Archive, File: a.config.Slots.Root, Kept: held.kept(), Key: held.Key, Problems: []string{}}
	if token := a.config.Slots.PKCS11; token != nil {
		s.Token, s.Module = token.Token, token.Module
	}
	err = a.cat.view(func(t *tx) error {
		r, err := t.rootRecord()
		if err != nil {
			return err
		}
		if s.Replaced = r.Replaced; r.Replaced > 0 {
			s.Since = &r.Since
		}
		e, err := t.escrowRecord()
		if err == nil && e != nil {
			s.Escrow = &EscrowStatus{Made: e.Time, Entry: e.Entry, DestroyBy: e.Time.Add(time.Duration(e.MaxAge) * time.Second), Opens: e.Replaced == r.Replaced}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.judge(a.config)
	return s, nil
}

// judge says what a person should look at.
func (s *RootStatus) judge(c *Config) {
	say := func(format string, args ...any) { s.Problems = append(s.Problems, fmt.Sprintf(format, args...)) }
	if c.Slots.PKCS11 != nil && s.Kept == KeptInFile {
		say("the root key lies in %s, and not in the token that %s names: run sae root move --to pkcs11", s.File, ConfigName)
	}
	if c.Escrow == nil {
		return
	}
	if f := c.Escrow.Folder; f != "" {
		if _, err := os.Stat(f); err != nil {
			say("no copy of the root key can be sealed into the folder of escrow: %v", err)
		}
	}
	switch e := s.Escrow; {
	case e == nil:
		say("no copy of the root key was sealed yet: run sae root escrow")
	case !e.Opens:
		say("the sealed copy of %s does not open the catalogue: the root key was replaced since; run sae root escrow", e.Made.Format(time.RFC3339))
	case time.Now().After(e.DestroyBy):
		say("the sealed copy of %s was to be destroyed by %s: run sae root escrow", e.Made.Format(time.RFC3339), e.DestroyBy.Format(time.RFC3339))
	}
}
