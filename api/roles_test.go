package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sae/archive"
	"sae/archive/serving"
)

// walk is how to ask for an operation so that it is done, or at least that nothing but who asks stands
// against it. UNIT, OBJECT, FILE, SUBJECT and ENTRY stand for what the archive has.
type walk struct {
	method, path, body string
	// foreign is what who has all roles of another tenant is told; 0 when there is nothing of the tenant's in it.
	foreign int
	who     string // roles that may, by their initials: D A O C P(rotection) U(auditor) M(administrator)
}

// walks is the table of who may, written again by hand: it is held against roles.go.
var walks = map[string]walk{
	"createDeposit":              {"POST", "/v1/deposits", "multipart", 0, "DA"},
	"depositTransfer":            {"PUT", "/v1/transfers/x.zip", "zip", 0, "DA"},
	"showDeposit":                {"GET", "/v1/deposits/ENTRY", "", 404, "DAOU"},
	"listUnits":                  {"GET", "/v1/units", "", 0, "AOCPU"},
	"showUnit":                   {"GET", "/v1/units/UNIT", "", 404, "AOCPU"},
	"unitHistory":                {"GET", "/v1/units/UNIT/history", "", 404, "AOCPU"},
	"unitRetention":              {"GET", "/v1/units/UNIT/retention", "", 404, "AOCPU"},
	"unitProof":                  {"GET", "/v1/units/UNIT/proof", "", 404, "AOCPU"},
	"objectContent":              {"GET", "/v1/objects/OBJECT/content", "", 404, "AOCPU"},
	"search":                     {"POST", "/v1/search", `{"words":"demande"}`, 0, "AOCPU"},
	"listDue":                    {"GET", "/v1/retention/due", "", 0, "AOCPU"},
	"listEliminations":           {"GET", "/v1/eliminations", "", 0, "AOCPU"},
	"showElimination":            {"GET", "/v1/eliminations/ELIMINATION", "", 404, "AOCPU"},
	"listEliminationUnits":       {"GET", "/v1/eliminations/ELIMINATION/units", "", 404, "AOCPU"},
	"proposeElimination":         {"POST", "/v1/eliminations", `{}`, 0, "A"},
	"stepElimination":            {"POST", "/v1/eliminations/ELIMINATION/steps", `{"step":"agreed"}`, 404, "AOC"},
	"listFiles":                  {"GET", "/v1/files", "", 0, "AOCPU"},
	"showFile":                   {"GET", "/v1/files/FILE", "", 404, "AOCPU"},
	"findFiles":                  {"POST", "/v1/files/find", `{"person":{"issuer":"https://sso.example","sub":"af31"},"procedure":"apa"}`, 404, "DAOCPU"},
	"openFile":                   {"POST", "/v1/files", `{"procedure":"apa","number":"NUMBER"}`, 404, "DAO"},
	"recordEvent":                {"POST", "/v1/files/FILE/events", `{"event":"decision"}`, 404, "DAO"},
	"closeFile":                  {"POST", "/v1/files/FILE/close", `{}`, 404, "DAO"},
	"reopenFile":                 {"POST", "/v1/files/FILE/reopen", `{"reason":"erreur"}`, 404, "DAO"},
	"createSubject":              {"POST", "/v1/subjects", `{"familyName":"Martin"}`, 0, "DAOP"},
	"showSubject":                {"GET", "/v1/subjects/SUBJECT", "", 404, "AOCPU"},
	"findSubjects":               {"POST", "/v1/subjects/find", `{"familyName":"Martin"}`, 0, "AOCPU"},
	"showCheckpoint":             {"GET", "/v1/ledger/checkpoint", "", 0, "DAOCPUM"},
	"showTile":                   {"GET", "/v1/ledger/tile/0/000.p/1", "", 0, "DAOCPUM"},
	"showEntry":                  {"GET", "/v1/ledger/entries/1", "", 0, "DAOCPUM"},
	"showReceipt":                {"GET", "/v1/ledger/entries/1/receipt", "", 0, "DAOCPUM"},
	"proveConsistency":           {"GET", "/v1/ledger/consistency?from=1&to=2", "", 0, "DAOCPUM"},
	"listEvents":                 {"GET", "/v1/events", "", 0, "DAOCPUM"},
	"executeElimination":         {"POST", "/v1/eliminations/ELIMINATION/execute", `{}`, 404, "A"},
	"listEliminationSteps":       {"GET", "/v1/eliminations/ELIMINATION/steps", "", 404, "AOCPU"},
	"showExecution":              {"GET", "/v1/eliminations/ELIMINATION/execution", "", 404, "AOCPU"},
	"printBordereau":             {"GET", "/v1/eliminations/ELIMINATION/bordereau", "", 404, "AOCPU"},
	"eliminationCertificate":     {"GET", "/v1/eliminations/ELIMINATION/certificate", "", 404, "AOCPU"},
	"makeEliminationCertificate": {"POST", "/v1/eliminations/ELIMINATION/certificate", "", 404, "A"},
	"eliminationMessage":         {"GET", "/v1/eliminations/ELIMINATION/message?kind=originating-agency", "", 404, "AOC"},
	"replyToElimination":         {"POST", "/v1/eliminations/ELIMINATION/reply", `{"xml":"<x/>"}`, 404, "OC"},
	"sendTransfer":               {"POST", "/v1/eliminations/ELIMINATION/send", `{}`, 404, "A"},
	"acknowledgeTransfer":        {"POST", "/v1/eliminations/ELIMINATION/acknowledge", `{"replies":[]}`, 404, "A"},

	"listRequests":           {"GET", "/v1/requests", "", 0, "AOPU"},
	"showRequest":            {"GET", "/v1/requests/REQUEST", "", 404, "AOPU"},
	"openRequest":            {"POST", "/v1/requests", `{"article":15,"subject":"SUBJECT"}`, 422, "DAOP"},
	"identifyRequest":        {"POST", "/v1/requests/REQUEST/identify", `{"method":"guichet"}`, 404, "DAOP"},
	"extendRequest":          {"POST", "/v1/requests/REQUEST/extend", `{"months":1,"reason":"complexe"}`, 404, "P"},
	"analyseRequest":         {"POST", "/v1/requests/REQUEST/analyse", "", 404, "AP"},
	"decideRequest":          {"POST", "/v1/requests/REQUEST/decide", `{"outcome":"granted","legalBasis":"art. 17"}`, 404, "P"},
	"requestLetter":          {"GET", "/v1/requests/REQUEST/letter", "", 404, "AP"},
	"answerRequest":          {"POST", "/v1/requests/REQUEST/answer", `{}`, 404, "AP"},
	"withdrawRequest":        {"POST", "/v1/requests/REQUEST/withdraw", `{"reason":"x"}`, 404, "AOP"},
	"restrictByRequest":      {"POST", "/v1/requests/REQUEST/restriction", `{}`, 404, "A"},
	"correctUnit":            {"POST", "/v1/requests/REQUEST/corrections/units/UNIT", `{"note":"x"}`, 404, "A"},
	"correctSubject":         {"POST", "/v1/requests/REQUEST/corrections/subject", `{"reason":"x"}`, 404, "A"},
	"takePackage":            {"POST", "/v1/requests/REQUEST/package", "", 404, "A"},
	"endRequest":             {"POST", "/v1/requests/REQUEST/end", `{}`, 404, "A"},
	"executeErasure":         {"POST", "/v1/requests/REQUEST/erasure", "", 404, "A"},
	"showErasure":            {"GET", "/v1/requests/REQUEST/erasure", "", 404, "AOPU"},
	"requestCertificate":     {"GET", "/v1/requests/REQUEST/certificate", "", 404, "AOPU"},
	"makeRequestCertificate": {"POST", "/v1/requests/REQUEST/certificate", "", 404, "A"},
	"purgeRequest":           {"POST", "/v1/requests/REQUEST/purge", "", 404, "P"},

	"readAccessLog":  {"GET", "/v1/access-log", "", 0, "P"},
	"purgeAccessLog": {"POST", "/v1/access-log/purge", "", 0, "AP"},
	"showRegister":   {"GET", "/v1/gdpr/register", "", 0, "AOPU"},
	"printRegister":  {"GET", "/v1/gdpr/register.pdf", "", 0, "AOPU"},
	"checkGDPR":      {"GET", "/v1/gdpr/check", "", 0, "AOPU"},

	"listHolds":        {"GET", "/v1/holds", "", 0, "AOCPU"},
	"showHold":         {"GET", "/v1/holds/HOLD", "", 404, "AOCPU"},
	"setHold":          {"POST", "/v1/holds", `{"units":["UNIT"],"reason":"recours"}`, 422, "AOCP"},
	"reviewHold":       {"POST", "/v1/holds/HOLD/review", `{"reason":"x"}`, 404, "AOCP"},
	"endHold":          {"POST", "/v1/holds/HOLD/lift", `{"reason":"x"}`, 404, "AOCP"},
	"listDerogations":  {"GET", "/v1/derogations", "", 0, "AOCPU"},
	"showDerogation":   {"GET", "/v1/derogations/DEROGATION", "", 404, "AOCPU"},
	"grantDerogation":  {"POST", "/v1/derogations", `{"units":["UNIT"],"person":"c","until":"2999-01-01","reason":"x"}`, 422, "A"},
	"endDerogation":    {"POST", "/v1/derogations/DEROGATION/revoke", `{"reason":"x"}`, 404, "A"},
	"explainAccess":    {"GET", "/v1/units/UNIT/access", "", 404, "APU"},
	"listStarts":       {"GET", "/v1/starts", "", 0, "AOCPU"},
	"showStart":        {"GET", "/v1/starts/START", "", 404, "AOCPU"},
	"setStart":         {"POST", "/v1/starts", `{"units":["UNIT"],"rule":"APA","start":"2020-01-01","reason":"x"}`, 422, "AO"},
	"endStart":         {"POST", "/v1/starts/START/take-back", `{"reason":"x"}`, 404, "AO"},
	"listRestrictions": {"GET", "/v1/restrictions", "", 0, "AOCPU"},
	"showRestriction":  {"GET", "/v1/restrictions/HOLD", "", 404, "AOCPU"},
	"endRestriction":   {"POST", "/v1/restrictions/HOLD/lift", `{"reason":"x"}`, 404, "AP"},
	"listSamples":      {"GET", "/v1/samples", "", 0, "AOCPU"},
	"showSample":       {"GET", "/v1/samples/HOLD", "", 404, "AOCPU"},
	"drawSample":       {"POST", "/v1/samples", `{"rule":"APA","reason":"x"}`, 422, "A"},
	"endSample":        {"POST", "/v1/samples/HOLD/take-back", `{"reason":"x"}`, 404, "A"},
	"takeBackEvent":    {"POST", "/v1/files/FILE/events/EVENT/take-back", `{"reason":"x"}`, 404, "DAO"},

	"listSubjects":   {"GET", "/v1/subjects", "", 0, "AOCPU"},
	"linkIdentity":   {"POST", "/v1/subjects/SUBJECT/identities", `{"issuer":"https://i.example","sub":"1"}`, 404, "DAOP"},
	"unlinkIdentity": {"POST", "/v1/subjects/SUBJECT/identities/unlink", `{"issuer":"https://i.example","sub":"1"}`, 404, "DAOP"},
	"mergeSubject":   {"POST", "/v1/subjects/SUBJECT/merge", `{"into":"SUBJECT","reason":"x"}`, 404, "AP"},
	"splitSubject":   {"POST", "/v1/subjects/SUBJECT/split", `{"reason":"x"}`, 404, "AP"},
	"rectifySubject": {"POST", "/v1/subjects/SUBJECT/rectify", `{"reason":"x"}`, 404, "AOP"},

	"exportUnits": {"POST", "/v1/exports", `{"units":["UNIT"]}`, 404, "AO"},
	"restitute":   {"POST", "/v1/restitutions", `{"originatingAgency":"MDPH"}`, 0, "A"},

	"listRules":       {"GET", "/v1/rules", "", 0, "DAOCPUM"},
	"showRule":        {"GET", "/v1/rules/APA", "", 404, "DAOCPUM"},
	"planRules":       {"POST", "/v1/rules/plan", `{"file":"rules: []"}`, 0, "A"},
	"importRules":     {"POST", "/v1/rules/import", `{"file":"rules: []"}`, 0, "A"},
	"listProcedures":  {"GET", "/v1/procedures", "", 0, "DAOCPUM"},
	"showProcedure":   {"GET", "/v1/procedures/apa", "", 404, "DAOCPUM"},
	"checkProcedure":  {"POST", "/v1/procedures/check", `{"file":"id: x"}`, 0, "A"},
	"addProcedure":    {"POST", "/v1/procedures", `{"file":"id: x"}`, 0, "A"},
	"runConverter":    {"POST", "/v1/conversions", `{"converter":"none","units":["UNIT"],"reason":"x"}`, 404, "A"},
	"showConversions": {"GET", "/v1/conversions", "", 0, "AU"},
	"listFormats":     {"GET", "/v1/formats", "", 0, "AOCPU"},
	"listFormatUnits": {"GET", "/v1/formats/units?puid=unidentified", "", 0, "AOCPU"},
	"showCalendar":    {"GET", "/v1/retention/calendar", "", 0, "AOCPU"},
	"listAudits":      {"GET", "/v1/audits", "", 0, "AUM"},

	"showStats":       {"GET", "/v1/stats", "", 0, "AUM"},
	"sealNow":         {"POST", "/v1/seal", "", 0, "AM"},
	"startAudit":      {"POST", "/v1/audit", `{"sample":0.01}`, 0, "UM"},
	"showAudit":       {"GET", "/v1/audit", "", 0, "UM"},
	"startRepair":     {"POST", "/v1/repair", "", 0, "M"},
	"startBackup":     {"POST", "/v1/backup", "", 0, "M"},
	"showBackup":      {"GET", "/v1/backup", "", 0, "UM"},
	"showRepair":      {"GET", "/v1/repair", "", 0, "UM"},
	"verifyAccessLog": {"GET", "/v1/access-log/check", "", 0, "PUM"},
	"showStatus":      {"GET", "/v1/status", "", 0, "AUM"},
	"createAPIKey":    {"POST", "/v1/apikeys", `{"name":"x","roles":["depositor"],"expires":"EXPIRES"}`, 0, "M"},
	"listAPIKeys":     {"GET", "/v1/apikeys", "", 0, "M"},
	"revokeAPIKey":    {"POST", "/v1/apikeys/KEY/revoke", "", 404, "M"},

	"listOperations":      {"GET", "/v1/operations", "", 0, "DA"},
	"showOperation":       {"GET", "/v1/operations/OPERATION", "", 404, "DA"},
	"operationReply":      {"GET", "/v1/operations/OPERATION/reply", "", 404, "DA"},
	"cancelOperation":     {"DELETE", "/v1/operations/OPERATION", "", 404, "DA"},
	"vitamIngest":         {"POST", "/ingest-external/v1/ingests", "zip", 401, "DA"},
	"vitamDownload":       {"GET", "/ingest-external/v1/ingests/GUID/manifests", "", 401, "DA"},
	"vitamStatus":         {"GET", "/admin-external/v1/status", "", 0, "DAOCPUM"},
	"vitamList":           {"GET", "/admin-external/v1/operations", "", 401, "DA"},
	"vitamListPost":       {"POST", "/admin-external/v1/operations", "{}", 401, "DA"},
	"vitamShow":           {"GET", "/admin-external/v1/operations/GUID", "", 401, "DA"},
	"vitamAct":            {"PUT", "/admin-external/v1/operations/GUID", "", 401, "DA"},
	"vitamCancel":         {"DELETE", "/admin-external/v1/operations/GUID", "", 401, "DA"},
	"vitamStatusIngest":   {"GET", "/ingest-external/v1/status", "", 0, "DAOCPUM"},
	"vitamListIngest":     {"GET", "/ingest-external/v1/operations", "", 401, "DA"},
	"vitamListPostIngest": {"POST", "/ingest-external/v1/operations", "{}", 401, "DA"},
	"vitamShowIngest":     {"GET", "/ingest-external/v1/operations/GUID", "", 401, "DA"},
	"vitamActIngest":      {"PUT", "/ingest-external/v1/operations/GUID", "", 401, "DA"},
	"vitamCancelIngest":   {"DELETE", "/ingest-external/v1/operations/GUID", "", 401, "DA"},
	"runCommand":          {"GET", "/v1/commands", "", 0, "DAOCPUM"},
	"listWebhooks":        {"GET", "/v1/webhooks", "", 0, "M"},
	"addWebhook":          {"POST", "/v1/webhooks", `{"name":"NUMBER","url":"https://gru.example/"}`, 0, "M"},
	"showWebhook":         {"GET", "/v1/webhooks/HOOK", "", 404, "M"},
	"changeWebhook":       {"PATCH", "/v1/webhooks/HOOK", `{"disabled":true}`, 404, "M"},
	"removeWebhook":       {"DELETE", "/v1/webhooks/HOOK", "", 404, "M"},
	"listDeadLetters":     {"GET", "/v1/webhooks/HOOK/dead-letters", "", 404, "M"},
	"replayWebhook":       {"POST", "/v1/webhooks/HOOK/replay", `{"deadLetters":true}`, 404, "M"},
	"describeUploads":     {"OPTIONS", "/v1/uploads", "", 0, "DA"},
	"createUpload":        {"POST", "/v1/uploads", "", 0, "DA"},
	"showUpload":          {"HEAD", "/v1/uploads/UPLOAD", "", 404, "DA"},
	"continueUpload":      {"PATCH", "/v1/uploads/UPLOAD", "piece", 404, "DA"},
	"cancelUpload":        {"DELETE", "/v1/uploads/UPLOAD", "", 404, "DA"},
}

