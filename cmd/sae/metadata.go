package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sae/archive"
)

// fields are what metadata says of a unit; empty ones say nothing.
type fields struct {
	Title       string                  `json:"title"`
	Description string                  `json:"description"`
	StartDate   string                  `json:"startDate"`
	EndDate     string                  `json:"endDate"`
	Subject     string                  `json:"subject"`
	Channel     archive.Channel         `json:"channel"`
	Rule        string                  `json:"rule"`
	RuleStart   string                  `json:"ruleStart"`
	Access      string                  `json:"accessRule"`
	AccessStart string                  `json:"accessStart"`
	Scan        *archive.Scan           `json:"scan"`
	Paper       *archive.PhysicalObject `json:"paper"`
	Custom      map[string]string       `json:"custom"`
	Document    string                  `json:"document"` // type, by the procedure of the citizen file
}

// over gives f with what is set in top instead of its own.
func (f fields) over(top fields) fields {
	set := func(dst *string, v string) {
		if v != "" {
			*dst = v
		}
	}
	set(&f.Title, top.Title)
	set(&f.Description, top.Description)
	set(&f.StartDate, top.StartDate)
	set(&f.EndDate, top.EndDate)
	set(&f.Subject, top.Subject)
	set((*string)(&f.Channel), string(top.Channel))
	set(&f.Rule, top.Rule)
	set(&f.RuleStart, top.RuleStart)
	set(&f.Access, top.Access)
	set(&f.AccessStart, top.AccessStart)
	set(&f.Document, top.Document)
	if top.Scan != nil {
		f.Scan = top.Scan
	}
	if top.Paper != nil {
		f.Paper = top.Paper
	}
	if top.Custom != nil {
		f.Custom = maps.Clone(f.Custom)
		if f.Custom == nil {
			f.Custom = map[string]string{}
		}
		maps.Copy(f.Custom, top.Custom)
	}
	return f
}

// metadata is what a metadata file says: of all files, and of each by its path
// below the folder deposited.
type metadata struct {
	all   fields
	files map[string]fields
	where map[string]string // by path: file and line that speaks of it
}

const maxMetadata = 256 << 20

// readMetadata reads a metadata file, JSON or CSV by its name.
func (c *cli) readMetadata(path string) (*metadata, error) {
	if path == "" {
		return &metadata{}, nil
	}
	f, err := c.files.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading metadata: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMetadata+1))
	if err != nil {
		return nil, fmt.Errorf("reading metadata: %w", err)
	}
	if len(b) > maxMetadata {
		return nil, fmt.Errorf("reading metadata: %s has more than %d bytes", path, maxMetadata)
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	switch strings.ToLower(filepath.Ext(path)) {
	case ".json":
		return parseJSONMetadata(path, b)
	case ".csv":
		return parseCSVMetadata(path, b)
	}
	return nil, usagef("metadata %s: want a file whose name ends with .json or .csv", path)
}

// jsonMetadata is the form of a JSON metadata file: fields for all files, and
// under "files" those of each.
type jsonMetadata struct {
	fields
	Files map[string]fields `json:"files"`
}

func parseJSONMetadata(path string, b []byte) (*metadata, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var m jsonMetadata
	err := d.Decode(&m)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("something stands behind the JSON object")
		}
	}
	if err != nil {
		line, col := position(b, errorOffset(err, d.InputOffset()))
		return nil, fmt.Errorf("%s:%d:%d: %w", path, line, col, plainJSONError(err))
	}
	out := &metadata{all: m.fields, files: map[string]fields{}, where: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		file := filepath.Clean(name)
		if out.where[file] != "" {
			return nil, fmt.Errorf("%s:1:1: file %q is named twice, in two ways", path, file)
		}
		out.files[file], out.where[file] = m.Files[name], path
	}
	return out, nil
}

// plainJSONError says without Go's names what is wrong.
func plainJSONError(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		names := strings.Split(kind.Field, ".")
		return fmt.Errorf("%s: want a %s, found a %s", names[len(names)-1], kind.Type.Kind(), kind.Value)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// errorOffset is where in the JSON an error lies.
func errorOffset(err error, otherwise int64) int64 {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return syntax.Offset
	case errors.As(err, &kind):
		return kind.Offset
	}
	return otherwise
}

// position is line and column, from 1, of an offset.
func position(b []byte, off int64) (line, col int) {
	before := b[:min(max(off, 0), int64(len(b)))]
	return 1 + bytes.Count(before, []byte("\n")), len(before) - bytes.LastIndexByte(before, '\n')
}

