package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sae/archive/procedure"
	"sae/integrity"
)

// Procedures stand in the catalogue as their files, every version of each. A change is one ledger
// entry, which commits to the file. Files that belong to a procedure follow its last version.

// ProcedureVersion is one version of a procedure.
type ProcedureVersion struct {
	*procedure.Procedure
	Version int       `json:"version"`
	Entry   int64     `json:"ledgerEntry"`
	Time    time.Time `json:"time"`
	File    []byte    `json:"-"` // as it was added
}

// procedureRecord is a version as it is stored. It tells nothing about a person.
type procedureRecord struct {
	Entry int64     `json:"entry"`
	Time  time.Time `json:"time"`
	File  []byte    `json:"file"`
}

func procedureKey(tenant, id string, version int) []byte {
	return binary.BigEndian.AppendUint32([]byte(tenant+"\x00"+id+"\x00"), uint32(version))
}

// AddProcedure adds a procedure, or a version of one that is there, from its file, on behalf of
// agent. The error of a file that does not fit the tenant is a *Refusal with all that is wrong.
func (a *Archive) AddProcedure(ctx context.Context, agent, tenant string, file []byte) (*ProcedureVersion, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	p, err := procedure.Parse(file)
	if err != nil {
		return nil, &Refusal{Problems: []string{err.Error()}}
	}
	of, err := a.tenant(tenant)
	if err == nil {
		err = of.mayIfNamed(agent, Archivist)
	}
	if err == nil {
		err = a.CheckProcedure(of.ID, p)
	}
	if err != nil {
		return nil, err
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	v := &ProcedureVersion{Procedure: p, Version: 1, File: file}
	switch last, err := a.Procedure(of.ID, p.ID); {
	case err == nil && bytes.Equal(last.File, file):
		return nil, &Refusal{Problems: []string{fmt.Sprintf("procedure %s is so already, since ledger entry %d", p.ID, last.Entry)}}
	case err == nil:
		v.Version = last.Version + 1
	case !errors.Is(err, ErrNotFound):
		return nil, err
	}
	op := &operation{id: newID(opID), entry: integrity.Entry{Kind: integrity.Procedure, Tenant: of.ID, Agent: agentID(a.indexKey, agent)}}
	op.detail = func(position) any {
		return integrity.ProcedureDetail{Procedure: p.ID, Version: v.Version, File: sha256.Sum256(file)}
	}
	op.records = append(op.records, func(p position) []record {
		v.Entry, v.Time = p.entry, p.time
		return []record{{bktProc, procedureKey(of.ID, v.ID, v.Version), mustJSON(procedureRecord{p.entry, p.time, file})}}
	})
	if err := a.commitBy(ctx, agent, op); err != nil {
		return nil, fmt.Errorf("adding procedure %s: %w", p.ID, err)
	}
	return v, nil
}

// commitBy commits an operation, and keeps the name of who asked for it.
func (a *Archive) commitBy(ctx context.Context, agent string, op *operation) error {
	records, err := a.agentOnce(agent, op)
	if err != nil {
		return err
	}
	op.records = append(op.records, records)
	_, _, err = a.commit(ctx, op)
	return err
}

// Procedure gives the last version of a procedure.
func (a *Archive) Procedure(tenant, id string) (v *ProcedureVersion, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error { v, err = t.procedure(of.ID, id); return err })
	return v, err
}

func (t *tx) procedure(tenant, id string) (*ProcedureVersion, error) {
	k, v, err := t.last(bktProc, procedureKey(tenant, id, 1<<31))
	if err != nil {
		return nil, err
	}
	if from := procedureKey(tenant, id, 0); len(k) == len(from) && bytes.HasPrefix(k, from[:len(from)-4]) {
		return parseProcedureRow(k, v)
	}
	var known []string
	err = t.eachProcedure(tenant, func(p *ProcedureVersion) error {
		if known = append(known, p.ID); len(known) > maxNamed {
			known = known[1:]
		}
		return nil
	})
	if err == nil {
		err = fmt.Errorf("procedure %q of tenant %s (known: %v; add one with: sae procedure add FILE): %w", id, tenant, slices.Compact(known), ErrNotFound)
	}
	return nil, err
}

// Procedures gives the last version of each procedure of a tenant.
func (a *Archive) Procedures(tenant string) (out []*ProcedureVersion, err error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		return t.eachProcedure(of.ID, func(p *ProcedureVersion) error {
			if n := len(out); n > 0 && out[n-1].ID == p.ID {
				out = out[:n-1]
			}
			out = append(out, p)
			return nil
		})
	})
	return out, err
}

// eachProcedure calls f for every version of every procedure of a tenant, the last of each last.
func (t *tx) eachProcedure(tenant string, f func(*ProcedureVersion) error) error {
	from := []byte(tenant + "\x00")
	return t.scan(bktProc, from, prefixEnd(from), func(k, v []byte) (bool, error) {
		p, err := parseProcedureRow(k, v)
		if err == nil {
			err = f(p)
		}
		return err == nil, err
	})
}

func parseProcedureRow(k, v []byte) (*ProcedureVersion, error) {
	var r procedureRecord
	err := json.Unmarshal(v, &r)
	if err == nil && len(k) < 4 {
		err = errors.New("a short key")
	}
	if err != nil {
		return nil, damaged("procedure", string(k), err)
	}
	p, err := procedure.Parse(r.File)
	if err != nil {
		return nil, damaged("procedure", string(k), err)
	}
	return &ProcedureVersion{Procedure: p, Version: int(binary.BigEndian.Uint32(k[len(k)-4:])), Entry: r.Entry, Time: r.Time, File: r.File}, nil
}

// checkProcedures holds the procedures against the ledger: each entry has its version, and its file
// is the one committed to.
func (a *Archive) checkProcedures(t *tx, find func(where string, err error)) error {
	said := map[string]bool{}
	err := t.entriesOf(func(entry int64, e integrity.Entry) error {
		var d integrity.ProcedureDetail
		if err := e.ReadDetail(e.Kind, &d); err != nil {
			return err
		}
		key := procedureKey(e.Tenant, d.Procedure, d.Version)
		said[string(key)] = true
		v, err := t.get(bktProc, key)
		var r procedureRecord
		if err == nil {
			err = json.Unmarshal(v, &r)
		}
		if err != nil || r.Entry != entry || sha256.Sum256(r.File) != d.File {
			find(d.Procedure, fmt.Errorf("version %d is not the one that ledger entry %d commits to", d.Version, entry))
		}
		return nil
	}, integrity.Procedure)
	if err != nil {
		return err
	}
	return t.scan(bktProc, nil, nil, func(k, _ []byte) (bool, error) {
		if !said[string(k)] {
			find(string(k[:len(k)-4]), errors.New("the ledger knows no such version"))
		}
		return true, nil
	})
}
