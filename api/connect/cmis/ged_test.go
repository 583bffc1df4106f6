package cmis

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// ged is a repository made from the specification (CMIS 1.1, section 5), for faults that a real one does
// not have on demand. It is strict: what a client may not send is refused.
type ged struct {
	t       *testing.T
	mu      sync.Mutex
	objects map[string]*thing
	order   []string
	clock   time.Time
	asked   []string       // selectors and actions, with their object
	turns   map[string]int // lists of children that were begun, by folder
	page    int            // objects that a page has at most
	noMore  bool           // hasMoreItems is left out
	fault   func(what, id string) (status int, exception string)
	before  func(what, id string) // called before a request is answered
	server  *httptest.Server
}

// thing is an object of it.
type thing struct {
	id, parent string
	props      map[string]any
	kinds      map[string]string
	content    []byte
	versions   []string // ids, the latest first
}

func newGED(t *testing.T) *ged {
	g := &ged{t: t, turns: map[string]int{}, objects: map[string]*thing{}, clock: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC), page: 100}
	g.server = httptest.NewServer(g)
	t.Cleanup(g.server.Close)
	return g
}

// touch gives an object a new change token.
func (g *ged) touch(id string) {
	g.clock = g.clock.Add(time.Hour)
	o := g.objects[id]
	o.props[propToken] = "token-" + strconv.FormatInt(g.clock.Unix(), 10)
	o.props[propModified] = g.clock.UnixMilli()
	o.kinds[propModified] = "datetime"
}

func (g *ged) change(id, prop string, v any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.objects[id].props[prop] = v
	g.touch(id)
}

func (g *ged) add(id, base, parent, name string) *thing {
	o := &thing{id: id, parent: parent, kinds: map[string]string{propCreated: "datetime"}, props: map[string]any{propID: id, propBase: base, propType: base, propName: name, propCreated: g.clock.UnixMilli(), "sae:unit": nil, propSecondary: []string{"autre"}}}
	g.objects[id] = o
	g.order = append(g.order, id)
	g.touch(id)
	return o
}

func (g *ged) folder(id, parent, name string) *thing { return g.add(id, baseFolder, parent, name) }

func (g *ged) document(id, parent, name, content string) *thing {
	o := g.add(id, baseDocument, parent, name)
	o.content = []byte(content)
	sum := sha256.Sum256(o.content)
	o.props[propLength], o.props[propMIME], o.props[propFileName] = len(content), "text/plain", name+".txt"
	o.props[propHash] = []string{"{md5}00", "{SHA-256}" + hex.EncodeToString(sum[:])}
	return o
}

// versioned gives a document versions, with these contents in their order.
func (g *ged) versioned(id, parent, name string, contents ...string) {
	var all []string
	for i, c := range contents {
		v := id
		if i < len(contents)-1 {
			v = fmt.Sprintf("%s;%d", id, i+1)
		}
		o := g.document(v, parent, name, c)
		o.props[propSeries], o.props[propLabel], o.props[propLatest] = "series-"+id, fmt.Sprintf("%d.0", i+1), i == len(contents)-1
		if v != id {
			o.parent = ""
		}
		all = append([]string{v}, all...)
	}
	for _, v := range all {
		g.objects[v].versions = all
	}
}

var (
	sinceForm = regexp.MustCompile(`^SELECT \* FROM cmis:folder WHERE state = 'closed' AND cmis:lastModificationDate >= TIMESTAMP '(.*)'$`)
	// parameters are those that each selector may have (sections 5.4.1 to 5.4.3).
	parameters = map[string][]string{
		"":         {},
		"query":    {"q", "searchAllVersions", "skipCount", "maxItems", "succinct"},
		"children": {"objectId", "includeRelationships", "skipCount", "maxItems", "succinct"},
		"object":   {"objectId", "includeRelationships", "succinct"},
		"versions": {"objectId", "succinct"},
		"content":  {"objectId"},
	}
)

