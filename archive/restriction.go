package archive

import (
	"errors"
	"slices"

	"sae/retention"
)

// Data that are restricted (GDPR art. 18) are kept, and read for named purposes alone: those of
// art. 18(2), and to answer the person. Nobody's role reads round it.

// RestrictionPurposes are what a restriction may leave open.
var RestrictionPurposes = []Purpose{ForLegalClaims, ForConsent, ForProtection, ForPublicInterest, ForDataSubject, ForAudit}

// byRestriction is the category of what bars reading while a restriction is in force.
const byRestriction retention.Category = "Restriction"

// byRole is the category of what bars reading to who has no role that reads.
const byRole retention.Category = "Role"

func checkRestriction(text *ActText, bad *Refusal) {
	for _, p := range text.Purposes {
		if !slices.Contains(RestrictionPurposes, p) {
			bad.addf("purpose %q: a restriction leaves open some of %v (GDPR art. 18(2))", p, RestrictionPurposes)
		}
	}
	if text.Before < 0 {
		bad.addf("versions below %d: there are none", text.Before)
	}
}

// restrictions are those in force on a unit, or on one above it. known are acts that were read before.
func (a *Archive) restrictions(t *tx, u *Unit, known map[string]*Act) (out []*Act, err error) {
	above := map[string]bool{}
	for next := []string{u.Unit}; len(next) > 0; next = next[1:] {
		if above[next[0]] {
			continue
		}
		above[next[0]] = true
		acts, err := a.actsOn(t, next[0], known)
		if err != nil {
			return nil, err
		}
		for _, act := range acts {
			if act.Kind == RestrictionAct && (act.Before == 0 || next[0] == u.Unit) {
				out = append(out, act)
			}
		}
		rec, _, err := t.unitRecord(next[0], 0)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		next = append(next, rec.Parents...)
	}
	return out, nil
}

// restricted reports whether the last version of a unit is restricted.
func (a *Archive) restricted(t *tx, h *heirs, u *Unit) (bool, error) {
	acts, err := a.restrictions(t, u, h.acts)
	return slices.ContainsFunc(acts, func(act *Act) bool { return act.Before == 0 }), err
}

// restrictedFor are the bars that restrictions put before a version of a unit, for what the reader
// reads it for.
func (r *Reader) restrictedFor(t *tx, h *heirs, u *Unit, version int) (bars []retention.Bar, err error) {
	acts, err := r.a.restrictions(t, u, h.acts)
	for _, act := range acts {
		if act.Before > 0 && version >= act.Before || slices.Contains(act.Purposes, r.stated) {
			continue
		}
		bars = append(bars, retention.Bar{Category: byRestriction, Rule: act.ID, Unit: u.Unit, End: act.Until})
	}
	return bars, err
}
