package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// printJSON prints one JSON value on a line of its own.
func (c *cli) printJSON(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printf prints a line for people.
func (c *cli) printf(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }

// table prints aligned columns.
func (c *cli) table(f func(w io.Writer)) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	f(w)
	return w.Flush()
}

// bytesText is a size for people.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	size, prefix := float64(n)/unit, 0
	for size >= unit && prefix < 4 {
		size, prefix = size/unit, prefix+1
	}
	return fmt.Sprintf("%.1f %ciB", size, "KMGTP"[prefix])
}

func timeText(t *time.Time) string {
	if t == nil {
		return "pending"
	}
	return t.UTC().Format(time.RFC3339)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// bar is a progress bar on standard error, when that is a terminal.
type bar struct{ bar *progressbar.ProgressBar }

func (c *cli) newBar(total int64, what string) *bar {
	if c.json || !c.terminal {
		return &bar{}
	}
	options := []progressbar.Option{progressbar.OptionSetWriter(c.errOut), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100 * time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetWidth(30)}
	if c.served == nil { // the width of the terminal here
		options = append(options, progressbar.OptionFullWidth())
	}
	return &bar{progressbar.NewOptions64(total, options...)}
}

func (b *bar) add(n int64) {
	if b.bar != nil {
		b.bar.Add64(n)
	}
}

func (b *bar) set(done, total int64) {
	if b.bar != nil {
		b.bar.ChangeMax64(total)
		b.bar.Set64(done)
	}
}

func (b *bar) finish() {
	if b.bar != nil {
		b.bar.Finish()
	}
}
