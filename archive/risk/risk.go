// Package risk says how likely it is that formats will not be readable any more: notes by PRONOM
// identifier, each with what it rests on. The notes of the program can be replaced, one by one,
// by an archive's own.
package risk

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

// Level is how great a risk is.
type Level string

// The levels, in the order in which they matter.
const (
	High    Level = "high"    // to be converted
	Unknown Level = "unknown" // nobody has said anything, or it is not known what it is
	Watch   Level = "watch"   // readable today, for reasons that may go
	Low     Level = "low"
)

// Levels are all of them, the one that matters most first.
var Levels = []Level{High, Unknown, Watch, Low}

// Unidentified stands for what has no PRONOM identifier.
const Unidentified = "unidentified"

// Note is what is said of some formats.
type Note struct {
	IDs   []string `yaml:"ids" json:"ids"` // PRONOM identifiers, or "unidentified"
	Risk  Level    `yaml:"risk" json:"risk"`
	Note  string   `yaml:"note" json:"note"`
	To    []string `yaml:"to,omitempty" json:"to,omitempty"`       // PRONOM identifiers of what to convert to, the best first
	Basis []string `yaml:"basis,omitempty" json:"basis,omitempty"` // codes of sources; none: who keeps the file says so
}

// file is a file of notes.
type file struct {
	Sources map[string]string `yaml:"sources,omitempty"` // by code: what it is, and where
	Formats []Note            `yaml:"formats"`
}

// Registry is the notes in force.
type Registry struct {
	Sources map[string]string `json:"sources"`
	byID    map[string]Note
}

// Bounds of a file of notes.
const (
	maxFile  = 1 << 20
	maxNotes = 10_000
	maxText  = 2_000
)

//go:embed risks.yaml
var own []byte

// Own is the notes of the program.
func Own() *Registry {
	f, err := parse(own)
	if err != nil {
		panic(err) // a test reads them
	}
	return (&Registry{Sources: map[string]string{}, byID: map[string]Note{}}).with(f)
}

// With gives the notes with those of a file in the place of them, identifier by identifier.
func (r *Registry) With(text []byte) (*Registry, error) {
	f, err := parse(text)
	if err != nil {
		return nil, err
	}
	return r.with(f), nil
}

// WithFile is With, for a file that has a name.
func (r *Registry) WithFile(path string) (*Registry, error) {
	return r.WithFileIn(func(name string) (io.ReadCloser, error) { return os.Open(name) }, path)
}

