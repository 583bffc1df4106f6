package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"sae/archive/durable"
	"sae/archive/hsm"
)

// configEditor changes the list of offers, and the token of the root key, in a configuration file, line by line: comments and
// all else stay as they were written.
type configEditor struct {
	path   string
	lines  []string
	offers [][2]int // lines [from, to) of each offer
	names  []string
}

// locked runs f while no other process changes the archive in dir.
func locked(dir, command string, f func() error) (err error) {
	lock, err := durable.LockExclusive(filepath.Join(dir, lockFile), command)
	if err != nil {
		return lockError(dir, err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	return f()
}

// changeConfig reads the configuration file and lets edit change it. The outcome must be a
// configuration that can be used; nothing is written yet.
func changeConfig(dir string, edit func(*configEditor) error) (*configEditor, error) {
	e := &configEditor{path: filepath.Join(dir, ConfigName)}
	text, err := os.ReadFile(e.path)
	if err != nil {
		return nil, fmt.Errorf("changing the configuration: %w", err)
	}
	e.lines = strings.SplitAfter(string(text), "\n")
	if err := e.locate(text); err != nil {
		return nil, fmt.Errorf("changing %s: %w", e.path, err)
	}
	if err := edit(e); err != nil {
		return nil, err
	}
	if _, err := parseConfig([]byte(strings.Join(e.lines, ""))); err != nil {
		return nil, &Refusal{Problems: []string{fmt.Sprintf("the configuration would not be right: %v", err)}}
	}
	return e, nil
}

func (e *configEditor) store(fs durable.FS) error {
	if err := fs.WriteFile(e.path, []byte(strings.Join(e.lines, "")), 0o600); err != nil {
		return fmt.Errorf("changing the configuration: %w", err)
	}
	return nil
}

// locate finds the lines of the offers.
func (e *configEditor) locate(text []byte) error {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return err
	}
	path, err := yaml.PathString("$.offers")
	if err != nil {
		return err
	}
	node, err := path.FilterFile(file)
	if err != nil {
		return err
	}
	list, ok := node.(*ast.SequenceNode)
	if !ok || list.IsFlowStyle || len(list.Values) == 0 {
		return fmt.Errorf("its offers are not a list with a line for each: edit them by hand")
	}
	for _, v := range list.Values {
		line := v.GetToken().Position.Line - 1
		for line > 0 && !strings.HasPrefix(strings.TrimSpace(e.lines[line]), "-") {
			line--
		}
		var c OfferConfig
		if err := yaml.NodeToValue(v, &c); err != nil {
			return err
		}
		e.offers, e.names = append(e.offers, [2]int{line, e.end(line)}), append(e.names, c.Name)
	}
	return nil
}

// end is the line behind the offer that begins at a line: the first that is indented no more
// than its dash. Blank lines and comments before that are not the offer's.
func (e *configEditor) end(from int) int {
	indent := indentOf(e.lines[from])
	last := from
	for i := from + 1; i < len(e.lines); i++ {
		text := strings.TrimSpace(e.lines[i])
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if indentOf(e.lines[i]) <= indent {
			break
		}
		last = i
	}
	return last + 1
}

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func (e *configEditor) find(name string) (int, error) {
	if i := slices.Index(e.names, name); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("offer %q: %w", name, ErrNotFound)
}

// addOffer puts an offer behind the last.
func (e *configEditor) addOffer(c OfferConfig) error {
	text, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	last := e.offers[len(e.offers)-1]
	indent := strings.Repeat(" ", indentOf(e.lines[last[0]]))
	var out []string
	for i, line := range strings.SplitAfter(strings.TrimSuffix(string(text), "\n")+"\n", "\n") {
		switch {
		case line == "":
		case i == 0:
			out = append(out, indent+"- "+line)
		default:
			out = append(out, indent+"  "+line)
		}
	}
	if prev := e.lines[last[1]-1]; !strings.HasSuffix(prev, "\n") {
		e.lines[last[1]-1] = prev + "\n"
	}
	e.lines = slices.Insert(e.lines, last[1], out...)
	return nil
}

// drainOffer sets, or takes away, drain.
func (e *configEditor) drainOffer(name string, drain bool) error {
	i, err := e.find(name)
	if err != nil {
		return err
	}
	from, to := e.offers[i][0], e.offers[i][1]
	for n := to - 1; n > from; n-- {
		if strings.HasPrefix(strings.TrimSpace(e.lines[n]), "drain:") {
			e.lines = slices.Delete(e.lines, n, n+1)
			to--
		}
	}
	if drain {
		e.lines = slices.Insert(e.lines, to, strings.Repeat(" ", indentOf(e.lines[from]))+"  drain: true\n")
	}
	return nil
}

// removeOffer takes an offer out.
func (e *configEditor) removeOffer(name string) error {
	i, err := e.find(name)
	if err != nil {
		return err
	}
	e.lines = slices.Delete(e.lines, e.offers[i][0], e.offers[i][1])
	return nil
}

// replaceOffer writes another offer in the place of one; those before it stay where they are.
func (e *configEditor) replaceOffer(i int, c OfferConfig) error {
	text, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	from, to := e.offers[i][0], e.offers[i][1]
	indent := strings.Repeat(" ", indentOf(e.lines[from]))
	var out []string
	for n, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		dash := "  "
		if n == 0 {
			dash = "- "
		}
		out = append(out, indent+dash+line+"\n")
	}
	e.lines = slices.Replace(e.lines, from, to, out...)
	return nil
}

