package archive

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what a person may do for a tenant.
type Role string

// The roles.
const (
	Depositor         Role = "depositor"
	Archivist         Role = "archivist"
	OriginatingAgency Role = "originating-agency"
	ControlAuthority  Role = "control-authority"
	DataProtection    Role = "data-protection-officer"
	Auditor           Role = "auditor"
	Administrator     Role = "administrator"
)

// Roles are all of them.
var Roles = []Role{Depositor, Archivist, OriginatingAgency, ControlAuthority, DataProtection, Auditor, Administrator}

// has reports whether the configuration gives a person one of some roles.
func (t *Tenant) has(agent string, roles ...Role) bool {
	return slices.ContainsFunc(roles, func(r Role) bool { return slices.Contains(t.Roles[r], agent) })
}

// may refuses who does not have a role. Nobody has one that the configuration does not give.
func (t *Tenant) may(agent string, r Role) error {
	if len(t.Roles[r]) == 0 {
		return &Refusal{Problems: []string{fmt.Sprintf("this is for the role %s of tenant %s, which nobody has: name who has it in sae.yaml, under roles", r, t.ID)}}
	}
	return t.mayIfNamed(agent, r)
}

// mayIfNamed refuses who has none of some roles, once the configuration says of one of them who has
// it: until then who can open the archive is trusted.
func (t *Tenant) mayIfNamed(agent string, roles ...Role) error {
	named := slices.ContainsFunc(roles, func(r Role) bool { return len(t.Roles[r]) > 0 })
	if !named || t.has(agent, roles...) {
		return nil
	}
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return &Refusal{Problems: []string{fmt.Sprintf("this is for the role %s of tenant %s, which %q does not have", strings.Join(words, " or "), t.ID, agent)}}
}

// mayAgree refuses who may not agree for some originating agencies.
func (t *Tenant) mayAgree(agent string, lines []EliminationLine) error {
	bad := &Refusal{}
	for _, l := range lines {
		who, named := t.Agreeing[l.Agency]
		said := fmt.Sprintf("units of originating agency %q are in the request, for which %q does not agree: %s does", l.Agency, agent, strings.Join(who, " or "))
		if named && !slices.Contains(who, agent) && !slices.Contains(bad.Problems, said) {
			bad.addf("%s", said)
		}
	}
	return bad.orNil()
}

// mayDecide says who begins and ends acts of a kind: what keeps units is for more persons than what
// lets them go.
func (t *Tenant) mayDecide(agent string, kind ActKind) error {
	switch kind {
	case HoldAct:
		return t.mayIfNamed(agent, Archivist, OriginatingAgency, ControlAuthority, DataProtection)
	case StartAct:
		return t.mayIfNamed(agent, Archivist, OriginatingAgency)
	case SampleAct:
		return t.mayIfNamed(agent, Archivist)
	case EventAct:
		return t.mayIfNamed(agent, fileRoles...)
	case RestrictionAct:
		return t.mayIfNamed(agent, Archivist, DataProtection)
	}
	return t.may(agent, Archivist) // derogations
}
