// Package teleprocedure brings completed forms of a platform into citizen files: from a drop folder, or
// as they are pushed over HTTP. What becomes what, the procedure says. Each submission is deposited
// once, and answered in the folder that it came by. Nothing that names somebody leaves that folder, but
// for the archive.
package teleprocedure

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"sae/api/connect/boundjson"
)

// ManifestName is the file that says what a submission is. In a folder it is written last: with it, the
// submission is complete.
const ManifestName = "submission.json"

// Submission is a completed form with its pieces.
type Submission struct {
	ID        string         `json:"id"` // of the platform: a submission of one id is deposited once
	Procedure string         `json:"procedure"`
	Answers   map[string]any `json:"answers"`
	Form      File           `json:"form"`
	Pieces    []File         `json:"pieces,omitempty"`
}

// File is a file of a submission.
type File struct {
	Name    string `json:"file"`
	Type    string `json:"type,omitempty"` // of a piece, in the platform's words
	Title   string `json:"title,omitempty"`
	SHA256  string `json:"sha256"`            // hexadecimal
	Content []byte `json:"content,omitempty"` // base64; only of what is pushed as one JSON
}

// The bounds of a submission.
const (
	maxManifest = 4 << 20
	maxPushed   = 24 << 20 // one JSON with all contents
	maxDepth    = 32
	maxPieces   = 500
	maxName     = 200 // bytes
	maxFile     = 4 << 30
	maxTotal    = 16 << 30
)

// Problems are all that is wrong with a submission. They may quote names of files, and no answers.
type Problems []string

func (p Problems) Error() string { return strings.Join(p, "\n") }

func (p *Problems) addf(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

var (
	idForm        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)
	procedureForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

// ParseManifest reads the manifest of a submission whose files lie beside it.
func ParseManifest(r io.Reader) (*Submission, error) { return parse(r, maxManifest, false) }

// parse reads a submission; pushed says that its contents are in it.
func parse(r io.Reader, most int64, pushed bool) (*Submission, error) {
	s := &Submission{}
	if err := boundjson.Decode(r, boundjson.Bounds{Bytes: most, Depth: maxDepth, Known: true}, s); err != nil {
		if errors.As(err, new(*http.MaxBytesError)) { // what is wrong is the request
			return nil, err
		}
		return nil, Problems{ManifestName + ": " + err.Error()}
	}
	if bad := s.check(pushed); len(bad) > 0 {
		return nil, bad
	}
	return s, nil
}

func (s *Submission) check(pushed bool) (bad Problems) {
	if !idForm.MatchString(s.ID) {
		bad.addf("id: want letters, digits and ._:- , at most 128, which name this submission alone")
	}
	if !procedureForm.MatchString(s.Procedure) {
		bad.addf("procedure: want the code of a procedure")
	}
	if s.Answers == nil {
		bad.addf("answers: missing: want an object with the answers of the form")
	}
	if len(s.Pieces) > maxPieces {
		bad.addf("pieces: %d, more than %d", len(s.Pieces), maxPieces)
		return bad
	}
	seen := map[string]bool{ManifestName: true}
	for i, f := range s.files() {
		at := where(i)
		if why := badName(f.Name); why != "" {
			bad.addf("%s.file: %s", at, why)
		} else if folded := strings.ToLower(f.Name); seen[folded] {
			bad.addf("%s.file: another file has this name", at)
		} else {
			seen[folded] = true
		}
		if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != 32 && !(pushed && f.SHA256 == "") {
			bad.addf("%s.sha256: want the SHA-256 of the file in 64 hexadecimal digits", at)
		}
		for what, text := range map[string]string{"type": f.Type, "title": f.Title} {
			if len(text) > maxName || !plain(text) {
				bad.addf("%s.%s: want plain text of at most %d bytes", at, what, maxName)
			}
		}
		if i > 0 && f.Type == "" {
			bad.addf("%s.type: missing", at)
		}
		if !pushed && f.Content != nil {
			bad.addf("%s.content: the file lies beside %s: its content does not stand here", at, ManifestName)
		}
	}
	return bad
}

// files are the form and the pieces.
func (s *Submission) files() []File { return append([]File{s.Form}, s.Pieces...) }

func where(i int) string {
	if i == 0 {
		return "form"
	}
	return fmt.Sprintf("pieces[%d]", i-1)
}

// badName says what is wrong with the name of a file; "" when nothing is. A name leads nowhere else, on
// any system.
func badName(name string) string {
	switch {
	case name == "":
		return "missing"
	case len(name) > maxName:
		return fmt.Sprintf("a name has at most %d bytes", maxName)
	case !plain(name) || strings.ContainsAny(name, `/\:`):
		return "want the name of a file, without a folder"
	case strings.HasPrefix(name, "."):
		return "a name does not begin with a dot"
	}
	return ""
}

func plain(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }
