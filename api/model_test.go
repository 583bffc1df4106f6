package api

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sae/archive"
)

// modelled is what the service must have in it, by what it answered.
type modelled struct {
	s      *served
	run    int64
	writes map[string]*modelWrite // by tenant, role and key
	units  map[string][]string    // by tenant: those that were acknowledged
}

// modelWrite is a deposit that was asked for by a key.
type modelWrite struct {
	content   string
	operation string // empty while no answer came
}

// TestClientsAsInTheModel: clients of two tenants do in any order what clients do, ask again with the
// same key and with another request, break off, and read what is theirs and what is not. No answer is a
// 500, nothing is there twice, and nothing of another tenant is ever seen.
func TestClientsAsInTheModel(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue { // each is some thirty requests
		f.Value.Set("20")
		defer f.Value.Set(f.DefValue)
	}
	s := serve(t, nil)
	runs := int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &modelled{s: s, run: runs, writes: map[string]*modelWrite{}, units: map[string][]string{}}
		before := map[string]int{}
		for _, tenant := range []string{"cd99", "cd98"} {
			before[tenant] = m.count(rt, tenant)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"deposit":   m.deposit,
			"again":     m.again,
			"reuse":     m.reuse,
			"break off": m.breakOff,
			"read":      m.read,
			"foreign":   m.foreign,
			"wrong":     m.wrong,
		})
		for tenant, n := range before {
			m.settle(rt, tenant)
			if got := m.count(rt, tenant) - n; got != len(m.units[tenant]) {
				rt.Errorf("%s has %d units more, %d were acknowledged", tenant, got, len(m.units[tenant]))
			}
		}
	})
}

var modelTenants = rapid.SampledFrom([]string{"cd99", "cd98"})

// ask asks, and looks at what no answer may be.
func (m *modelled) ask(rt *rapid.T, key, method, path string, body io.Reader, headers ...string) *reply {
	r := m.s.ask(key, method, path, body, headers...)
	if r.StatusCode >= 500 {
		rt.Fatalf("%s %s: %s %s", method, path, r.Status, r.body)
	}
	return r
}

func (m *modelled) count(rt *rapid.T, tenant string) (n int) {
	key := m.s.key(tenant, archive.Auditor)
	for after := ""; ; {
		page := decode[struct {
			Units []struct{ Unit string }
			Next  string
		}](m.s.t, m.ask(rt, key, "GET", "/v1/units?limit=1000&after="+after, nil).body)
		n += len(page.Units)
		if after = page.Next; after == "" {
			return n
		}
	}
}

// send sends a deposit, and holds the answer against the model.
func (m *modelled) send(rt *rapid.T, tenant, once string, w *modelWrite) {
	r := m.s.deposit(m.s.key(tenant, archive.Depositor), once, w.content)
	for range 1000 { // one that was broken off may be under way yet
		if r.StatusCode != http.StatusConflict {
			break
		}
		time.Sleep(5 * time.Millisecond)
		r = m.s.deposit(m.s.key(tenant, archive.Depositor), once, w.content)
	}
	if r.StatusCode != http.StatusCreated {
		rt.Fatalf("deposit %s of %s: %s %s", once, tenant, r.Status, r.body)
	}
	d := decode[Deposited](m.s.t, r.body)
	switch {
	case w.operation == "":
		w.operation = d.Operation
		for _, u := range d.Units {
			if slices.Contains(m.units[tenant], u.ID) {
				rt.Fatalf("%s was acknowledged before", u.ID)
			}
			m.units[tenant] = append(m.units[tenant], u.ID)
		}
	case w.operation != d.Operation || r.Header.Get("Idempotency-Replayed") != "true":
		rt.Fatalf("%s of %s is %s, then %s", once, tenant, w.operation, d.Operation)
	}
}

func (m *modelled) deposit(rt *rapid.T) {
	tenant := modelTenants.Draw(rt, "tenant")
	once := fmt.Sprintf("m%d-%d", m.run, rapid.IntRange(0, 20).Draw(rt, "key")) // tenants draw the same
	w := m.writes[tenant+once]
	if w == nil {
		w = &modelWrite{content: fmt.Sprint(once, strings.Repeat("x", rapid.IntRange(0, 3000).Draw(rt, "size")))}
		m.writes[tenant+once] = w
	}
	m.send(rt, tenant, once, w)
}

// known draws a write that was asked for.
func (m *modelled) known(rt *rapid.T) (tenant, once string, w *modelWrite) {
	if len(m.writes) == 0 {
		rt.Skip("none yet")
	}
	var names []string
	for name := range m.writes {
		names = append(names, name)
	}
	slices.Sort(names)
	name := rapid.SampledFrom(names).Draw(rt, "write")
	return name[:4], name[4:], m.writes[name]
}