// columns are those of a CSV metadata file beside "file", and "custom.NAME".
var columns = map[string]func(*fields, string) error{
	"title":            func(f *fields, v string) error { f.Title = v; return nil },
	"description":      func(f *fields, v string) error { f.Description = v; return nil },
	"startDate":        func(f *fields, v string) error { f.StartDate = v; return nil },
	"endDate":          func(f *fields, v string) error { f.EndDate = v; return nil },
	"subject":          func(f *fields, v string) error { f.Subject = v; return nil },
	"channel":          func(f *fields, v string) error { f.Channel = archive.Channel(v); return nil },
	"rule":             func(f *fields, v string) error { f.Rule = v; return nil },
	"ruleStart":        func(f *fields, v string) error { f.RuleStart = v; return nil },
	"accessRule":       func(f *fields, v string) error { f.Access = v; return nil },
	"accessStart":      func(f *fields, v string) error { f.AccessStart = v; return nil },
	"document":         func(f *fields, v string) error { f.Document = v; return nil },
	"scan.by":          func(f *fields, v string) error { f.scan().By = v; return nil },
	"scan.date":        func(f *fields, v string) error { f.scan().Date = v; return nil },
	"scan.device":      func(f *fields, v string) error { f.scan().Device = v; return nil },
	"scan.settings":    func(f *fields, v string) error { f.scan().Settings = v; return nil },
	"scan.process":     func(f *fields, v string) error { f.scan().Process = v; return nil },
	"scan.control":     func(f *fields, v string) error { f.scan().Control = v; return nil },
	"scan.pages":       func(f *fields, v string) error { return setInt(&f.scan().Pages, v) },
	"scan.paperKept":   func(f *fields, v string) error { return setBool(&f.scan().PaperKept, v) },
	"paper.location":   func(f *fields, v string) error { f.paper().Location = v; return nil },
	"paper.physicalId": func(f *fields, v string) error { f.paper().PhysicalID = v; return nil },
	"paper.pages":      func(f *fields, v string) error { return setInt(&f.paper().Pages, v) },
}

func setBool(dst **bool, v string) error {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return errors.New("want true or false")
	}
	*dst = &b
	return nil
}

func setInt(dst *int, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return errors.New("want a number")
	}
	*dst = n
	return nil
}

func (f *fields) scan() *archive.Scan {
	if f.Scan == nil {
		f.Scan = &archive.Scan{}
	}
	return f.Scan
}

func (f *fields) paper() *archive.PhysicalObject {
	if f.Paper == nil {
		f.Paper = &archive.PhysicalObject{}
	}
	return f.Paper
}

func parseCSVMetadata(path string, b []byte) (*metadata, error) {
	r := csv.NewReader(bytes.NewReader(b))
	if first, _, _ := bytes.Cut(b, []byte("\n")); bytes.Count(first, []byte(";")) > bytes.Count(first, []byte(",")) {
		r.Comma = ';' // as spreadsheets in French write it
	}
	header, err := r.Read()
	if err != nil {
		return nil, csvError(path, err)
	}
	if err := checkHeader(path, r, header); err != nil {
		return nil, err
	}
	out := &metadata{files: map[string]fields{}, where: map[string]string{}}
	for {
		row, err := r.Read()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, csvError(path, err)
		}
		if err := out.addRow(path, r, header, row); err != nil {
			return nil, err
		}
	}
}

func csvError(path string, err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return fmt.Errorf("%s:%d:%d: %w", path, p.Line, p.Column, p.Err)
	}
	if err == io.EOF {
		err = errors.New("the file is empty; its first line names the columns")
	}
	return fmt.Errorf("%s:1:1: %w", path, err)
}

func checkHeader(path string, r *csv.Reader, header []string) error {
	for i, name := range header {
		line, col := r.FieldPos(i)
		switch {
		case slices.Index(header, name) != i:
			return fmt.Errorf("%s:%d:%d: column %q is there twice", path, line, col, name)
		case name != "file" && columns[name] == nil && !strings.HasPrefix(name, "custom."):
			known := slices.Sorted(maps.Keys(columns))
			return fmt.Errorf("%s:%d:%d: column %q is not known; known: file, custom.NAME, %s", path, line, col, name, strings.Join(known, ", "))
		}
	}
	if !slices.Contains(header, "file") {
		return fmt.Errorf("%s:1:1: there is no column file, which names the file that a line speaks of", path)
	}
	return nil
}

func (m *metadata) addRow(path string, r *csv.Reader, header, row []string) error {
	var f fields
	file := ""
	for i, v := range row {
		line, col := r.FieldPos(i)
		at := fmt.Sprintf("%s:%d:%d", path, line, col)
		switch {
		case header[i] == "file" && v == "":
			return fmt.Errorf("%s: no file is named", at)
		case header[i] == "file" && m.where[filepath.Clean(v)] != "":
			return fmt.Errorf("%s: file %q is named before, at %s", at, v, m.where[filepath.Clean(v)])
		case header[i] == "file":
			file = filepath.Clean(v)
			m.where[file] = fmt.Sprintf("%s:%d", path, line)
		case v == "":
		case strings.HasPrefix(header[i], "custom."):
			if f.Custom == nil {
				f.Custom = map[string]string{}
			}
			f.Custom[strings.TrimPrefix(header[i], "custom.")] = v
		default:
			if err := columns[header[i]](&f, v); err != nil {
				return fmt.Errorf("%s: %s %q: %w", at, header[i], v, err)
			}
		}
	}
	m.files[file] = f
	return nil
}

// of gives what is said of a node, over what flags say.
func (m *metadata) of(n node, flags fields) fields {
	return m.all.over(flags).over(m.files[n.rel])
}

// unused names what metadata speaks of and the deposit does not hold.
func (m *metadata) unused(nodes []node) error {
	held := map[string]bool{}
	for _, n := range nodes {
		held[n.rel] = true
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		if !held[name] {
			errs = append(errs, fmt.Errorf("%s: it speaks of %q, which is not among the files deposited", m.where[name], name))
		}
	}
	return errors.Join(errs...)
}
