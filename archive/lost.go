package archive

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"sae/integrity"
)

// An object of which an audit found no good copy is named in the status until an audit finds
// one again, or somebody says that it is lost.

// metaLost is the row of these objects, a lostState of each.
var metaLost = []byte("lost")

// lostState is an object without a good copy.
type lostState struct {
	Since   time.Time `json:"since"`             // when it was first found so
	GivenUp bool      `json:"givenUp,omitempty"` // audits and status speak of it no more
}

func (t *tx) lost() (map[string]lostState, error) {
	out := map[string]lostState{}
	v, err := t.get(bktMeta, metaLost)
	if err == nil && v != nil {
		err = json.Unmarshal(v, &out)
	}
	return out, err
}

// lostRow gives what to store after an audit has found objects with and without a good copy.
func lostRow(before map[string]lostState, gone, good []string, when time.Time) []record {
	after := maps.Clone(before)
	for _, id := range good {
		delete(after, id)
	}
	for _, id := range gone {
		if _, known := after[id]; !known {
			after[id] = lostState{Since: when}
		}
	}
	if maps.Equal(before, after) {
		return nil
	}
	return []record{{bktMeta, metaLost, mustJSON(after)}}
}

// AcceptLoss records, on behalf of agent, that an object of which no good copy is left is
// given up. Its evidence stays, and its records; the status does not name it any more.
func (a *Archive) AcceptLoss(ctx context.Context, agent, object, reason string) (index int64, err error) {
	if err := a.archiveWide(); err != nil {
		return 0, err
	}
	if a.readOnly {
		return 0, ErrReadOnly
	}
	var lost map[string]lostState
	if err := a.cat.view(func(t *tx) (err error) { lost, err = t.lost(); return err }); err != nil {
		return 0, err
	}
	if l, ok := lost[object]; !ok || l.GivenUp {
		return 0, &Refusal{Problems: []string{fmt.Sprintf("object %s is not among those of which no good copy is left: sae status names them", object)}}
	}
	lost[object] = lostState{lost[object].Since, true}
	op := a.reasoned(integrity.LossAccepted, agent, reason, func(commitment integrity.Hash) any {
		return integrity.LossDetail{Object: object, Reason: commitment}
	})
	op.records = append(op.records, func(position) []record { return []record{{bktMeta, metaLost, mustJSON(lost)}} })
	pos, _, err := a.commit(ctx, op)
	return pos.entry, err
}

// lostObjects names the objects without a good copy that were not given up, in order.
func (t *tx) lostObjects() (out []LostObject, err error) {
	lost, err := t.lost()
	for _, id := range slices.Sorted(maps.Keys(lost)) {
		stone, err := t.tomb(id)
		if err != nil {
			return nil, err
		}
		if !lost[id].GivenUp && stone == nil {
			out = append(out, LostObject{id, lost[id].Since})
		}
	}
	return out, err
}