var initials = map[archive.Role]string{archive.Depositor: "D", archive.Archivist: "A", archive.OriginatingAgency: "O", archive.ControlAuthority: "C",
	archive.DataProtection: "P", archive.Auditor: "U", archive.Administrator: "M"}

// TestWhoMay walks all operations x all roles x a foreign tenant x nobody.
func TestWhoMay(t *testing.T) {
	s := serve(t, nil)
	known := operationsOf(t, s)
	for id := range roles {
		if !known[id] {
			t.Errorf("%s is in the table of roles, and no operation", id)
		}
	}
	for id := range walks {
		if !known[id] {
			t.Errorf("%s is in the table of this test, and no operation", id)
		}
	}
	f := newFixture(t, s)
	for id := range known {
		w, ok := walks[id]
		if !ok {
			t.Errorf("operation %s is not in the table of this test", id)
			continue
		}
		if r := f.ask(id, w, ""); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s by nobody: %s", id, r.Status)
		}
		if r := f.ask(id, w, "sae_kaaaaaaaaaaaaaaaaaaaaaaaaaa_"+strings.Repeat("A", 43)); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s by a key that is none: %s", id, r.Status)
		}
		for _, role := range archive.Roles {
			may := strings.Contains(w.who, initials[role])
			r := f.ask(id, w, s.key("cd99", role))
			denied := r.StatusCode == http.StatusForbidden && (w.method == "HEAD" || decode[struct{ Code string }](t, r.body).Code == "denied")
			if denied == may || r.StatusCode == http.StatusUnauthorized || r.StatusCode >= 500 {
				t.Errorf("%s by %s: %s %s, may: %v", id, role, r.Status, r.body, may)
			}
			if !may || w.foreign == 0 {
				continue
			}
			if r := f.ask(id, w, s.key("cd98", role)); r.StatusCode != w.foreign {
				t.Errorf("%s by %s of another tenant: %s %s", id, role, r.Status, r.body)
			}
		}
	}
}

