package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/archive/escrow"
	"sae/archive/hsm"
)

func (c *cli) rootKeyCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "root",
		Short: "The root key: where it is kept, moving it into a token, sealed copies of it",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return usagef("name a verb: sae root --help lists them") },
	}
	cmd.AddCommand(c.rootStatusCmd(), c.rootMoveCmd(), c.rootReplaceCmd(), c.rootEscrowCmd(), c.rootRestoreCmd())
	return cmd
}

// tokenFlags says how to reach a PKCS#11 token.
func tokenFlags(cmd *cobra.Command) *hsm.Config {
	t := &hsm.Config{}
	cmd.Flags().StringVar(&t.Module, "pkcs11-module", "", "PKCS#11 library of the token that keeps the root key, such as /usr/lib/softhsm/libsofthsm2.so")
	cmd.Flags().StringVar(&t.Token, "pkcs11-token", "", "label of the token")
	cmd.Flags().StringVar(&t.PIN, "pkcs11-pin-file", "", "file that holds its PIN, 0600")
	return t
}

// given is the token of the flags; nil when none of them was given.
func given(t *hsm.Config) (*hsm.Config, error) {
	if *t == (hsm.Config{}) {
		return nil, nil
	}
	if t.PIN != "" {
		pin, err := filepath.Abs(t.PIN)
		if err != nil {
			return nil, err
		}
		t.PIN = pin
	}
	if p := t.Problems(); len(p) > 0 {
		var all []string
		for _, key := range []string{"module", "token", "pin-file"} {
			if p[key] != "" {
				all = append(all, "--pkcs11-"+key+": "+p[key])
			}
		}
		return nil, usagef("%s", strings.Join(all, "\n"))
	}
	return t, nil
}

func (c *cli) rootStatusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Where the root key is kept, how often it was replaced, the last sealed copy and whether it still opens",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				s, err := a.RootStatus()
				switch {
				case err != nil:
					return err
				case c.json:
					return c.printJSON(s)
				}
				return c.printRootStatus(s)
			})
		},
	}
}

func (c *cli) printRootStatus(s *archive.RootStatus) error {
	err := c.table(func(w io.Writer) {
		if s.Kept == archive.KeptInPKCS11 {
			fmt.Fprintf(w, "root key\tunder a key of PKCS#11 token %s (%s), wrapped in %s\n", s.Token, s.Module, s.File)
			fmt.Fprintf(w, "key\t%s\n", s.Key)
		} else {
			fmt.Fprintf(w, "root key\tin %s\n", s.File)
		}
		if s.Since != nil {
			fmt.Fprintf(w, "replaced\t%d times, the last at %s\n", s.Replaced, timeText(s.Since))
		} else {
			fmt.Fprintf(w, "replaced\tnever\n")
		}
		if e := s.Escrow; e != nil {
			opens := "it opens the catalogue"
			if !e.Opens {
				opens = "it does NOT open the catalogue any more"
			}
			fmt.Fprintf(w, "sealed copy\tof %s (ledger entry %d), to be destroyed by %s: %s\n", timeText(&e.Made), e.Entry, timeText(&e.DestroyBy), opens)
		} else {
			fmt.Fprintf(w, "sealed copy\tnone\n")
		}
	})
	for _, p := range s.Problems {
		c.printf("! %s\n", p)
	}
	return err
}

