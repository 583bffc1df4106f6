package seda

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/jacoelho/xsd"
	xsderrors "github.com/jacoelho/xsd/errors"
)

// Schema is a schema file given by an operator, applied beside the model that is in
// this package: the official one, or one with extensions of a profile.
type Schema struct{ compiled *xsd.Schema }

// LoadSchema reads the main file of a schema. The files it includes stand beside it;
// the two of the W3C that it imports, xml.xsd and xlink.xsd, stand there too, or in a
// folder w3c beside it or beside its folder. Nothing is fetched.
func LoadSchema(file string) (*Schema, error) {
	dir := filepath.Dir(file)
	s, err := xsd.LoadWithOptions(schemaFiles{dir}, filepath.Base(file), xsd.NewLoadOptions())
	if err != nil {
		return nil, fmt.Errorf("reading schema %s: %w", file, err)
	}
	return &Schema{s}, nil
}

// schemaFiles is a folder in which a schema finds the files of the W3C as well, which
// the official ones name by URL.
type schemaFiles struct{ dir string }

// maxSchema bounds one schema file, in bytes.
const maxSchema = 16 << 20

func (f schemaFiles) Open(name string) (fs.File, error) {
	places := []string{name}
	if name == "xml.xsd" || name == "xlink.xsd" {
		places = append(places, "w3c/"+name, "../w3c/"+name)
	}
	for _, p := range places {
		file, err := os.Open(filepath.Join(f.dir, filepath.FromSlash(p)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer file.Close()
		text, err := io.ReadAll(io.LimitReader(file, maxSchema+1))
		if err == nil && len(text) > maxSchema {
			err = fmt.Errorf("%s has more than %d bytes", p, maxSchema)
		}
		if err != nil {
			return nil, err
		}
		return memoryFile(locations.Replace(string(text)))
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// memoryFile is a file that lies in memory.
func memoryFile(text string) (fs.File, error) {
	return &textFile{strings.NewReader(text)}, nil
}

type textFile struct{ *strings.Reader }

func (f *textFile) Close() error               { return nil }
func (f *textFile) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }

// locations makes file names of the URLs.
var locations = strings.NewReplacer(`"http://www.w3.org/2001/xml.xsd"`, `"xml.xsd"`, `"http://www.w3.org/1999/xlink.xsd"`, `"xlink.xsd"`,
	`"http://www.w3.org/XML/2008/06/xlink.xsd"`, `"xlink.xsd"`)

// ValidateManifest holds the manifest of a package against the schema.
func (s *Schema) ValidateManifest(p *Package, findings *Findings) error {
	r, err := p.Open(p.Manifest)
	if err != nil {
		return err
	}
	defer r.Close()
	return s.Validate(r, findings)
}

// Validate holds a document against the schema.
func (s *Schema) Validate(r io.Reader, findings *Findings) error {
	err := s.compiled.Validate(r)
	if err == nil {
		return nil
	}
	violations, ok := xsderrors.AsValidations(err)
	if !ok {
		return fmt.Errorf("validating: %w", err)
	}
	for _, v := range violations {
		findings.Add(Finding{Code: SchemaInvalid, Severity: Error, Line: v.Line, Path: v.Path, Found: strings.TrimSpace(fmt.Sprintf("%s (%s)", v.Message, v.Code))})
	}
	return nil
}
