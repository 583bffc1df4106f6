// Command sae is an electronic archive: it deposits, seals, proves, verifies and
// audits. Each file holds a family of verbs; this one wires them together.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sae/api/remote"
	"sae/archive"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version = "dev"

// Exit statuses.
const (
	exitDone    = 0
	exitRefused = 1 // refused, or verification failed
	exitUsage   = 2 // wrong usage
	exitDamaged = 3 // the archive itself is damaged or locked
)

// memoryLimit is what the program keeps below as long as it can, in bytes: it then
// collects more often. GOMEMLIMIT sets another.
const memoryLimit = 900 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program, apart from the process it runs in.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &cli{in: in, out: out, errOut: errOut, files: remote.Disk{}, terminal: isTerminal(errOut)}
	return c.run(ctx, args)
}

// run runs the verb that the arguments name, and gives the exit status.
func (c *cli) run(ctx context.Context, args []string) int {
	c.args = args
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.errOut)
	err := root.ExecuteContext(ctx)
	var ended statusError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &ended):
		return int(ended)
	case !errors.Is(err, errSaid):
		for _, line := range strings.Split(err.Error(), "\n") {
			fmt.Fprintln(c.errOut, "sae:", line)
		}
	}
	return c.status(err)
}

// cli is what the verbs share.
type cli struct {
	in          io.Reader
	out, errOut io.Writer
	files       remote.Files // of who runs the verb
	terminal    bool         // errOut is one
	served      *served      // what a service runs the verb with; nil on the machine itself
	service     service      // that is to run the verb; none on the machine itself
	args        []string     // as they were given
	dir, agent  string
	json        bool
	verbose     bool
	lockWait    time.Duration
	purpose     archive.Purpose // of reading; "" for none said
	why         string
	ran         bool // a verb was entered: what fails now is not the usage
}

// errSaid ends a verb that has already told its outcome with status 1.
var errSaid = errors.New("already said")

// usageError is a wrong usage found by the verb itself.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func (c *cli) status(err error) int {
	var usage usageError
	var damaged *archive.DamagedError
	var rollback *archive.RollbackError
	switch {
	case !c.ran, errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &damaged), errors.As(err, &rollback), errors.Is(err, archive.ErrLocked), errors.Is(err, errDamage):
		return exitDamaged
	}
	return exitRefused
}

// errDamage ends a verb that found the archive damaged and has said so.
var errDamage = fmt.Errorf("%w: the archive is damaged", errSaid)

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "sae",
		Short:         "Electronic archive with evidence that anyone can verify",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			c.ran = true
		},
	}
	f := root.PersistentFlags()
	if c.served == nil { // a service has its own
		f.StringVar(&c.dir, "dir", envOr("SAE_DIR", "./sae-data"), "folder of the archive (SAE_DIR)")
		f.StringVar(&c.agent, "as", envOr("SAE_AGENT", loginName()), "who acts; the ledger holds a pseudonym of it (SAE_AGENT)")
		f.DurationVar(&c.lockWait, "lock-wait", 5*time.Second, "how long to wait for another process that holds the archive")
		c.service.flags(f)
	}
	f.BoolVar(&c.json, "json", false, "print JSON")
	f.BoolVarP(&c.verbose, "verbose", "v", false, "log what is done to standard error")
	root.AddCommand(
		c.initCmd(), c.depositCmd(), c.sealCmd(),
		c.showCmd(), c.listCmd(), c.searchCmd(), c.getCmd(), c.historyCmd(),
		c.proofCmd(), c.verifyCmd(),
		c.auditCmd(), c.fsckCmd(), c.repairCmd(), c.compactCmd(), c.rulesCmd(), c.procedureCmd(), c.subjectCmd(), c.fileCmd(), c.dataRequestCmd(), c.retentionCmd(), c.holdCmd(), c.restrictionCmd(), c.accessCmd(), c.gdprCmd(), c.eliminateCmd(), c.transferCmd(), c.formatsCmd(), c.convertCmd(), c.offerCmd(), c.rootKeyCmd(), c.rebuildCmd(), c.statusCmd(), c.statsCmd(), c.ledgerCmd(), c.demoCmd(), c.backupCmd(), c.restoreCmd(), c.doctorCmd(),
		c.sedaCmd(), c.exportUnitsCmd(), c.restituteCmd(), c.serveCmd(), c.apiKeyCmd(), c.webhookCmd(), c.connectCmd(),
	)
	c.place(root)
	return root
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func loginName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// open opens the archive for the time of f.
func (c *cli) open(readOnly bool, f func(*archive.Archive) error) error {
	return c.openWith(archive.Options{ReadOnly: readOnly}, f)
}

func (c *cli) openWith(o archive.Options, f func(*archive.Archive) error) (err error) {
	if c.served != nil { // it is open, and stays so
		return f(c.served.Archive)
	}
	o.Command, o.Log = strings.Join(os.Args[:min(2, len(os.Args))], " "), c.log()
	a, err := c.openWaiting(o)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%w; run sae as the owner of %s", err, c.dir)
		}
		if errors.Is(err, archive.ErrLocked) && strings.Contains(err.Error(), "(sae serve)") {
			return fmt.Errorf("%w; or have the service run the verb, with --server URL", err)
		}
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return f(a)
}

// openWaiting opens the archive, waiting a while for another process to let go of it.
func (c *cli) openWaiting(o archive.Options) (a *archive.Archive, err error) {
	err = c.waiting(func() error {
		a, err = archive.Open(c.dir, o)
		return err
	})
	return a, err
}

// waiting tries f until no other process holds the archive, or --lock-wait is over.
func (c *cli) waiting(f func() error) error {
	for end := time.Now().Add(c.lockWait); ; time.Sleep(50 * time.Millisecond) {
		if err := f(); !errors.Is(err, archive.ErrLocked) || !time.Now().Before(end) {
			return err
		}
	}
}

func (c *cli) log() *slog.Logger {
	level := slog.LevelError // the verbs say themselves what matters
	if c.verbose {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(c.errOut, &slog.HandlerOptions{Level: level}))
}
