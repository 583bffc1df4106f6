// Package converter runs a program that makes a file of another format of a file: without a
// shell, in a private folder that goes in all cases, with bounded time and space, as a group of
// processes of its own.
package converter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Config is a converter as the configuration names it.
type Config struct {
	ID    string   `yaml:"id"`              // code
	From  []string `yaml:"from"`            // PRONOM identifiers of what it takes
	To    []string `yaml:"to"`              // and of what it may give: anything else is refused
	Usage string   `yaml:"usage,omitempty"` // of what it gives: Dissemination, or BinaryMaster
	// Command is the program and its arguments, without a shell. {in} is the file to convert, {out}
	// the file to write, {outdir} the folder to write one file of any name into.
	Command   []string `yaml:"command"`
	Extension string   `yaml:"extension,omitempty"` // of {out}, such as pdf
	// Tool is what is written down as the tool, Version a command of which the first line of
	// output is its version. One of them is needed.
	Tool    string        `yaml:"tool,omitempty"`
	Version []string      `yaml:"version,omitempty"`
	Timeout time.Duration `yaml:"timeout,omitempty"`  // of one file; 5m when absent
	MaxSize int64         `yaml:"max-size,omitempty"` // of what it gives, in bytes; 1 GiB when absent
}

// The usages that a converted file can have.
const (
	Dissemination = "Dissemination"
	BinaryMaster  = "BinaryMaster"
)

// Usages are all of them.
var Usages = []string{Dissemination, BinaryMaster}

const (
	defaultTimeout = 5 * time.Minute
	longestTimeout = 24 * time.Hour
	defaultSize    = 1 << 30
	// spare is how much more than its input and its output a converter may write: a profile, temporary files.
	spare   = 512 << 20
	maxWord = 4096 // bytes of an argument
	maxSaid = 2000 // bytes kept of what a converter says
	maxTool = 200
)

var (
	puid      = regexp.MustCompile(`^(x-)?fmt/[0-9]{1,6}$`)
	extension = regexp.MustCompile(`^[A-Za-z0-9]{1,10}$`)
)

// Problems says what is wrong with a configuration, by key. The code is for who knows the others.
func (c *Config) Problems() map[string]string {
	bad := map[string]string{}
	for key, ids := range map[string][]string{"from": c.From, "to": c.To} {
		if len(ids) == 0 || len(ids) > 1000 {
			bad[key] = "want 1 to 1000 PRONOM identifiers"
		}
		for _, id := range ids {
			if !puid.MatchString(id) {
				bad[key] = fmt.Sprintf("%q is not a PRONOM identifier such as fmt/40", id)
			}
		}
	}
	for _, id := range c.From {
		if slices.Contains(c.To, id) {
			bad["to"] = fmt.Sprintf("%s is in from too: what it gives would be converted again", id)
		}
	}
	if c.Usage != "" && !slices.Contains(Usages, c.Usage) {
		bad["usage"] = fmt.Sprintf("%q: want %s", c.Usage, strings.Join(Usages, " or "))
	}
	all := strings.Join(c.Command, "\x00")
	switch {
	case len(c.Command) == 0 || c.Command[0] == "":
		bad["command"] = "missing: the program and its arguments"
	case !strings.Contains(all, "{in}"):
		bad["command"] = "no argument has {in}, the file to convert"
	case !strings.Contains(all, "{out}") && !strings.Contains(all, "{outdir}"):
		bad["command"] = "no argument has {out}, the file to write, or {outdir}, the folder to write it into"
	case strings.Contains(all, "{out}") && c.Extension == "":
		bad["extension"] = "missing: {out} needs one"
	}
	for _, word := range append(slices.Clone(c.Command), c.Version...) {
		if len(word) > maxWord || strings.ContainsRune(word, 0) {
			bad["command"] = fmt.Sprintf("an argument is longer than %d bytes, or has a NUL", maxWord)
		}
	}
	if c.Extension != "" && !extension.MatchString(c.Extension) {
		bad["extension"] = fmt.Sprintf("%q: want letters and digits, at most 10", c.Extension)
	}
	if c.Tool == "" && len(c.Version) == 0 {
		bad["tool"] = "missing: the name and version of the program, or version: the command that prints them"
	}
	if len(c.Tool) > maxTool {
		bad["tool"] = fmt.Sprintf("longer than %d bytes", maxTool)
	}
	if c.Timeout < 0 || c.Timeout > longestTimeout {
		bad["timeout"] = fmt.Sprintf("want at most %s", longestTimeout)
	}
	if c.MaxSize < 0 {
		bad["max-size"] = "want bytes"
	}
	return bad
}