// placeSlots puts the slots that lie elsewhere into the archive's folder.
func (e *configEditor) placeSlots(c SlotConfig) error {
	from, to, err := e.slotLines()
	if err != nil {
		return err
	}
	for key, at := range map[string]struct{ is, want string }{"root-key:": {c.Root, "keys/root"}, "checkpoint:": {c.Checkpoint, "keys/checkpoint"}} {
		for i := from + 1; i < to && filepath.IsAbs(at.is); i++ {
			if line := e.lines[i]; strings.HasPrefix(strings.TrimSpace(line), key) {
				e.lines[i] = strings.Repeat(" ", indentOf(line)) + key + " " + at.want + "\n"
			}
		}
	}
	return nil
}

// slotLines are the lines [from, to) of the slots.
func (e *configEditor) slotLines() (from, to int, err error) {
	for i, line := range e.lines {
		if strings.HasPrefix(line, "slots:") && strings.TrimSpace(strings.TrimPrefix(line, "slots:")) == "" {
			return i, e.end(i), nil
		}
	}
	return 0, 0, fmt.Errorf("changing %s: its slots are not a list with a line for each: edit them by hand", e.path)
}

// addToken names the token of the root key.
func (e *configEditor) addToken(c hsm.Config) error {
	_, to, err := e.slotLines()
	if err != nil {
		return err
	}
	indent := strings.Repeat(" ", indentOf(e.lines[to-1]))
	if prev := e.lines[to-1]; !strings.HasSuffix(prev, "\n") {
		e.lines[to-1] = prev + "\n"
	}
	e.lines = slices.Insert(e.lines, to, indent+"pkcs11:\n", indent+"  module: "+yamlString(c.Module)+"\n", indent+"  token: "+yamlString(c.Token)+"\n", indent+"  pin-file: "+yamlString(c.PIN)+"\n")
	return nil
}

// removeToken takes it out.
func (e *configEditor) removeToken() error {
	from, to, err := e.slotLines()
	if err != nil {
		return err
	}
	for i := from + 1; i < to; i++ {
		if strings.HasPrefix(strings.TrimSpace(e.lines[i]), "pkcs11:") {
			e.lines = slices.Delete(e.lines, i, e.end(i))
			return nil
		}
	}
	return nil
}
