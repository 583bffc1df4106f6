package api

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html.tmpl
var docsTemplate string

// docOperation is an operation as the page tells of it.
type docOperation struct {
	Method, Path string
	*huma.Operation
	Roles []string
}

// docKind is a code of problems as the page tells of it.
type docKind struct {
	Code   string
	Status int
	FR, EN string
}

// addDocs makes the page from the interface, when all operations are there. It loads nothing from
// elsewhere.
func (s *service) addDocs() error {
	t, err := template.New("docs").Parse(docsTemplate)
	if err != nil {
		return err
	}
	var ops []docOperation
	for path, item := range s.api.OpenAPI().Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete} {
			if op == nil {
				continue
			}
			d := docOperation{Method: method, Path: path, Operation: op}
			for _, r := range roles[op.OperationID] {
				d.Roles = append(d.Roles, string(r))
			}
			ops = append(ops, d)
		}
	}
	slices.SortFunc(ops, func(x, y docOperation) int { return strings.Compare(x.Path+" "+x.Method, y.Path+" "+y.Method) })
	var page bytes.Buffer
	if err := t.Execute(&page, map[string]any{"Operations": ops, "Kinds": docKinds(), "Version": s.api.OpenAPI().Info.Version}); err != nil {
		return err
	}
	s.mux.HandleFunc("GET /docs", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page.Bytes())
	})
	return nil
}

func docKinds() (out []docKind) {
	seen := map[string]bool{}
	take := func(k kind) {
		if !seen[k.code] {
			seen[k.code] = true
			out = append(out, docKind{k.code, k.status, k.fr.title + ". " + k.fr.detail, k.en.title + ". " + k.en.detail})
		}
	}
	for _, k := range kinds {
		take(k.kind)
	}
	for _, k := range framework {
		take(k)
	}
	take(internal)
	slices.SortFunc(out, func(x, y docKind) int { return strings.Compare(x.Code, y.Code) })
	return out
}
