package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"

	"sae/integrity"
)

// AcceptRollback records, on behalf of agent, that this archive goes on with a
// catalogue older than the last checkpoint it signed. The archive must have been
// opened with Options.AcceptRollback; an archive that was not rolled back is a
// Refusal. It gives the size of the ledger given up, and the entry.
func (a *Archive) AcceptRollback(ctx context.Context, agent, reason string) (lost, index int64, err error) {
	if err := a.archiveWide(); err != nil {
		return 0, 0, err
	}
	value, _, _, err := a.slot.Load()
	if err != nil {
		return 0, 0, err
	}
	signed, err := integrity.ParseCheckpoint(value, a.verifier)
	if err != nil {
		return 0, 0, err
	}
	cp, err := a.VerifyLedger(false)
	if err != nil {
		return 0, 0, err
	}
	var rolledBack *RollbackError
	if err := a.compareCheckpoints(cp, signed); err == nil {
		return 0, 0, &Refusal{Problems: []string{"the catalogue was not rolled back: there is nothing to accept"}}
	} else if !errors.As(err, &rolledBack) {
		return 0, 0, err
	}
	if err := os.RemoveAll(filepath.Join(a.dir, searchDir)); err != nil { // it may be of the catalogue that was lost
		return 0, 0, err
	}
	err = a.cat.update(func(t *tx) error {
		s, err := t.journalState()
		if err != nil {
			return err
		}
		s.branch()
		return t.put(bktMeta, metaJournal, mustJSON(s))
	})
	if err != nil {
		return 0, 0, err
	}
	op := a.reasoned(integrity.RollbackAccepted, agent, reason, func(commitment integrity.Hash) any {
		return integrity.RollbackDetail{LostSize: signed.Size, LostRoot: signed.Root, Reason: commitment}
	})
	pos, _, err := a.commit(ctx, op)
	return signed.Size, pos.entry, err
}

// reasoned is an operation for which somebody gives a reason: the entry holds a salted
// commitment of it, the catalogue its text, enciphered.
func (a *Archive) reasoned(kind integrity.Kind, agent, reason string, detail func(commitment integrity.Hash) any) *operation {
	op := &operation{id: newID(opID), entry: integrity.Entry{Kind: kind, Tenant: a.config.Tenants[0].ID, Agent: agentID(a.indexKey, agent)}}
	commitment := op.say(reason)
	op.detail = func(position) any { return detail(commitment) }
	return op
}

// say keeps what an operation says in words, enciphered, and gives the commitment for its entry.
func (op *operation) say(words string) integrity.Hash {
	salt, key, n := newSalt(), newKey(), uint64(len(op.keys))
	op.keys = append(op.keys, key)
	op.records = append(op.records, func(p position) []record {
		r := operationRecord{Operation: op.id, Entry: p.entry, Key: p.key + n}
		return []record{{bktOp, []byte(op.id), encodeRecord(r, key, append(salt[:], words...))}}
	})
	return groupLeaf(sha256.Sum256([]byte(words)), salt)
}