// WithFileIn is WithFile, for a file that may lie elsewhere.
func (r *Registry) WithFileIn(open func(name string) (io.ReadCloser, error), path string) (*Registry, error) {
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("reading risk notes: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1)) // parse refuses what is longer
	if err != nil {
		return nil, fmt.Errorf("reading risk notes: %w", err)
	}
	out, err := r.With(text)
	if err != nil {
		return nil, fmt.Errorf("reading risk notes: %s: %w", path, err)
	}
	return out, nil
}

func (r *Registry) with(f *file) *Registry {
	out := &Registry{Sources: maps.Clone(r.Sources), byID: maps.Clone(r.byID)}
	maps.Copy(out.Sources, f.Sources)
	for _, n := range f.Formats {
		for _, id := range n.IDs {
			out.byID[id] = n
		}
	}
	return out
}

// Of is the note on a format; "" is one that is not identified.
func (r *Registry) Of(puid string) Note {
	if puid == "" {
		puid = Unidentified
	}
	n, ok := r.byID[puid]
	if !ok {
		n = Note{Risk: Unknown, Note: "no note on this format"}
	}
	n.IDs = []string{puid}
	return n
}

// All are the notes in force, one for each identifier, those that matter most first.
func (r *Registry) All() (out []Note) {
	for id := range r.byID {
		out = append(out, r.Of(id))
	}
	slices.SortFunc(out, func(x, y Note) int {
		if d := Order(x.Risk) - Order(y.Risk); d != 0 {
			return d
		}
		return strings.Compare(sortable(x.IDs[0]), sortable(y.IDs[0]))
	})
	return out
}

// Order is the place of a level among Levels.
func Order(l Level) int { return slices.Index(Levels, l) }

// sortable lets fmt/95 stand before fmt/354.
func sortable(id string) string {
	head, number, _ := strings.Cut(id, "/")
	return fmt.Sprintf("%s/%10s", head, number)
}

var (
	puid = regexp.MustCompile(`^(x-)?fmt/[0-9]{1,6}$`)
	code = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

// ValidPUID reports whether s has the form of a PRONOM identifier.
func ValidPUID(s string) bool { return puid.MatchString(s) }

// parse reads a file of notes; unknown keys are refused, each problem is told with its line.
func parse(text []byte) (f *file, err error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("more than %d bytes", maxFile)
	}
	defer func() { // the parser panics on some texts
		if p := recover(); p != nil {
			f, err = nil, errors.New("not YAML")
		}
	}()
	f = &file{}
	err = yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(f)
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	}
	if err != nil {
		return nil, errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	var bad []problem
	f.check(func(path, format string, args ...any) {
		bad = append(bad, problem{path, fmt.Sprintf(format, args...)})
	})
	if len(bad) > 0 {
		return nil, located(bad, text)
	}
	return f, nil
}

func (f *file) check(bad func(path, format string, args ...any)) {
	if len(f.Formats) == 0 || len(f.Formats) > maxNotes {
		bad("$.formats", "want 1 to %d notes", maxNotes)
		return
	}
	for name, what := range f.Sources {
		if !code.MatchString(name) || !plain(what) {
			bad("$.sources", "%q: want a code, and a text of at most %d bytes", name, maxText)
		}
	}
	seen := map[string]bool{}
	for i, n := range f.Formats {
		at := fmt.Sprintf("$.formats[%d]", i)
		if len(n.IDs) == 0 {
			bad(at, "ids is missing: the PRONOM identifiers")
		}
		for _, id := range n.IDs {
			switch {
			case id != Unidentified && !puid.MatchString(id):
				bad(at+".ids", "%q is not a PRONOM identifier such as fmt/40, nor %q", id, Unidentified)
			case seen[id]:
				bad(at+".ids", "%s is there twice", id)
			}
			seen[id] = true
		}
		if !slices.Contains(Levels, n.Risk) {
			bad(at+".risk", "%q: want high, unknown, watch or low", n.Risk)
		}
		if n.Note == "" || !plain(n.Note) {
			bad(at+".note", "want a text of at most %d bytes", maxText)
		}
		for _, id := range n.To {
			if !puid.MatchString(id) {
				bad(at+".to", "%q is not a PRONOM identifier such as fmt/95", id)
			}
		}
		for _, b := range n.Basis {
			if f.Sources[b] == "" {
				bad(at+".basis", "source %q is not among sources", b)
			}
		}
	}
}

// plain reports whether a text can be printed on a line.
func plain(s string) bool {
	return len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// problem is what is wrong, with the YAML path of where.
type problem struct{ path, what string }

// maxTold bounds the problems that are told.
const maxTold = 50

func located(bad []problem, text []byte) error {
	parsed, err := parser.ParseBytes(text, 0)
	if err != nil {
		return err
	}
	var lines []string
	for _, p := range bad[:min(len(bad), maxTold)] {
		where := strings.TrimPrefix(p.path, "$.")
		if at, err := yaml.PathString(p.path); err == nil {
			if node, err := at.FilterFile(parsed); err == nil && node != nil && node.GetToken() != nil {
				where = fmt.Sprintf("line %d, %s", node.GetToken().Position.Line, where)
			}
		}
		lines = append(lines, where+": "+p.what)
	}
	return errors.New(strings.Join(lines, "\n"))
}
