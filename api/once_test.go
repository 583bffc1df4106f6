package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sae/archive"
)

func newTestLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestRetryDepositsOnce(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	first := s.deposited(key, "k", "one")
	r := s.deposit(key, "k", "one")
	again := decode[Deposited](t, r.body)
	if r.StatusCode != 201 || r.Header.Get("Idempotency-Replayed") != "true" || r.Header.Get("Location") != fmt.Sprintf("/v1/deposits/%d", first.Entry) {
		t.Errorf("%s %v", r.Status, r.Header)
	}
	first.Receipt, again.Receipt = "", "" // the proof is under the last checkpoint
	if !bytes.Equal(mustJSON(first), mustJSON(again)) {
		t.Errorf("answered %+v, then %+v", first, again)
	}
	if p := s.deposit(key, "k", "two").problem(t); p.Status != 422 || p.Code != "key-reused" {
		t.Errorf("another body: %+v", p)
	}
	ct, body := form(part{"metadata", strings.Replace(oneFile, "Demande", "Autre", 1), nil}, part{"f", "one", nil})
	if p := s.ask(key, "POST", "/v1/deposits", body, "Content-Type", ct, "Idempotency-Key", "k").problem(t); p.Code != "key-reused" {
		t.Errorf("other metadata: %+v", p)
	}
	if r := s.deposit(s.key("cd99", archive.Archivist), "k", "one"); r.StatusCode != 201 || r.Header.Get("Idempotency-Replayed") != "" {
		t.Errorf("the same key of another: %s %s", r.Status, r.body)
	}
	if p := s.deposit(key, "", "x").problem(t); p.Status != 422 {
		t.Errorf("no key: %+v", p)
	}
	if n := s.units("cd99"); n != 2 {
		t.Errorf("%d units, want 2", n)
	}
}

func TestConcurrentRetriesDepositOnce(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			for {
				r := s.deposit(key, "k", "one")
				if r.StatusCode == http.StatusConflict {
					continue
				}
				if r.StatusCode != 201 {
					t.Errorf("%s %s", r.Status, r.body)
				}
				return
			}
		})
	}
	wg.Wait()
	if n := s.units("cd99"); n != 1 {
		t.Errorf("%d units", n)
	}
}

func TestRetriesOfOtherWrites(t *testing.T) {
	s := serve(t, nil)
	f := newFixture(t, s)
	key := s.key("cd99", archive.Archivist)
	for _, c := range []struct{ path, body, other string }{
		{"/v1/files", `{"procedure":"apa","number":"N1","persons":["` + f.subject + `"]}`, `{"procedure":"apa","number":"N2"}`},
		{"/v1/files/" + f.file + "/events", `{"event":"decision"}`, `{"event":"decision","reason":"x"}`},
		{"/v1/files/" + f.file + "/close", `{}`, `{"reason":"x"}`},
		{"/v1/files/" + f.file + "/reopen", `{"reason":"erreur"}`, `{"reason":"x"}`},
		{"/v1/files/" + f.file + "/events/" + f.event + "/take-back", `{"reason":"erreur"}`, `{"reason":"x"}`},
		{"/v1/holds", `{"units":["` + f.unit + `"],"reason":"recours","owner":"juridique"}`, `{"units":["` + f.unit + `"],"reason":"x"}`},
		{"/v1/holds/" + f.hold + "/review", `{"reason":"reste"}`, `{"reason":"x"}`},
		{"/v1/holds/" + f.hold + "/lift", `{"reason":"fini"}`, `{"reason":"x"}`},
		{"/v1/derogations", `{"units":["` + f.unit + `"],"person":"c","until":"2999-01-01","reason":"thèse"}`, `{"units":["` + f.unit + `"],"person":"d","until":"2999-01-01","reason":"thèse"}`},
		{"/v1/starts", `{"units":["` + f.unit + `"],"rule":"APA","start":"2024-02-02","reason":"décision"}`, `{"units":["` + f.unit + `"],"rule":"APA","start":"2024-02-03","reason":"décision"}`},
		{"/v1/requests", `{"article":15,"subject":"` + f.subject + `","who":"C. Martin"}`, `{"article":20,"subject":"` + f.subject + `"}`},
		{"/v1/requests/" + f.request + "/identify", `{"method":"guichet"}`, `{"method":"x"}`},
		{"/v1/subjects/" + f.subject + "/identities", `{"issuer":"https://fc.example","sub":"9"}`, `{"issuer":"https://fc.example","sub":"8"}`},
		{"/v1/procedures", string(mustJSON(map[string]string{"file": apa + "# 2\n"})), string(mustJSON(map[string]string{"file": apa + "# 3\n"}))},
		{"/v1/subjects", `{"familyName":"Durand","identities":[{"issuer":"https://fc.example","sub":"1"}]}`, `{"familyName":"Dupond"}`},
	} {
		ask := func(body string) *reply {
			return s.ask(key, "POST", c.path, strings.NewReader(body), "Content-Type", "application/json", "Idempotency-Key", "k"+c.path)
		}
		first, again := ask(c.body), ask(c.body)
		if first.StatusCode != 201 || again.StatusCode != 201 || again.Header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: %s %s, %s %s", c.path, first.Status, first.body, again.Status, again.body)
		}
		strip := func(b []byte) string {
			m := decode[map[string]any](t, b)
			delete(m, "receipt")
			delete(m, "sealed")
			return string(mustJSON(m))
		}
		if strip(first.body) != strip(again.body) {
			t.Errorf("%s: answered\n%s\nthen\n%s", c.path, first.body, again.body)
		}
		if p := ask(c.other).problem(t); p.Code != "key-reused" {
			t.Errorf("%s: %+v", c.path, p)
		}
	}
}