// UsageOf is the usage of what the converter gives.
func (c *Config) UsageOf() string {
	if c.Usage == "" {
		return Dissemination
	}
	return c.Usage
}

func (c *Config) timeout() time.Duration {
	if c.Timeout == 0 {
		return defaultTimeout
	}
	return c.Timeout
}

func (c *Config) maxSize() int64 {
	if c.MaxSize == 0 {
		return defaultSize
	}
	return c.MaxSize
}

// FailedError says why a converter gave nothing.
type FailedError struct {
	Why string
	// Said is the end of what the program wrote. It may tell of the document: it is for who may
	// read that, not for a log.
	Said string
}

func (e *FailedError) Error() string { return e.Why }

func failed(format string, args ...any) *FailedError {
	return &FailedError{Why: fmt.Sprintf(format, args...)}
}

// Folder is a private folder with what is being converted. It is to be closed.
type Folder struct {
	path string
	next int
}

// NewFolder makes a folder whose name begins with prefix, where the system keeps temporary files.
func NewFolder(prefix string) (*Folder, error) {
	path, err := os.MkdirTemp("", prefix) // 0700
	if err != nil {
		return nil, fmt.Errorf("making a private folder: %w", err)
	}
	return &Folder{path: path}, nil
}

// Close removes the folder and all that is in it, also what a converter made unreadable.
func (f *Folder) Close() error {
	err := os.RemoveAll(f.path)
	if err == nil {
		return nil
	}
	filepath.WalkDir(f.path, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(f.path)
}

// Sweep removes the folders that a killed process left: those whose names begin with prefix.
func Sweep(prefix string) error {
	entries, err := os.ReadDir(os.TempDir())
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), prefix) {
			errs = append(errs, (&Folder{path: filepath.Join(os.TempDir(), e.Name())}).Close())
		}
	}
	return errors.Join(errs...)
}

// job is one conversion: where its files lie.
type job struct {
	*Config
	dir, in, out, outDir string
}

// Run converts content, which write writes, and gives the path of the file that came of it, which
// is there until the folder is closed. ext is the extension that the content has, "" for none: some
// programs go by it. A *FailedError says that this content could not be converted.
func (c *Config) Run(ctx context.Context, f *Folder, ext string, write func(io.Writer) error) (path string, err error) {
	f.next++
	j := &job{Config: c, dir: filepath.Join(f.path, fmt.Sprint(f.next))}
	j.in, j.outDir = filepath.Join(j.dir, "in", "document"+ext), filepath.Join(j.dir, "out")
	j.out = filepath.Join(j.outDir, "document."+c.Extension)
	for _, d := range []string{"in", "out", "home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(j.dir, d), 0o700); err != nil {
			return "", fmt.Errorf("making a private folder: %w", err)
		}
	}
	size, err := writeTo(j.in, write)
	if err != nil {
		return "", fmt.Errorf("writing what is to be converted: %w", err)
	}
	if err := j.execute(ctx, size+c.maxSize()+spare); err != nil {
		return "", err
	}
	for _, d := range []string{"in", "home", "tmp"} {
		if err := (&Folder{path: filepath.Join(j.dir, d)}).Close(); err != nil {
			return "", err
		}
	}
	return j.result()
}