func (c *cli) rootMoveCmd() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "move --to pkcs11|file",
		Short: "Keep the root key in a PKCS#11 token, or in the file of its slot again",
		Long: `Keep the root key in a PKCS#11 token, or in the file of its slot again.

Another root key is drawn for it, and the one before destroyed: copies of the slot from
before open nothing that is stored from now on, and no catalogue of after. In a token,
each root key is wrapped under a key of its own, which cannot be read out; the file of
the slot then holds what is wrapped, and is worthless without the token.

The token is written into sae.yaml (slots.pkcs11). A move that was stopped is ended by
giving it again. Sealed copies from before open nothing any more: sae root escrow.`,
		Example: `  sae root move --to pkcs11 --pkcs11-module /usr/lib/softhsm/libsofthsm2.so --pkcs11-token sae --pkcs11-pin-file /etc/sae/pin
  sae root move --to file`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&to, "to", "", "pkcs11 or file")
	flags := tokenFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		token, err := given(flags)
		if err != nil {
			return err
		}
		if to == "" {
			return usagef("where to? --to pkcs11 or --to file")
		}
		o := archive.Options{Command: "sae root move", Log: c.log()}
		err = c.waiting(func() error {
			return archive.MoveRoot(cmd.Context(), c.dir, c.agent, archive.RootKept(to), token, o)
		})
		switch {
		case err != nil:
			return err
		case c.json:
			return c.printJSON(map[string]string{"kept": to})
		}
		c.printf("another root key was drawn and is kept in %s; the one before is destroyed\n", map[string]string{"pkcs11": "the token", "file": "the file of its slot"}[to])
		return nil
	}
	return cmd
}

func (c *cli) rootReplaceCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "replace",
		Short: "Draw another root key and destroy the one that is: copies of it open no catalogue from now on",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(false, func(a *archive.Archive) error {
				if err := a.ReplaceRoot(cmd.Context(), c.agent); err != nil {
					return err
				}
				if c.json {
					return c.printJSON(map[string]bool{"replaced": true})
				}
				c.printf("another root key was drawn; the one before is destroyed, sealed copies of it open nothing any more\n")
				return nil
			})
		},
	}
}

func (c *cli) rootEscrowCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "escrow -o FILE",
		Short: "Write a copy of the root key, sealed to the recipients that sae.yaml names",
		Long: `Write a copy of the root key into a new file, sealed with age to the recipients that
sae.yaml names under escrow. Each of them can open it alone; it is nowhere in clear.

Who has it, an identity and a catalogue of its time reads all of that catalogue, also
what was destroyed since. So every holder destroys it by the day that the file and the
ledger name, and what is destroyed counts as beyond recovery from then on only.`,
		Example: "  sae root escrow -o /media/safe/root.sae-escrow",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usagef("-o names the file to write")
			}
			return c.open(false, func(a *archive.Archive) error {
				e, err := a.Escrow(cmd.Context(), c.agent, out)
				switch {
				case err != nil:
					return err
				case c.json:
					return c.printJSON(e)
				}
				c.printf("sealed to %d recipients: %s (ledger entry %d)\n", len(e.Recipients), e.File, e.Entry)
				c.printf("every holder destroys it by %s\n", e.DestroyBy.Format(time.RFC3339))
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write")
	return cmd
}

func (c *cli) rootRestoreCmd() *cobra.Command {
	var identity string
	cmd := &cobra.Command{
		Use:   "restore --identity FILE SEALED",
		Short: "Put the root key of a sealed copy back into a slot that is lost",
		Long: `Put the root key of a sealed copy back into a slot that is lost or empty, when it opens
the catalogue. It is kept as sae.yaml says: in the file of the slot, or in the token.
A slot that holds a root key is never touched. Run "sae root replace" afterwards, and
seal a new copy. When the catalogue is lost too: sae rebuild --escrow.`,
		Example: "  sae root restore --identity key.txt /media/safe/root.sae-escrow",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if identity == "" {
				return usagef("--identity names the file of an age identity")
			}
			var h *escrow.Header
			err := c.waiting(func() (err error) {
				h, err = archive.RestoreRoot(c.dir, archive.EscrowSource{File: args[0], Identity: identity}, archive.Options{Log: c.log()})
				return err
			})
			switch {
			case err != nil:
				return err
			case c.json:
				return c.printJSON(h)
			}
			c.printf("the root key of %s is back; now run: sae root replace, then sae root escrow\n", h.Made.Format(time.RFC3339))
			return nil
		},
	}
	cmd.Flags().StringVar(&identity, "identity", "", "file of an age identity (AGE-SECRET-KEY-1...)")
	return cmd
}