func TestDigestsAreHeld(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	const content = "contenu"
	h256, h512, other := sha256.Sum256([]byte(content)), sha512.Sum512([]byte(content)), sha256.Sum256([]byte("x"))
	d512 := "sha-512=:" + base64.StdEncoding.EncodeToString(h512[:]) + ":"
	bad512 := "sha-512=:" + base64.StdEncoding.EncodeToString(make([]byte, 64)) + ":"
	for i, c := range []struct {
		headers []string
		status  int
	}{
		{[]string{"Repr-Digest", digestHeader(h256[:])}, 201},
		{[]string{"Content-Digest", digestHeader(h256[:]) + ", " + d512}, 201},
		{[]string{"Content-Digest", "md5=:AAAA:, " + d512}, 201},
		{[]string{"Repr-Digest", digestHeader(other[:])}, 422},
		{[]string{"Repr-Digest", bad512}, 400},
		{[]string{"Repr-Digest", digestHeader(h256[:]), "Content-Digest", digestHeader(other[:])}, 400},
		{[]string{"Repr-Digest", "sha-256=" + "abc"}, 400},
		{[]string{"Repr-Digest", "nonsense"}, 400},
	} {
		ct, body := form(part{"metadata", oneFile, nil}, part{"f", content, c.headers})
		if r := s.ask(key, "POST", "/v1/deposits", body, "Content-Type", ct, "Idempotency-Key", fmt.Sprint(i)); r.StatusCode != c.status {
			t.Errorf("%v: %s %s", c.headers, r.Status, r.body)
		}
	}
	for i, whole := range []bool{true, false} {
		ct, body := form(part{"metadata", oneFile, nil}, part{"f", content, nil})
		sum, want := sha256.Sum256(body.Bytes()), 201
		if !whole {
			sum, want = other, 400
		}
		if r := s.ask(key, "POST", "/v1/deposits", body, "Content-Type", ct, "Idempotency-Key", fmt.Sprint("w", i), "Content-Digest", digestHeader(sum[:])); r.StatusCode != want {
			t.Errorf("whole body: %s %s", r.Status, r.body)
		}
	}
	if n := s.units("cd99"); n != 4 {
		t.Errorf("%d units, want 4", n)
	}
}

func TestPartsOfADeposit(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	large := strings.Repeat("0123456789abcdef", 200_000) // 3.2 MB: not read whole
	meta := `{"units":[{"title":"Dossier"},{"parent":0,"title":"A","content":{"part":"a","filename":"a.txt"}},{"parent":0,"title":"L","content":{"part":"l","filename":"l.txt"}},{"parent":0,"title":"B","content":{"part":"b","filename":"b.txt"}}]}`
	a, l, b := part{"a", "aa", nil}, part{"l", large, nil}, part{"b", "bb", nil}
	m := part{"metadata", meta, nil}
	for i, c := range []struct {
		parts  []part
		cut    int
		status int
		code   string
	}{
		{[]part{m, a, l, b}, 0, 201, ""},
		{[]part{m, l, a, b}, 0, 400, "malformed"},
		{[]part{m, a, l}, 0, 400, "malformed"},
		{[]part{m, a, l, b, {"c", "more", nil}}, 0, 400, "malformed"},
		{[]part{a, l, b}, 0, 400, "malformed"},
		{[]part{{"metadata", "{", nil}}, 0, 400, "malformed"},
		{[]part{{"metadata", `{"units":[{"title":"x","colour":"red"}]}`, nil}}, 0, 422, "invalid"},
		{[]part{{"metadata", `{"units":[]}`, nil}}, 0, 422, "invalid"},
		{[]part{{"metadata", `{"units":[{"title":"x","rule":"NONE"},{"title":"y","accessRule":"NONE"}]}`, nil}}, 0, 422, "refused"},
		{[]part{m, a, l, b}, 40, 400, "incomplete"},
		{[]part{{"metadata", `{"units":[{"title":"p","channel":"paper","paper":{"location":"Magasin 2"}}]}`, nil}}, 0, 201, ""},
	} {
		ct, body := form(c.parts...)
		body.Truncate(body.Len() - c.cut)
		r := s.ask(key, "POST", "/v1/deposits", body, "Content-Type", ct, "Idempotency-Key", fmt.Sprint(i))
		if r.StatusCode != c.status || c.code != "" && r.problem(t).Code != c.code {
			t.Errorf("%d: %s %s", i, r.Status, r.body)
		}
	}
	if r := s.ask(key, "POST", "/v1/deposits", strings.NewReader("{}"), "Content-Type", "application/json", "Idempotency-Key", "j"); r.StatusCode != 415 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if n := s.units("cd99"); n != 5 {
		t.Errorf("%d units, want 5", n)
	}
	var d Deposited
	ct, body := form(m, a, l, b)
	r := s.ask(key, "POST", "/v1/deposits", body, "Content-Type", ct, "Idempotency-Key", "0")
	if json.Unmarshal(r.body, &d); len(d.Units) != 4 || d.Units[2].Objects[0].Size != int64(len(large)) || r.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s %s", r.Status, r.body)
	}
}
