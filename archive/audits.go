package archive

import (
	"slices"

	"sae/integrity"
)

// Audits gives audits as the ledger has them, the last first: at most limit of those before a ledger
// entry (0: of all), and whether there are more.
func (a *Archive) Audits(before int64, limit int) (out []AuditState, more bool, err error) {
	err = a.cat.view(func(t *tx) error {
		return t.entriesOf(func(index int64, e integrity.Entry) error {
			if before > 0 && index >= before {
				return nil
			}
			s := AuditState{Time: e.Time, Entry: index}
			if err := e.ReadDetail(integrity.Audit, &s.AuditDetail); err != nil {
				return err
			}
			if out = append(out, s); len(out) > limit {
				out, more = out[1:], true
			}
			return nil
		}, integrity.Audit)
	})
	slices.Reverse(out)
	return out, more, err
}
