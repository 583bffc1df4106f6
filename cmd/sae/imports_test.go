package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// imports is the table of docs/ARCHITECTURE.md as code: which of our packages each
// package may import, tests apart.
var imports = map[string][]string{
	"cmd/sae":                   {"api", "api/client", "api/connect/cmis", "api/connect/teleprocedure", "api/remote", "archive", "archive/backup", "archive/bagit", "archive/durable", "archive/escrow", "archive/hsm", "archive/printed", "archive/procedure", "archive/risk", "archive/serving", "integrity", "integrity/bundle", "integrity/certificate", "retention", "seda"},
	"cmd/sae-verify":            {"integrity/bundle", "integrity/certificate"},
	"archive":                   {"archive/backup", "archive/blobs", "archive/converter", "archive/durable", "archive/escrow", "archive/hsm", "archive/pieces", "archive/procedure", "archive/risk", "archive/s3", "archive/search", "archive/serving", "archive/stream", "archive/vault", "integrity", "integrity/bundle", "integrity/certificate", "integrity/ers", "integrity/tsp", "retention", "seda"},
	"api":                       {"api/otlp", "api/remote", "api/spool", "archive", "archive/printed", "archive/procedure", "archive/risk", "archive/serving", "integrity", "retention", "seda"},
	"api/remote":                {},
	"api/spool":                 {"archive/stream"},
	"api/client":                {"api"},
	"api/connect/boundjson":     {},
	"api/connect/cmis":          {"api", "api/client", "api/connect/boundjson", "archive/durable"},
	"api/connect/teleprocedure": {"api", "api/client", "api/connect/boundjson", "archive/durable", "archive/procedure"},
	"archive/serving":           {},
	"archive/blobs":             {"archive/durable"},
	"archive/blobs/blobstest":   {"archive/blobs"},
	"archive/s3":                {"archive/blobs"},
	"archive/s3/s3test":         {"archive/s3"},
	"archive/bagit":             {},
	"archive/converter":         {},
	"archive/procedure":         {},
	"archive/risk":              {},
	"archive/bordereau":         {"archive/pdf"},
	"archive/letter":            {"archive/pdf"},
	"archive/pdf":               {},
	"archive/printed":           {"archive", "archive/bordereau", "archive/letter", "integrity/certificate", "retention"},
	"archive/durable":           {},
	"archive/escrow":            {},
	"archive/hsm":               {},
	"archive/hsm/hsmtest":       {"archive/hsm"},
	"archive/search":            {},
	"archive/stream":            {},
	"archive/vault":             {},
	"integrity":                 {},
	"integrity/tsp":             {"integrity"},
	"integrity/ers":             {"integrity"},
	"integrity/ers/bctest":      {},
	"integrity/bundle":          {"integrity", "integrity/tsp", "integrity/ers"},
	"integrity/certificate":     {"integrity", "integrity/bundle", "integrity/ers", "integrity/tsp"},
	"retention":                 {},
	"seda":                      {"seda/scan"},
	"seda/scan":                 {},
	"api/otlp":                  {},
	"archive/archivetest":       {"archive"},
	"archive/backup":            {"archive/durable"},
	"archive/pieces":            {"archive/stream"},
}

// only says which package alone may import a module.
var only = map[string]string{
	"go.etcd.io/bbolt":           "archive/catalogue.go",
	"github.com/minio/minio-go":  "archive/s3/",
	"github.com/miekg/pkcs11":    "archive/hsm/",
	"filippo.io/age":             "archive/escrow/",
	"github.com/danielgtaylor":   "api/",
	"github.com/coreos/go-oidc":  "api/",
	"github.com/coder/websocket": "api/remote/",
	"go.opentelemetry.io":        "api/",
	"github.com/tus/tusd":        "api/",
}

func TestImportsPointOneWay(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		pkg := filepath.ToSlash(filepath.Dir(rel))
		allowed, known := imports[pkg]
		if !known {
			t.Errorf("%s: package %s is not in the table; add it, and to docs/ARCHITECTURE.md", rel, pkg)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range file.Imports {
			name, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			if ours, ok := strings.CutPrefix(name, "sae/"); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s, which %s may not", rel, ours, pkg)
			}
			for module, where := range only {
				if strings.HasPrefix(name, module) && !strings.HasPrefix(rel, where) {
					t.Errorf("%s imports %s, which only %s may", rel, name, where)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTopLevel keeps the house in order: nothing stands at the top but these.
func TestTopLevel(t *testing.T) {
	want := []string{"cmd", "archive", "integrity", "retention", "seda", "api", "testdata", "go.mod", "go.sum", "README.md", "docs", "Makefile", "Containerfile", "CHANGELOG.md", "LICENSE"}
	names, err := filepath.Glob(filepath.Join("..", "..", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		base := filepath.Base(n)
		made := strings.HasPrefix(base, ".") || strings.HasPrefix(base, "sae") || strings.HasSuffix(base, ".test") // by git, builds, the demo, profiling
		if !made && !slices.Contains(want, base) {
			t.Errorf("%s stands at the top of the project", base)
		}
	}
}
