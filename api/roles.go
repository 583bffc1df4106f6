package api

import (
	"slices"

	"sae/archive"
)

// roles says which roles an operation is for. An operation that is not here is for nobody. The archive
// holds its own rules against who asks, too: roles of sae.yaml, rules of access, restrictions.
var roles = map[string][]archive.Role{
	"createDeposit": {archive.Depositor, archive.Archivist},
	"showDeposit":   {archive.Depositor, archive.Archivist, archive.OriginatingAgency, archive.Auditor},

	"depositTransfer": {archive.Depositor, archive.Archivist},

	"listUnits":     reading,
	"showUnit":      reading,
	"unitHistory":   reading,
	"unitRetention": reading,
	"unitProof":     reading,
	"objectContent": reading,
	"search":        reading,
	"listDue":       reading,

	"listEliminations":     reading,
	"showElimination":      reading,
	"listEliminationUnits": reading,
	"proposeElimination":   {archive.Archivist},
	"stepElimination":      {archive.Archivist, archive.OriginatingAgency, archive.ControlAuthority},

	"listFiles":   reading,
	"showFile":    reading,
	"openFile":    handling,
	"recordEvent": handling,
	"closeFile":   handling,
	"reopenFile":  handling,

	"createSubject": {archive.Depositor, archive.Archivist, archive.OriginatingAgency, archive.DataProtection},
	"showSubject":   reading,
	"findSubjects":  reading,

	"showCheckpoint":   everyone,
	"showTile":         everyone,
	"showEntry":        everyone,
	"showReceipt":      everyone,
	"proveConsistency": everyone,

	"listEvents": everyone,

	"addWebhook":      {archive.Administrator},
	"listWebhooks":    {archive.Administrator},
	"showWebhook":     {archive.Administrator},
	"changeWebhook":   {archive.Administrator},
	"removeWebhook":   {archive.Administrator},
	"listDeadLetters": {archive.Administrator},
	"replayWebhook":   {archive.Administrator},

	"showStatus":   {archive.Administrator, archive.Archivist, archive.Auditor},
	"createAPIKey": {archive.Administrator},
	"listAPIKeys":  {archive.Administrator},
	"revokeAPIKey": {archive.Administrator},
}

var (
	reading  = []archive.Role{archive.Archivist, archive.OriginatingAgency, archive.ControlAuthority, archive.DataProtection, archive.Auditor}
	handling = []archive.Role{archive.Depositor, archive.Archivist, archive.OriginatingAgency}
	everyone = archive.Roles
)

// public are the operations that need no identity when the configuration says so: what they tell names
// nobody.
var public = []string{"showCheckpoint", "showTile"}

// may reports whether an operation is for who asks.
func (who *Identity) may(operation string) error {
	if len(who.Operations) > 0 && !slices.Contains(who.Operations, operation) {
		return errDenied
	}
	if !slices.ContainsFunc(roles[operation], func(r archive.Role) bool { return slices.Contains(who.Roles, r) }) {
		return errDenied
	}
	return nil
}

// Operations are the names of all operations, to which a key can be limited.
func Operations() []string {
	var out []string
	for name := range roles {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
