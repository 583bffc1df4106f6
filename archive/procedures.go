package archive

import (
	"fmt"
	"slices"
	"strings"

	"sae/archive/procedure"
	"sae/retention"
)

// CheckProcedure holds a procedure against what a tenant has: its agreement, agency, channels,
// rules and triggers must be there. The error is a *Refusal with all that is wrong.
func (a *Archive) CheckProcedure(tenant string, p *procedure.Procedure) error {
	of, err := a.tenant(tenant)
	if err != nil {
		return err
	}
	bad, s := &Refusal{}, a.schedule(of.ID)
	if _, err := of.agreement(p.Agreement); err != nil {
		bad.addf("agreement: %v", err)
	}
	if err := of.agency(p.Agency); err != nil {
		bad.addf("originating-agency: %v", err)
	}
	for i, c := range p.Channels {
		if !slices.Contains(Channels, Channel(c)) {
			bad.addf("channels[%d]: %q is not known: want some of %v", i, c, Channels)
		}
	}
	rule := func(at string, category retention.Category, id string) {
		if _, err := ruleNamed(s, of.ID, category, id, now()); err != nil {
			bad.addf("%s: %v", at, err)
		}
	}
	for i, id := range p.Rules.Appraisal {
		rule(fmt.Sprintf("rules.appraisal[%d]", i), retention.Appraisal, id)
	}
	for i, id := range p.Rules.Access {
		rule(fmt.Sprintf("rules.access[%d]", i), retention.Access, id)
	}
	for i, d := range p.Documents {
		rule(fmt.Sprintf("documents[%d].rule", i), retention.Appraisal, d.Rule)
		rule(fmt.Sprintf("documents[%d].access-rule", i), retention.Access, d.Access)
	}
	for i, e := range p.Events {
		if e.Trigger != "" && !slices.Contains(retention.Triggers, e.Trigger) {
			bad.addf("events[%d].trigger: %q: want one of %s", i, e.Trigger, strings.Join(retention.Triggers, ", "))
		}
	}
	if len(bad.Problems) == 0 {
		checkStarts(s, p, bad)
	}
	return bad.orNil()
}

// checkStarts refuses rules whose retention no event of the procedure would start: such files
// would never become due. A document's date and the end of a file need no event.
func checkStarts(s *retention.Schedule, p *procedure.Procedure, bad *Refusal) {
	starts := map[string]bool{"": true, "document-date": true, "file-closed": true}
	for _, e := range p.Events {
		starts[e.Trigger] = true
	}
	all := slices.Concat(p.Rules.Appraisal, p.Rules.Access)
	for _, d := range p.Documents {
		all = append(all, d.Rule, d.Access)
	}
	slices.Sort(all)
	for _, id := range slices.Compact(all) {
		r, _ := s.Rule(id)
		if event := r.Event(); !starts[event] {
			bad.addf("events: none has the trigger %s, at which the retention of rule %s starts", event, id)
		}
	}
}
