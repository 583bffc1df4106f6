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
	"createDeposit":        {"POST", "/v1/deposits", "multipart", 0, "DA"},
	"depositTransfer":      {"PUT", "/v1/transfers/x.zip", "zip", 0, "DA"},
	"showDeposit":          {"GET", "/v1/deposits/ENTRY", "", 404, "DAOU"},
	"listUnits":            {"GET", "/v1/units", "", 0, "AOCPU"},
	"showUnit":             {"GET", "/v1/units/UNIT", "", 404, "AOCPU"},
	"unitHistory":          {"GET", "/v1/units/UNIT/history", "", 404, "AOCPU"},
	"unitRetention":        {"GET", "/v1/units/UNIT/retention", "", 404, "AOCPU"},
	"unitProof":            {"GET", "/v1/units/UNIT/proof", "", 404, "AOCPU"},
	"objectContent":        {"GET", "/v1/objects/OBJECT/content", "", 404, "AOCPU"},
	"search":               {"POST", "/v1/search", `{"words":"demande"}`, 0, "AOCPU"},
	"listDue":              {"GET", "/v1/retention/due", "", 0, "AOCPU"},
	"listEliminations":     {"GET", "/v1/eliminations", "", 0, "AOCPU"},
	"showElimination":      {"GET", "/v1/eliminations/ELIMINATION", "", 404, "AOCPU"},
	"listEliminationUnits": {"GET", "/v1/eliminations/ELIMINATION/units", "", 404, "AOCPU"},
	"proposeElimination":   {"POST", "/v1/eliminations", `{}`, 0, "A"},
	"stepElimination":      {"POST", "/v1/eliminations/ELIMINATION/steps", `{"step":"agreed"}`, 404, "AOC"},
	"listFiles":            {"GET", "/v1/files", "", 0, "AOCPU"},
	"showFile":             {"GET", "/v1/files/FILE", "", 404, "AOCPU"},
	"openFile":             {"POST", "/v1/files", `{"procedure":"apa","number":"NUMBER"}`, 404, "DAO"},
	"recordEvent":          {"POST", "/v1/files/FILE/events", `{"event":"decision"}`, 404, "DAO"},
	"closeFile":            {"POST", "/v1/files/FILE/close", `{}`, 404, "DAO"},
	"reopenFile":           {"POST", "/v1/files/FILE/reopen", `{"reason":"erreur"}`, 404, "DAO"},
	"createSubject":        {"POST", "/v1/subjects", `{"familyName":"Martin"}`, 0, "DAOP"},
	"showSubject":          {"GET", "/v1/subjects/SUBJECT", "", 404, "AOCPU"},
	"findSubjects":         {"POST", "/v1/subjects/find", `{"familyName":"Martin"}`, 0, "AOCPU"},
	"showCheckpoint":       {"GET", "/v1/ledger/checkpoint", "", 0, "DAOCPUM"},
	"showTile":             {"GET", "/v1/ledger/tile/0/000.p/1", "", 0, "DAOCPUM"},
	"showEntry":            {"GET", "/v1/ledger/entries/1", "", 0, "DAOCPUM"},
	"showReceipt":          {"GET", "/v1/ledger/entries/1/receipt", "", 0, "DAOCPUM"},
	"proveConsistency":     {"GET", "/v1/ledger/consistency?from=1&to=2", "", 0, "DAOCPUM"},
	"listEvents":           {"GET", "/v1/events", "", 0, "DAOCPUM"},
	"listWebhooks":         {"GET", "/v1/webhooks", "", 0, "M"},
	"addWebhook":           {"POST", "/v1/webhooks", `{"name":"NUMBER","url":"https://gru.example/"}`, 0, "M"},
	"showWebhook":          {"GET", "/v1/webhooks/HOOK", "", 404, "M"},
	"changeWebhook":        {"PATCH", "/v1/webhooks/HOOK", `{"disabled":true}`, 404, "M"},
	"removeWebhook":        {"DELETE", "/v1/webhooks/HOOK", "", 404, "M"},
	"listDeadLetters":      {"GET", "/v1/webhooks/HOOK/dead-letters", "", 404, "M"},
	"replayWebhook":        {"POST", "/v1/webhooks/HOOK/replay", `{"deadLetters":true}`, 404, "M"},
	"showStatus":           {"GET", "/v1/status", "", 0, "AUM"},
	"createAPIKey":         {"POST", "/v1/apikeys", `{"name":"x","roles":["depositor"],"expires":"EXPIRES"}`, 0, "M"},
	"listAPIKeys":          {"GET", "/v1/apikeys", "", 0, "M"},
	"revokeAPIKey":         {"POST", "/v1/apikeys/KEY/revoke", "", 404, "M"},
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
		if r := f.ask(w, ""); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s by nobody: %s", id, r.Status)
		}
		if r := f.ask(w, "sae_kaaaaaaaaaaaaaaaaaaaaaaaaaa_"+strings.Repeat("A", 43)); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s by a key that is none: %s", id, r.Status)
		}
		for _, role := range archive.Roles {
			may := strings.Contains(w.who, initials[role])
			r := f.ask(w, s.key("cd99", role))
			denied := r.StatusCode == http.StatusForbidden && r.problem(t).Code == "denied"
			if denied == may || r.StatusCode == http.StatusUnauthorized || r.StatusCode >= 500 {
				t.Errorf("%s by %s: %s %s, may: %v", id, role, r.Status, r.body, may)
			}
			if !may || w.foreign == 0 {
				continue
			}
			if r := f.ask(w, s.key("cd98", role)); r.StatusCode != w.foreign {
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
	for _, id := range []string{"listUnits", "listFiles", "search", "findSubjects", "listDue"} {
		r := f.ask(walks[id], key)
		for _, secret := range []string{f.unit, f.file, f.subject, "Demande", "Martin"} {
			if r.StatusCode != 200 || strings.Contains(string(r.body), secret) {
				t.Errorf("%s tells another tenant of %s: %s %s", id, secret, r.Status, r.body)
			}
		}
	}
	if r := s.ask(s.key("cd98", archive.Administrator), "GET", "/v1/apikeys", nil); strings.Contains(string(r.body), `"cd99"`) {
		t.Errorf("keys: %s", r.body)
	}
}

func TestKeyLimitedToOperations(t *testing.T) {
	s := serve(t, nil)
	body := `{"name":"gru","roles":["archivist","auditor"],"operations":["showStatus"],"expires":"` + inAnHour() + `"}`
	r := s.ask(s.key("cd99", archive.Administrator), "POST", "/v1/apikeys", strings.NewReader(body), "Content-Type", "application/json", "Idempotency-Key", "1")
	var k CreatedAPIKey
	if err := json.Unmarshal(r.body, &k); err != nil || k.Secret == "" {
		t.Fatalf("%s %s", r.Status, r.body)
	}
	if r := s.ask(k.Secret, "GET", "/v1/status", nil); r.StatusCode != 200 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if r := s.ask(k.Secret, "GET", "/v1/units", nil); r.StatusCode != 403 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	again := s.ask(s.key("cd99", archive.Administrator), "POST", "/v1/apikeys", strings.NewReader(body), "Content-Type", "application/json", "Idempotency-Key", "1")
	if strings.Contains(string(again.body), "secret") || !strings.Contains(string(again.body), k.ID) || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("a retry: %s %s", again.Status, again.body)
	}
	if r := s.ask(s.key("cd99", archive.Administrator), "POST", "/v1/apikeys/"+k.ID+"/revoke", nil, "Idempotency-Key", "2"); r.StatusCode != 200 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if r := s.ask(k.Secret, "GET", "/v1/status", nil); r.StatusCode != 401 || r.Header.Get("WWW-Authenticate") == "" {
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
		r := s.ask("", w.method, w.path, nil)
		if open := slices.Contains([]string{"showCheckpoint", "showTile"}, id); open != (r.StatusCode == 200) || !open && r.StatusCode != 401 {
			t.Errorf("%s by nobody: %s", id, r.Status)
		}
	}
}

// operationsOf are the operations that the interface tells of.
func operationsOf(t testing.TB, s *served) map[string]bool {
	t.Helper()
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			ID string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(s.ask("", "GET", "/openapi.json", nil).body, &doc); err != nil {
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