// TestForeignListsAreEmpty: what one tenant has is in no list of another.
func TestForeignListsAreEmpty(t *testing.T) {
	s := serve(t, nil)
	f := newFixture(t, s)
	key := s.key("cd98", archive.Archivist)
	for _, id := range []string{"listUnits", "listFiles", "search", "findSubjects", "listDue", "listSubjects", "listRequests", "listHolds", "listStarts", "listDerogations", "listEliminations", "checkGDPR"} {
		r := f.ask(id, walks[id], key)
		for _, secret := range []string{f.unit, f.file, f.subject, f.request, f.hold, f.elimination, "Demande", "Martin"} {
			if r.StatusCode != 200 || strings.Contains(string(r.body), secret) {
				t.Errorf("%s tells another tenant of %s: %s %s", id, secret, r.Status, r.body)
			}
		}
	}
	if r := s.administer(s.key("cd98", archive.Administrator), "GET", "/v1/apikeys", nil); strings.Contains(string(r.body), `"cd99"`) {
		t.Errorf("keys: %s", r.body)
	}
}

func TestKeyLimitedToOperations(t *testing.T) {
	s := serve(t, nil)
	body := `{"name":"gru","roles":["archivist","auditor"],"operations":["showStatus"],"expires":"` + inAnHour() + `"}`
	r := s.administer(s.key("cd99", archive.Administrator), "POST", "/v1/apikeys", strings.NewReader(body), "Content-Type", "application/json", "Idempotency-Key", "1")
	var k CreatedAPIKey
	if err := json.Unmarshal(r.body, &k); err != nil || k.Secret == "" {
		t.Fatalf("%s %s", r.Status, r.body)
	}
	if r := s.administer(k.Secret, "GET", "/v1/status", nil); r.StatusCode != 200 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if r := s.ask(k.Secret, "GET", "/v1/units", nil); r.StatusCode != 403 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	again := s.administer(s.key("cd99", archive.Administrator), "POST", "/v1/apikeys", strings.NewReader(body), "Content-Type", "application/json", "Idempotency-Key", "1")
	if strings.Contains(string(again.body), "secret") || !strings.Contains(string(again.body), k.ID) || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("a retry: %s %s", again.Status, again.body)
	}
	if r := s.administer(s.key("cd99", archive.Administrator), "POST", "/v1/apikeys/"+k.ID+"/revoke", nil, "Idempotency-Key", "2"); r.StatusCode != 200 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if r := s.administer(k.Secret, "GET", "/v1/status", nil); r.StatusCode != 401 || r.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("a revoked key: %s", r.Status)
	}
}