func writeTo(path string, write func(io.Writer) error) (size int64, err error) {
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	err = errors.Join(write(w), w.Close())
	if err != nil {
		return 0, err
	}
	fi, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// execute runs the program, which may take up to limit bytes in its folder.
func (j *job) execute(ctx context.Context, limit int64) error {
	within, cancel := context.WithTimeoutCause(ctx, j.timeout(), failed("it took longer than %s", j.timeout()))
	defer cancel()
	within, stop := context.WithCancelCause(within)
	defer stop(nil)
	go j.watch(within, limit, stop)
	place := strings.NewReplacer("{in}", j.in, "{outdir}", j.outDir, "{out}", j.out)
	words := make([]string, len(j.Command))
	for i, w := range j.Command {
		words[i] = place.Replace(w)
	}
	said := &tail{}
	err := run(within, j.dir, said, words)
	var why *FailedError
	switch {
	case ctx.Err() != nil: // the caller's
		return ctx.Err()
	case errors.As(context.Cause(within), &why):
	case err != nil:
		why = failed("%s: %v", j.Command[0], err)
	default:
		return nil
	}
	why.Said = string(said.b)
	return why
}

// watch ends the program when it writes too much.
func (j *job) watch(ctx context.Context, limit int64, stop context.CancelCauseFunc) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if sizeOf(j.dir) > limit || sizeOf(j.outDir) > j.maxSize() {
				stop(failed("it wrote more than %d bytes", j.maxSize()))
				return
			}
		}
	}
}

// sizeOf is how many bytes the files in a folder have; each counts as a page at least, so that
// their number is bounded too.
func sizeOf(dir string) (n int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // gone meanwhile
		}
		if fi, err := d.Info(); err == nil && !d.IsDir() {
			n += max(fi.Size(), 4096)
		}
		return nil
	})
	return n
}

// run runs a program in a folder, as a group of processes that ends with it.
func run(ctx context.Context, dir string, said *tail, words []string) error {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, said, said
	// Nothing else of our environment: it may hold credentials.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "HOME=" + filepath.Join(dir, "home"), "TMPDIR=" + filepath.Join(dir, "tmp")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	err := cmd.Wait()
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left running; mostly nothing
	return err
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > maxSaid {
		t.b = append([]byte(nil), t.b[len(t.b)-maxSaid:]...)
	}
	return len(p), nil
}

// result is the one file that the program wrote.
func (j *job) result() (string, error) {
	entries, err := os.ReadDir(j.outDir)
	if err != nil {
		return "", fmt.Errorf("looking for the result: %w", err)
	}
	if len(entries) != 1 {
		return "", failed("it wrote %d files, not one", len(entries))
	}
	path := filepath.Join(j.outDir, entries[0].Name())
	fi, err := os.Lstat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("looking for the result: %w", err)
	case !fi.Mode().IsRegular():
		return "", failed("what it wrote is not a file")
	case fi.Size() == 0:
		return "", failed("the file that it wrote is empty")
	case fi.Size() > j.maxSize():
		return "", failed("it wrote more than %d bytes", j.maxSize())
	}
	return path, nil
}

// ToolName is what is written down as the tool: what the configuration says, and what the program
// says of itself.
func (c *Config) ToolName(ctx context.Context) (string, error) {
	if len(c.Version) == 0 {
		return c.Tool, nil
	}
	f, err := NewFolder("sae-convert-version-")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for _, d := range []string{"home", "tmp"} {
		if err := os.Mkdir(filepath.Join(f.path, d), 0o700); err != nil {
			return "", err
		}
	}
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	said := &tail{}
	if err := run(within, f.path, said, c.Version); err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", c.Version[0], err)
	}
	line, _, _ := bytes.Cut(bytes.TrimSpace(said.b), []byte{'\n'})
	text := strings.Map(printable, strings.ToValidUTF8(string(line), "?"))
	name := strings.TrimSpace(c.Tool + " " + text)
	if name == "" {
		return "", fmt.Errorf("asking %s for its version: it printed nothing", c.Version[0])
	}
	if len(name) > maxTool {
		name = strings.ToValidUTF8(name[:maxTool], "")
	}
	return name, nil
}

// printable leaves control characters out.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}
