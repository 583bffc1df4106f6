package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"sae/api"
)

// verbsBelow are the verbs of a tree of commands, by their words.
func verbsBelow(cmd *cobra.Command, out map[string]*cobra.Command) map[string]*cobra.Command {
	if cmd.RunE != nil || cmd.Run != nil || !cmd.HasSubCommands() {
		out[verbOf(cmd)] = cmd
	}
	for _, sub := range cmd.Commands() {
		verbsBelow(sub, out)
	}
	return out
}

// TestEveryVerbHasItsPlace: run by a service, and then for somebody; or here; or on the machine.
func TestEveryVerbHasItsPlace(t *testing.T) {
	c := &cli{}
	verbs := verbsBelow(c.root(), map[string]*cobra.Command{})
	served := api.Verbs()
	for name := range verbs {
		places := 0
		if _, ok := served[name]; ok {
			places++
		}
		if slices.Contains(hereVerbs, name) {
			places++
		}
		if slices.Contains(machineVerbs, name) {
			places++
		}
		if places != 1 {
			t.Errorf("sae %s is in %d of: the table of verbs of api, hereVerbs, machineVerbs", name, places)
		}
	}
	for _, names := range [][]string{hereVerbs, machineVerbs} {
		for _, name := range names {
			if verbs[name] == nil {
				t.Errorf("sae %s is no verb", name)
			}
		}
	}
	for name := range served {
		if verbs[name] == nil {
			t.Errorf("sae %s is no verb, and a service runs it", name)
		}
	}
	for name, p := range pathsOf {
		if _, ok := served[name]; !ok {
			t.Errorf("sae %s names paths, and no service runs it", name)
			continue
		}
		for _, flag := range slices.Concat(p.reads, p.writes) {
			if verbs[name].Flag(flag) == nil {
				t.Errorf("sae %s has no flag --%s", name, flag)
			}
		}
	}
	for name, cmd := range verbs { // the words of what is written, or given as a file
		p := pathsOf[name]
		for _, flag := range []string{"out", "output", "receipt", "reply", "acknowledgement"} {
			if _, ok := served[name]; ok && cmd.Flag(flag) != nil && !slices.Contains(p.writes, flag) {
				t.Errorf("sae %s writes --%s, and pathsOf does not say so", name, flag)
			}
		}
	}
}

// ofTheMachine are the files of this package that reach the disk themselves, and why.
var ofTheMachine = map[string]string{
	"main.go":      "the environment and the streams of the process",
	"output.go":    "whether a stream is a terminal",
	"service.go":   "key and certificates by which a service is reached",
	"demo.go":      "an archive of its own, and its files",
	"demofiles.go": "an archive of its own, and its files",
	"servedev.go":  "makes an archive",
	"servetls.go":  "certificates of the service",
	"offer.go":     "folders and configuration of the machine: offer add",
	"rebuild.go":   "folders of the machine",
	"backup.go":    "folders of the machine",
	"doctor.go":    "what the machine is like",
	"notify.go":    "tells the manager of services of this machine",
	"connect.go":   "secrets of connectors, which run where they are called",
}

// touches are what reaches files past c.files.
var touches = map[string]func(name string) bool{
	"os": func(string) bool { return true },
	"path/filepath": func(name string) bool {
		return slices.Contains([]string{"Walk", "WalkDir", "Glob", "EvalSymlinks", "Abs"}, name)
	},
	"io/ioutil":             func(string) bool { return true },
	"syscall":               func(name string) bool { return name != "SIGTERM" },
	"golang.org/x/sys/unix": func(string) bool { return true },
	"sae/api/remote":        func(name string) bool { return name == "Disk" },
	"sae/seda": func(name string) bool {
		return slices.Contains([]string{"OpenPackage", "Recognise", "Pack", "LoadSchema"}, name)
	},
	"sae/integrity/certificate": func(name string) bool { return strings.HasPrefix(name, "Verify") },
	"sae/archive/risk":          func(name string) bool { return name == "WithFile" },
	"sae/integrity/bundle":      func(name string) bool { return name == "VerifyFile" },
}

// here are functions of other files that may: of verbs that are run where their user is, or on the machine.
var here = map[string]string{
	"seda.go:checkPackage": "seda check, seda pack",
	"seda.go:sedaCheck":    "seda check",
	"seda.go:sedaTreeCmd":  "seda tree",
	"seda.go:pack":         "seda pack",
	"seda.go:writeChecked": "seda pack",
	"proof.go:verifyCmd":   "verify",
	"rootkey.go:given":     "root move, init, rebuild: of the machine",
}

// TestVerbsReachFilesOfTheirUserByOneWay: what goes past c.files would be the disk of the service.
func TestVerbsReachFilesOfTheirUserByOneWay(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		imported := map[string]string{} // by the name that it has here
		for _, imp := range parsed.Imports {
			path := strings.Trim(imp.Path.Value, `"`)
			name := path[strings.LastIndex(path, "/")+1:]
			if imp.Name != nil {
				name = imp.Name.Name
			}
			imported[name] = path
		}
		for _, d := range parsed.Decls {
			where := file
			if f, ok := d.(*ast.FuncDecl); ok {
				where = file + ":" + f.Name.Name
			}
			ast.Inspect(d, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				pkg, ok := sel.X.(*ast.Ident)
				if !ok {
					return true
				}
				if touch := touches[imported[pkg.Name]]; touch != nil && touch(sel.Sel.Name) {
					used[where], used[file] = true, true
					if ofTheMachine[file] == "" && here[where] == "" {
						t.Errorf("%s uses %s.%s: files of who runs a verb are reached by c.files", where, pkg.Name, sel.Sel.Name)
					}
				}
				return true
			})
		}
	}
	for _, list := range []map[string]string{ofTheMachine, here} {
		for where := range list {
			if !used[where] {
				t.Errorf("%s may reach files, and does not", where)
			}
		}
	}
}