func (g *ged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	what, id := q.Get("cmisselector"), q.Get("objectId")
	if r.Method == http.MethodPost {
		if err := r.ParseForm(); err != nil {
			g.refuse(w, 400, "invalidArgument")
			return
		}
		what = r.PostForm.Get("cmisaction")
	}
	if g.before != nil {
		g.before(what, id)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, what+" "+id)
	if user, password, ok := r.BasicAuth(); !ok || user != "u" || password != "p" {
		g.refuse(w, 401, "permissionDenied")
		return
	}
	if g.fault != nil {
		if status, exception := g.fault(what, id); status != 0 {
			g.refuse(w, status, exception)
			return
		}
	}
	if r.Method == http.MethodGet {
		allowed, known := parameters[what]
		for name := range q {
			if !known || name != "cmisselector" && !slices.Contains(allowed, name) {
				g.t.Errorf("selector %q with parameter %q", what, name)
			}
		}
	}
	o := g.objects[id]
	if id != "" && o == nil {
		g.refuse(w, 404, "objectNotFound")
		return
	}
	switch {
	case r.URL.Path == "/browser" && what == "":
		// Behind a proxy a repository names the host that it knows itself by.
		g.say(w, map[string]any{"R": map[string]any{"repositoryId": "R", "repositoryUrl": "http://internal.invalid:8080/browser/R", "rootFolderUrl": "http://internal.invalid:8080/browser/R/root"}})
	case r.URL.Path == "/browser/R" && what == "query":
		m := sinceForm.FindStringSubmatch(q.Get("q"))
		if m == nil {
			g.refuse(w, 400, "invalidArgument")
			return
		}
		since, err := time.Parse("2006-01-02T15:04:05.000Z", m[1])
		if err != nil {
			g.refuse(w, 400, "invalidArgument")
			return
		}
		g.list(w, q, "results", func(o *thing) bool {
			return o.props["state"] == "closed" && o.props["sae:unit"] == nil && o.props[propModified].(int64) >= since.UnixMilli()
		}, func(v any) any { return v })
	case r.URL.Path != "/browser/R/root":
		g.refuse(w, 404, "objectNotFound")
	case what == "children":
		g.list(w, q, "objects", func(c *thing) bool { return c.parent == id }, func(v any) any { return map[string]any{"object": v} })
	case what == "object":
		g.say(w, g.show(o, q))
	case what == "versions":
		if o.versions == nil {
			g.refuse(w, 409, "constraint")
			return
		}
		out := []any{}
		for _, v := range o.versions {
			out = append(out, g.show(g.objects[v], q))
		}
		g.say(w, out)
	case what == "content":
		w.Write(o.content)
	case what == "update":
		g.update(w, o, r.PostForm)
	default:
		g.refuse(w, 405, "notSupported")
	}
}

// list answers with a part of the objects that fit.
func (g *ged) list(w http.ResponseWriter, q url.Values, key string, fits func(*thing) bool, as func(any) any) {
	skip, err1 := strconv.Atoi(q.Get("skipCount"))
	most, err2 := strconv.Atoi(q.Get("maxItems"))
	if err1 != nil || err2 != nil {
		g.t.Errorf("skipCount %q, maxItems %q", q.Get("skipCount"), q.Get("maxItems"))
	}
	all := []any{}
	for _, id := range g.order {
		if fits(g.objects[id]) {
			all = append(all, as(g.show(g.objects[id], q)))
		}
	}
	if key == "objects" { // no order is promised: it is another each time a list is begun
		if skip == 0 {
			g.turns[q.Get("objectId")]++
		}
		if g.turns[q.Get("objectId")]%2 == 1 {
			slices.Reverse(all)
		}
	}
	from, to := min(skip, len(all)), min(skip+min(most, g.page), len(all))
	out := map[string]any{key: all[from:to], "hasMoreItems": to < len(all), "numItems": len(all)}
	if g.noMore {
		delete(out, "hasMoreItems")
	}
	g.say(w, out)
}

func (g *ged) show(o *thing, q url.Values) any {
	if q.Get("succinct") == "true" {
		return map[string]any{"succinctProperties": o.props}
	}
	props := map[string]any{}
	for id, v := range o.props {
		props[id] = map[string]any{"id": id, "queryName": id, "type": o.kinds[id], "cardinality": "single", "value": v}
	}
	return map[string]any{"properties": props}
}

var indexForm = regexp.MustCompile(`^property(Id|Value)\[(\d+)\](\[\d+\])?$`)

func (g *ged) update(w http.ResponseWriter, o *thing, form url.Values) {
	if token := form.Get("changeToken"); token != o.props[propToken] {
		g.refuse(w, 409, "updateConflict")
		return
	}
	for name := range form {
		if !slices.Contains([]string{"cmisaction", "changeToken", "succinct", "_charset_"}, name) && !indexForm.MatchString(name) {
			g.t.Errorf("update with %q", name)
		}
	}
	for i := 0; form.Has(fmt.Sprintf("propertyId[%d]", i)); i++ {
		id := form.Get(fmt.Sprintf("propertyId[%d]", i))
		if id == propSecondary {
			var all []string
			for j := 0; form.Has(fmt.Sprintf("propertyValue[%d][%d]", i, j)); j++ {
				all = append(all, form.Get(fmt.Sprintf("propertyValue[%d][%d]", i, j)))
			}
			o.props[id] = all
			continue
		}
		if _, known := o.props[id]; !known {
			g.refuse(w, 400, "invalidArgument")
			return
		}
		o.props[id] = form.Get(fmt.Sprintf("propertyValue[%d]", i))
	}
	g.touch(o.id)
	g.say(w, g.show(o, url.Values{"succinct": {"true"}}))
}

func (g *ged) say(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func (g *ged) refuse(w http.ResponseWriter, status int, exception string) {
	w.Header().Set("Content-Type", "application/json")
	if status == 503 {
		w.Header().Set("Retry-After", "7")
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"exception": exception, "message": "Dossier de Mme Martin: " + strings.Repeat("x", 10)})
}
