package archive

import (
	"fmt"
	"slices"
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

// may refuses who does not have a role. Nobody has one that the configuration does not give.
func (t *Tenant) may(agent string, r Role) error {
	if slices.Contains(t.Roles[r], agent) {
		return nil
	}
	if len(t.Roles[r]) == 0 {
		return &Refusal{Problems: []string{fmt.Sprintf("this is for the role %s of tenant %s, which nobody has: name who has it in sae.yaml, under roles", r, t.ID)}}
	}
	return &Refusal{Problems: []string{fmt.Sprintf("this is for the role %s of tenant %s, which %q does not have", r, t.ID, agent)}}
}
