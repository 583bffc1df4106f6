package retention

import (
	"maps"
	"slices"
)

// Verdict is what may become of a unit at a date.
type Verdict string

// The verdicts.
const (
	Eliminable Verdict = "eliminable" // its retention is over, and it is to be destroyed
	ToSort     Verdict = "to sort"    // over, and a sample is to be kept
	ToKeep     Verdict = "to keep"    // over, and it is to be kept for ever: transferred to the definitive archives
	NotDue     Verdict = "not due"    // a retention is not over
	Unruled    Verdict = "no rule"    // no retention at all: it is never destroyed
	Conflict   Verdict = "conflict"   // somebody has to decide
)

// ReasonCode says why a verdict is not another.
type ReasonCode string

// The reasons. Those in capitals are the names of the field's reference system.
const (
	Held           ReasonCode = "HOLD"                       // a hold is in force
	RuleRuns       ReasonCode = "RULE_RUNS"                  // a retention ends later
	NoEnd          ReasonCode = "NO_END"                     // a retention has no start yet, or no end
	NoRule         ReasonCode = "NO_RULE"                    // no retention
	KeepWins       ReasonCode = "FINAL_ACTION_KEEP"          // its final action is Keep
	ActionsDiffer  ReasonCode = "FINAL_ACTION_INCONSISTENCY" // one says Destroy, another Keep
	AgenciesDiffer ReasonCode = "KEEP_ACCESS_SP"             // what one originating agency lets go another keeps
)

// Reason is one reason, and where it comes from.
type Reason struct {
	Code   ReasonCode `json:"code"`
	Agency string     `json:"originatingAgency,omitempty"`
	Rule   string     `json:"rule,omitempty"`
	Unit   string     `json:"unit,omitempty"` // that declares it
	Date   string     `json:"date,omitempty"` // until when; "" when that is not known
}

// Assessment is what may become of a unit, for all originating agencies and for each.
type Assessment struct {
	Verdict  Verdict            `json:"verdict"`
	Due      string             `json:"due,omitempty"` // first day on which every retention is over; "" when that is not known, or never
	Agencies map[string]Verdict `json:"originatingAgencies"`
	Reasons  []Reason           `json:"reasons"`
}

// Appraise says what may become of a unit on a day, YYYY-MM-DD. The longest retention holds.
func Appraise(in *Inheritance, at string) Assessment {
	rules := in.Categories[Appraisal]
	out := Assessment{Agencies: map[string]Verdict{}, Reasons: []Reason{}}
	out.Due = dueOf(rules.Rules)
	for _, agency := range agenciesOf(rules) {
		v, reasons := appraiseFor(rules, agency, at)
		out.Agencies[agency] = v
		out.Reasons = append(out.Reasons, reasons...)
	}
	out.Verdict = together(slices.Sorted(maps.Values(out.Agencies)))
	if out.Verdict == Conflict && !slices.ContainsFunc(out.Reasons, func(r Reason) bool { return r.Code == ActionsDiffer }) {
		out.Reasons = append(out.Reasons, Reason{Code: AgenciesDiffer})
	}
	for _, h := range in.Categories[Hold].Rules {
		if !inForce(&h, at) {
			continue
		}
		out.Verdict = Conflict
		out.Reasons = append(out.Reasons, Reason{Code: Held, Agency: h.Agency, Rule: h.Rule, Unit: h.Unit, Date: h.End})
	}
	return out
}

// inForce reports whether a hold is in force on a day: until its end, for ever without one.
func inForce(h *InheritedRule, at string) bool { return h.End == "" || h.End > at }

// HeldOn reports whether a hold is in force for a unit on a day.
func HeldOn(in *Inheritance, at string) bool {
	return slices.ContainsFunc(in.Categories[Hold].Rules, func(h InheritedRule) bool { return inForce(&h, at) })
}

// dueOf is the last end of rules.
func dueOf(rules []InheritedRule) (due string) {
	for _, r := range rules {
		if r.End == "" {
			return ""
		}
		due = max(due, r.End)
	}
	return due
}

// agenciesOf are the originating agencies whose rules or final actions apply.
func agenciesOf(in *Inherited) []string {
	set := map[string]bool{}
	for _, r := range in.Rules {
		set[r.Agency] = true
	}
	for _, p := range in.Properties {
		set[p.Agency] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// appraiseFor is the verdict by what one agency decided.
func appraiseFor(in *Inherited, agency, at string) (Verdict, []Reason) {
	var reasons []Reason
	n := 0
	for _, r := range in.Rules {
		if r.Agency != agency {
			continue
		}
		n++
		switch {
		case r.End == "":
			reasons = append(reasons, Reason{NoEnd, agency, r.Rule, r.Unit, ""})
		case r.End > at:
			reasons = append(reasons, Reason{RuleRuns, agency, r.Rule, r.Unit, r.End})
		}
	}
	switch {
	case n == 0:
		return Unruled, []Reason{{Code: NoRule, Agency: agency}}
	case len(reasons) > 0:
		return NotDue, reasons
	}
	actions := map[FinalAction]string{}
	for _, p := range in.Properties {
		if p.Agency == agency && p.Name == finalAction {
			actions[FinalAction(p.Value)] = p.Unit
		}
	}
	keep, kept := actions[Keep]
	switch {
	case kept && len(actions) > 1:
		return Conflict, []Reason{{Code: ActionsDiffer, Agency: agency, Unit: keep}}
	case kept, len(actions) == 0:
		return ToKeep, []Reason{{Code: KeepWins, Agency: agency, Unit: keep}}
	case len(actions) == 1 && actions[Destroy] != "":
		return Eliminable, nil
	}
	return ToSort, nil
}

// together is the verdict for all agencies.
func together(verdicts []Verdict) Verdict {
	all := slices.Compact(verdicts)
	switch {
	case len(all) == 0:
		return Unruled
	case len(all) == 1:
		return all[0]
	}
	lets := func(v Verdict) bool { return v == Eliminable || v == ToSort }
	switch {
	case slices.Contains(all, Conflict) || slices.ContainsFunc(all, lets):
		return Conflict
	case slices.Contains(all, NotDue):
		return NotDue
	}
	return ToKeep
}

// OnlyDestroy reports whether every final action that applies is Destroy, and there is one.
func OnlyDestroy(in *Inheritance) bool {
	found := false
	for _, p := range in.Categories[Appraisal].Properties {
		if p.Name != finalAction {
			continue
		}
		if FinalAction(p.Value) != Destroy {
			return false
		}
		found = true
	}
	return found
}