func (m *modelled) again(rt *rapid.T) {
	tenant, once, w := m.known(rt)
	m.send(rt, tenant, once, w)
}

// reuse sends something else by a key that was used.
func (m *modelled) reuse(rt *rapid.T) {
	tenant, once, w := m.known(rt)
	if w.operation == "" {
		rt.Skip("nobody knows whether it was")
	}
	if r := m.s.deposit(m.s.key(tenant, archive.Depositor), once, w.content+"other"); r.StatusCode != http.StatusUnprocessableEntity || r.problem(m.s.t).Code != "key-reused" {
		rt.Fatalf("%s with something else: %s %s", once, r.Status, r.body)
	}
}

// breakOff ends the connection somewhere in a request, or before the answer.
func (m *modelled) breakOff(rt *rapid.T) {
	tenant := modelTenants.Draw(rt, "tenant")
	once := fmt.Sprintf("m%d-cut%d", m.run, rapid.IntRange(0, 5).Draw(rt, "key"))
	w := m.writes[tenant+once]
	if w == nil {
		w = &modelWrite{content: "cut " + once}
		m.writes[tenant+once] = w
	}
	ct, body := form(part{"metadata", oneFile, nil}, part{"f", w.content, nil})
	conn := m.s.raw(m.s.t)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	head := fmt.Sprintf("POST /v1/deposits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nIdempotency-Key: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", m.s.key(tenant, archive.Depositor), once, ct, body.Len())
	whole := head + body.String()
	io.WriteString(conn, whole[:rapid.IntRange(0, len(whole)).Draw(rt, "sent")])
}

// settle asks again for what was broken off, until each has an answer.
func (m *modelled) settle(rt *rapid.T, tenant string) {
	for name, w := range m.writes {
		if name[:4] == tenant && w.operation == "" {
			m.send(rt, tenant, name[4:], w)
		}
	}
}

// unit draws a unit that was acknowledged.
func (m *modelled) unit(rt *rapid.T) (tenant, id string) {
	tenant = modelTenants.Draw(rt, "tenant")
	if len(m.units[tenant]) == 0 {
		rt.Skip("none yet")
	}
	return tenant, rapid.SampledFrom(m.units[tenant]).Draw(rt, "unit")
}

func (m *modelled) read(rt *rapid.T) {
	tenant, id := m.unit(rt)
	if r := m.ask(rt, m.s.key(tenant, archive.Auditor), "GET", "/v1/units/"+id, nil); r.StatusCode != 200 || !bytes.Contains(r.body, []byte(id)) {
		rt.Fatalf("%s of %s: %s %s", id, tenant, r.Status, r.body)
	}
}

// foreign asks for what another tenant has: it is not there, in whatever way it is asked for.
func (m *modelled) foreign(rt *rapid.T) {
	tenant, id := m.unit(rt)
	other := map[string]string{"cd99": "cd98", "cd98": "cd99"}[tenant]
	role := rapid.SampledFrom([]archive.Role{archive.Archivist, archive.Auditor, archive.ControlAuthority, archive.DataProtection}).Draw(rt, "role")
	path := rapid.SampledFrom([]string{"", "/history", "/proof", "/retention"}).Draw(rt, "path")
	if r := m.ask(rt, m.s.key(other, role), "GET", "/v1/units/"+id+path, nil); r.StatusCode != http.StatusNotFound {
		rt.Fatalf("%s%s of %s, asked for by %s: %s %s", id, path, tenant, other, r.Status, r.body)
	}
	for _, list := range []string{"/v1/units?limit=1000", "/v1/events?limit=1000"} {
		if r := m.ask(rt, m.s.key(other, archive.Auditor), "GET", list, nil); bytes.Contains(r.body, []byte(id)) {
			rt.Fatalf("%s of %s is told to %s by %s", id, tenant, other, list)
		}
	}
}

// wrong asks what is refused, and changes nothing.
func (m *modelled) wrong(rt *rapid.T) {
	key := m.s.key(modelTenants.Draw(rt, "tenant"), archive.Depositor)
	ct, body := form(part{"metadata", rapid.SampledFrom([]string{"", "{}", "[]", `{"units":[{}]}`, `{"units":[{"title":"x","rule":"NONE"}]}`, `{"units":[{"title":"x","content":{"part":"g"}}]}`}).Draw(rt, "metadata"), nil}, part{"f", "x", nil})
	if r := m.ask(rt, key, "POST", "/v1/deposits", body, "Content-Type", ct, "Idempotency-Key", fmt.Sprintf("m%d-wrong", m.run)); r.StatusCode < 400 {
		rt.Fatalf("%s %s", r.Status, r.body)
	}
}