func TestPublicLedger(t *testing.T) {
	s := serve(t, func(c *serving.Config) { c.PublicLedger = true })
	for id := range operationsOf(t, s) {
		w := walks[id]
		if strings.ContainsAny(w.path, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			continue
		}
		ask := s.ask
		if administration[id] {
			ask = s.administer
		}
		r := ask("", w.method, w.path, nil)
		if open := slices.Contains([]string{"showCheckpoint", "showTile"}, id); open != (r.StatusCode == 200) || !open && r.StatusCode != 401 {
			t.Errorf("%s by nobody: %s", id, r.Status)
		}
	}
}

// administration are the operations of the listener of administration: they are nowhere else.
var administration = map[string]bool{"createAPIKey": true, "listAPIKeys": true, "revokeAPIKey": true, "showStatus": true, "showStats": true, "sealNow": true, "startAudit": true, "showAudit": true,
	"startRepair": true, "startBackup": true, "showBackup": true, "showRepair": true, "verifyAccessLog": true}

// TestAdministrationIsApart: what is asked of one listener is not there on the other, whatever the key.
func TestAdministrationIsApart(t *testing.T) {
	s := serve(t, nil)
	f := newFixture(t, s)
	for _, id := range []string{"createAPIKey", "showStatus", "sealNow", "startAudit", "listAPIKeys"} {
		w := walks[id]
		if r := s.ask(s.key("cd99", archive.Administrator), w.method, w.path, strings.NewReader(w.body), "Idempotency-Key", "1", "Content-Type", "application/json"); r.StatusCode != 404 {
			t.Errorf("%s of the service: %s %s", id, r.Status, r.body)
		}
		if r := f.ask(id, w, s.key("cd99", archive.Administrator)); r.StatusCode >= 300 {
			t.Errorf("%s: %s %s", id, r.Status, r.body)
		}
	}
	if r := s.administer(s.key("cd99", archive.Archivist), "GET", "/v1/units", nil); r.StatusCode != 404 {
		t.Errorf("units where it is administered: %s", r.Status)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if r := s.administer("", "GET", path, nil); r.StatusCode != 200 {
			t.Errorf("%s: %s", path, r.Status)
		}
		if r := s.ask("", "GET", path, nil); r.StatusCode != 404 {
			t.Errorf("%s of the service: %s", path, r.Status)
		}
	}
}

// operationsOf are the operations that the interfaces of both listeners tell of.
func operationsOf(t testing.TB, s *served) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, beside := range []bool{false, true} {
		for id := range operationsOn(t, s, beside) {
			if beside != administration[id] && id != "runCommand" { // which is on both
				t.Errorf("%s is on the wrong listener", id)
			}
			out[id] = true
		}
	}
	return out
}

func operationsOn(t testing.TB, s *served, beside bool) map[string]bool {
	t.Helper()
	ask := s.ask
	if beside {
		ask = s.administer
	}
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			ID string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(ask("", "GET", "/openapi.json", nil).body, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %s", doc.OpenAPI)
	}
	out := map[string]bool{}
	for _, item := range doc.Paths {
		for _, op := range item {
			out[op.ID] = true
		}
	}
	return out
}
