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

// restrictions are those in force on a unit, or on one above it. What was found of units above others
// is kept.
func (h *heirs) restrictions(id string, parents []string) (out []*Act, err error) {
	if known, ok := h.limits[id]; ok {
		return known, nil
	}
	if h.limits == nil || len(h.limits) >= maxKept {
		h.limits = map[string][]*Act{}
	}
	h.limits[id] = nil // a graph that goes round ends here
	acts, err := h.a.actsOn(h.t, id, h.acts)
	if err != nil {
		return nil, err
	}
	for _, act := range acts {
		if act.Kind == RestrictionAct {
			out = append(out, act)
		}
	}
	for _, p := range parents {
		rec, _, err := h.t.unitRecord(p, 0)
		if errors.Is(err, ErrNotFound) { // destroyed while the unit was being deposited
			continue
		}
		if err != nil {
			return nil, err
		}
		above, err := h.restrictions(p, rec.Parents)
		if err != nil {
			return nil, err
		}
		for _, act := range above {
			if act.Before == 0 { // of the versions of a unit, what stands below it is none
				out = addMissing(out, []*Act{act})
			}
		}
	}
	h.limits[id] = out
	return out, nil
}

// restricted reports whether the last version of a unit is restricted.
func (h *heirs) restricted(u *Unit) (bool, error) {
	acts, err := h.restrictions(u.Unit, u.Parents)
	return slices.ContainsFunc(acts, func(act *Act) bool { return act.Before == 0 }), err
}

// restrictedFor are the bars that restrictions put before a version of a unit, for what the reader
// reads it for.
func (r *Reader) restrictedFor(h *heirs, u *Unit, version int) (bars []retention.Bar, err error) {
	acts, err := h.restrictions(u.Unit, u.Parents)
	for _, act := range acts {
		if act.Before > 0 && version >= act.Before || slices.Contains(act.Purposes, r.stated) {
			continue
		}
		bars = append(bars, retention.Bar{Category: byRestriction, Rule: act.ID, Unit: u.Unit, End: act.Until})
	}
	return bars, err
}
