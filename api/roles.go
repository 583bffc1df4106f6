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

	"describeUploads": {archive.Depositor, archive.Archivist},
	"createUpload":    {archive.Depositor, archive.Archivist},
	"showUpload":      {archive.Depositor, archive.Archivist},
	"continueUpload":  {archive.Depositor, archive.Archivist},
	"cancelUpload":    {archive.Depositor, archive.Archivist},

	"listOperations":  {archive.Depositor, archive.Archivist},
	"showOperation":   {archive.Depositor, archive.Archivist},
	"operationReply":  {archive.Depositor, archive.Archivist},
	"cancelOperation": {archive.Depositor, archive.Archivist},

	"vitamIngest":         {archive.Depositor, archive.Archivist},
	"vitamDownload":       {archive.Depositor, archive.Archivist},
	"vitamStatus":         everyone,
	"vitamList":           {archive.Depositor, archive.Archivist},
	"vitamListPost":       {archive.Depositor, archive.Archivist},
	"vitamShow":           {archive.Depositor, archive.Archivist},
	"vitamAct":            {archive.Depositor, archive.Archivist},
	"vitamCancel":         {archive.Depositor, archive.Archivist},
	"vitamStatusIngest":   everyone,
	"vitamListIngest":     {archive.Depositor, archive.Archivist},
	"vitamListPostIngest": {archive.Depositor, archive.Archivist},
	"vitamShowIngest":     {archive.Depositor, archive.Archivist},
	"vitamActIngest":      {archive.Depositor, archive.Archivist},
	"vitamCancelIngest":   {archive.Depositor, archive.Archivist},

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

	"executeElimination":         {archive.Archivist},
	"listEliminationSteps":       reading,
	"showExecution":              reading,
	"printBordereau":             reading,
	"eliminationCertificate":     reading,
	"makeEliminationCertificate": {archive.Archivist},
	"eliminationMessage":         {archive.Archivist, archive.OriginatingAgency, archive.ControlAuthority},
	"replyToElimination":         {archive.OriginatingAgency, archive.ControlAuthority},
	"sendTransfer":               {archive.Archivist},
	"acknowledgeTransfer":        {archive.Archivist},

	"listRequests":           protecting,
	"showRequest":            protecting,
	"openRequest":            {archive.Depositor, archive.Archivist, archive.OriginatingAgency, archive.DataProtection},
	"identifyRequest":        {archive.Depositor, archive.Archivist, archive.OriginatingAgency, archive.DataProtection},
	"extendRequest":          {archive.DataProtection},
	"analyseRequest":         {archive.Archivist, archive.DataProtection},
	"decideRequest":          {archive.DataProtection},
	"requestLetter":          {archive.Archivist, archive.DataProtection},
	"answerRequest":          {archive.Archivist, archive.DataProtection},
	"withdrawRequest":        {archive.Archivist, archive.OriginatingAgency, archive.DataProtection},
	"restrictByRequest":      {archive.Archivist},
	"correctUnit":            {archive.Archivist},
	"correctSubject":         {archive.Archivist},
	"takePackage":            {archive.Archivist},
	"endRequest":             {archive.Archivist},
	"executeErasure":         {archive.Archivist},
	"showErasure":            protecting,
	"requestCertificate":     protecting,
	"makeRequestCertificate": {archive.Archivist},
	"purgeRequest":           {archive.DataProtection},

	"readAccessLog":  {archive.DataProtection},
	"purgeAccessLog": {archive.Archivist, archive.DataProtection},
	"showRegister":   protecting,
	"printRegister":  protecting,
	"checkGDPR":      protecting,

	"listHolds":        reading,
	"showHold":         reading,
	"setHold":          {archive.Archivist, archive.OriginatingAgency, archive.ControlAuthority, archive.DataProtection},
	"reviewHold":       {archive.Archivist, archive.OriginatingAgency, archive.ControlAuthority, archive.DataProtection},
	"endHold":          {archive.Archivist, archive.OriginatingAgency, archive.ControlAuthority, archive.DataProtection},
	"listDerogations":  reading,
	"showDerogation":   reading,
	"grantDerogation":  {archive.Archivist},
	"endDerogation":    {archive.Archivist},
	"explainAccess":    {archive.Archivist, archive.DataProtection, archive.Auditor},
	"listStarts":       reading,
	"showStart":        reading,
	"setStart":         {archive.Archivist, archive.OriginatingAgency},
	"endStart":         {archive.Archivist, archive.OriginatingAgency},
	"listRestrictions": reading,
	"showRestriction":  reading,
	"endRestriction":   {archive.Archivist, archive.DataProtection},
	"listSamples":      reading,
	"showSample":       reading,
	"drawSample":       {archive.Archivist},
	"endSample":        {archive.Archivist},

	"exportUnits": {archive.Archivist, archive.OriginatingAgency},
	"restitute":   {archive.Archivist},

	"listRules":      everyone,
	"showRule":       everyone,
	"planRules":      {archive.Archivist},
	"importRules":    {archive.Archivist},
	"listProcedures": everyone,
	"showProcedure":  everyone,
	"checkProcedure": {archive.Archivist},
	"addProcedure":   {archive.Archivist},

	"runConverter":    {archive.Archivist},
	"showConversions": {archive.Archivist, archive.Auditor},
	"listFormats":     reading,
	"listFormatUnits": reading,
	"showCalendar":    reading,
	"listAudits":      {archive.Archivist, archive.Auditor, archive.Administrator},

	"listFiles":   reading,
	"showFile":    reading,
	"findFiles":   {archive.Depositor, archive.Archivist, archive.OriginatingAgency, archive.ControlAuthority, archive.DataProtection, archive.Auditor},
	"openFile":    handling,
	"recordEvent": handling,
	"closeFile":   handling,
	"reopenFile":  handling,

	"takeBackEvent": handling,

	"createSubject": {archive.Depositor, archive.Archivist, archive.OriginatingAgency, archive.DataProtection},
	"showSubject":   reading,
	"findSubjects":  reading,

	"listSubjects":   reading,
	"linkIdentity":   {archive.Depositor, archive.Archivist, archive.OriginatingAgency, archive.DataProtection},
	"unlinkIdentity": {archive.Depositor, archive.Archivist, archive.OriginatingAgency, archive.DataProtection},
	"mergeSubject":   {archive.Archivist, archive.DataProtection},
	"splitSubject":   {archive.Archivist, archive.DataProtection},
	"rectifySubject": {archive.Archivist, archive.OriginatingAgency, archive.DataProtection},

	"showCheckpoint":   everyone,
	"showTile":         everyone,
	"showEntry":        everyone,
	"showReceipt":      everyone,
	"proveConsistency": everyone,

	"listEvents": everyone,

	"runCommand": everyone, // and then by the table of verbs

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

	"showStats":       {archive.Administrator, archive.Archivist, archive.Auditor},
	"sealNow":         {archive.Administrator, archive.Archivist},
	"startAudit":      {archive.Administrator, archive.Auditor},
	"showAudit":       {archive.Administrator, archive.Auditor},
	"startRepair":     {archive.Administrator},
	"startBackup":     {archive.Administrator},
	"showBackup":      {archive.Administrator, archive.Auditor},
	"showRepair":      {archive.Administrator, archive.Auditor},
	"verifyAccessLog": {archive.Administrator, archive.Auditor, archive.DataProtection},
}

var (
	reading    = []archive.Role{archive.Archivist, archive.OriginatingAgency, archive.ControlAuthority, archive.DataProtection, archive.Auditor}
	handling   = []archive.Role{archive.Depositor, archive.Archivist, archive.OriginatingAgency}
	protecting = []archive.Role{archive.Archivist, archive.OriginatingAgency, archive.DataProtection, archive.Auditor}
	everyone   = archive.Roles
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
