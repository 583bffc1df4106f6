package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/archive/backup"
	"sae/archive/durable"
)

func (c *cli) backupCmd() *cobra.Command {
	var o archive.BackupOptions
	var list, verify bool
	var generation int64
	var key string
	cmd := &cobra.Command{
		Use:   "backup FOLDER",
		Short: "Back the archive up into a folder, list or verify the backup there",
		Long: `Back the archive up into a folder: a new generation of the backup there, of this moment,
with all that was acknowledged before. Only what the folder has not is copied. The folder must
be there; an empty one is begun with. It holds configuration and keys, too, enciphered, but not
the root key: keep a sealed copy of that elsewhere (sae root escrow). A generation opens with
the root key of its time alone, which every destruction replaces: back up after each.

With --with-root a sealed copy of the root key lies beside the generation, for the recipients of
sae.yaml (escrow). Who has one of their identities and the folder reads everything, and what is
destroyed from now on, until the last day of the copy: the ledger says so, and what is destroyed
meanwhile is beyond recovery from that day on only.

With --verify every file is read again, held against the signed manifests, and the catalogues
against their ledgers; no key is needed. Status 3 when something does not fit.

While sae serve runs, serve.backup in sae.yaml has the service make backups by itself.`,
		Example: `  sae backup /mnt/backup
  sae backup --verify /mnt/backup
  sae backup --list /mnt/backup`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := openBackupFolder(args[0])
			if err != nil {
				return err
			}
			switch {
			case list && verify, (list || verify) && o.WithRoot:
				return usagef("--list, --verify and --with-root are things of their own")
			case list:
				return c.listBackup(folder)
			case verify:
				return c.verifyBackup(cmd.Context(), folder, args[0], key, generation)
			}
			return c.backup(cmd.Context(), folder, args[0], o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Keep, "keep", 7, "generations that stay, with the new one")
	f.BoolVar(&o.WithRoot, "with-root", false, "put a sealed copy of the root key beside it, for the recipients under escrow in sae.yaml")
	f.BoolVar(&list, "list", false, "list the generations")
	f.BoolVar(&verify, "verify", false, "read every file again, and say what does not fit")
	f.Int64Var(&generation, "generation", 0, "of --verify: this one alone")
	f.StringVar(&key, "ledger-key", "", "of --verify: file of the archive's ledger key (default keys/ledger.pub of the archive in --dir)")
	return cmd
}

// openBackupFolder gives the folder of a backup, which is there.
func openBackupFolder(path string) (backup.Folder, error) {
	d, err := backup.OpenDir(durable.FS{}, path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: mount the disk, or make the folder", err)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (c *cli) backup(ctx context.Context, folder backup.Folder, where string, o archive.BackupOptions) error {
	return c.open(false, func(a *archive.Archive) error {
		bar := c.newBar(-1, "backing up")
		o.Progress = bar.set
		b, err := a.Backup(ctx, c.agent, folder, o)
		bar.finish()
		switch {
		case b == nil:
			return err
		case c.json:
			err = errors.Join(err, c.printJSON(b))
		default:
			c.printBackedUp(b, where)
		}
		if err == nil && len(b.Lacking) > 0 {
			err = errDamage
		}
		return err
	})
}

func (c *cli) printBackedUp(b *archive.BackedUp, where string) {
	c.printf("generation %d in %s: a ledger of %d entries, %d files, %s; new: %d files, %s\n", b.Generation, where, b.Ledger, b.Files, bytesText(b.Bytes), b.NewFiles, bytesText(b.NewBytes))
	if n := len(b.Removed.Generations); n > 0 || b.Removed.Files > 0 {
		c.printf("removed %d generations, %d files, %s\n", n, b.Removed.Files, bytesText(b.Removed.Bytes))
	}
	if b.Root != nil {
		c.printf("! a sealed copy of the ROOT KEY is in it (ledger entry %d), to be destroyed by %s: until then, who opens it reads what is destroyed from now on\n", b.Root.Entry, timeText(&b.Root.DestroyBy))
	}
	for _, blob := range b.Lacking {
		c.printf("LACKING %s: no offer has a good copy: run sae audit --repair\n", blob)
	}
}

func (c *cli) listBackup(folder backup.Folder) error {
	v, err := archive.ListBackup(folder, "")
	if err != nil {
		return err
	}
	// Whether they open is told where the archive is at hand.
	c.open(true, func(a *archive.Archive) error {
		root, err := a.RootStatus()
		if err == nil && v.Archive == a.Config().Archive {
			for i := range v.Generations {
				opens := v.Generations[i].Replaced == root.Replaced
				v.Generations[i].Opens = &opens
			}
		}
		return err
	})
	if c.json {
		return c.printJSON(v)
	}
	c.printf("backup of archive %s\n", v.Archive)
	err = c.table(func(w io.Writer) {
		for _, g := range v.Generations {
			notes := ""
			if g.Opens != nil && !*g.Opens {
				notes += "; does not open with the root key of today"
			}
			if g.WithRoot {
				notes += "; with a sealed copy of the root key"
			}
			if g.Lacking > 0 {
				notes += fmt.Sprintf("; lacks %d blobs", g.Lacking)
			}
			fmt.Fprintf(w, "%d\t%s\t%d files\t%s%s\n", g.Generation, timeText(&g.Made), g.Files, bytesText(g.Bytes), notes)
		}
	})
	return errors.Join(err, c.printFound(v))
}

// printFound says what does not fit.
func (c *cli) printFound(v *archive.VerifiedBackup) error {
	for _, f := range v.Findings {
		c.printf("DAMAGED %s: %s\n", f.Where, f.Why)
	}
	if len(v.Findings) > 0 {
		c.printf("remove what is damaged, and back up: it is copied again; a head or index that is damaged takes its generation with it\n")
		return errDamage
	}
	return nil
}

func (c *cli) verifyBackup(ctx context.Context, folder backup.Folder, where, key string, generation int64) error {
	o := archive.VerifyBackupOptions{Generation: generation}
	at := key
	if key == "" {
		at = filepath.Join(c.dir, "keys/ledger.pub")
	}
	text, err := os.ReadFile(at)
	switch {
	case err == nil:
		o.LedgerKey = string(text)
	case key != "":
		return err
	}
	v, err := archive.VerifyBackup(ctx, folder, o)
	switch {
	case err != nil:
		return err
	case c.json:
		err = c.printJSON(v)
		if err == nil && len(v.Findings) > 0 {
			err = errDamage
		}
		return err
	}
	for _, g := range v.Generations {
		c.printf("generation %d of %s: %d files, %s, a ledger of %d entries\n", g.Generation, timeText(&g.Made), g.Files, bytesText(g.Bytes), g.Ledger)
		if g.Lacking > 0 {
			c.printf("! it lacks %d blobs, of which no offer had a good copy\n", g.Lacking)
		}
	}
	if err := c.printFound(v); err != nil {
		return err
	}
	c.printf("%s: %d files read, %s, all as written\n", where, v.Files, bytesText(v.Bytes))
	if o.LedgerKey == "" {
		c.printf("! signed under the key that it names itself: hold it against the archive's, %s\n", v.LedgerKey)
	}
	return nil
}

func (c *cli) restoreCmd() *cobra.Command {
	from := archive.RestoreFrom{Offers: map[string]string{}}
	var escrow archive.EscrowSource
	var offers []string
	var key string
	cmd := &cobra.Command{
		Use:   "restore FOLDER --to NEW",
		Short: "Make an archive from a backup and the root key",
		Long: `Make an archive from a backup and the root key, in a new or empty folder. Every file is held
against the signed manifest while it is read; the archive is then opened for reading, and
checked (sae fsck).

The root key is read from the two-slot file that --root-key names (with --pkcs11-... when it
is wrapped in a token), from a sealed copy (--escrow, --identity), or from the sealed copy in
the backup (--identity alone). It must be the one of the backup's time.

Copies come below the new folder, unless --offer NAME=PATH gives an offer another place. Of a
bucket that has to be said: --offer NAME=PATH for a folder in its place, or --offer NAME=keep
when no other archive uses it any more. Slots come below the new folder, too.

Name the checkpoint slot of the archive that was lost with --slot, when there still is one: it
tells whether the backup has all that was acknowledged. Without it, what came after the backup
is not known to be missing.`,
		Example: `  sae restore /mnt/backup --to /srv/archive --escrow root.sae-escrow --identity key.txt
  sae restore /mnt/backup --to /tmp/try --root-key /media/safe/root --offer cloud=/tmp/try-cloud`,
		Args: cobra.ExactArgs(1),
	}
	flags := tokenFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&from.Dir, "to", "", "folder of the archive to be made: new, or empty")
	f.Int64Var(&from.Generation, "generation", 0, "which one (default the last)")
	f.StringArrayVar(&offers, "offer", nil, "NAME=PATH: where the copies of an offer come; NAME=keep: its bucket stays")
	f.StringVar(&from.Root, "root-key", "", "two-slot file of the root key")
	f.StringVar(&escrow.File, "escrow", "", "sealed copy of the root key (sae root escrow)")
	f.StringVar(&escrow.Identity, "identity", "", "file of the age identity that opens it, or the copy in the backup")
	f.StringVar(&from.Slot, "slot", "", "checkpoint slot of the archive that was lost")
	f.StringVar(&key, "ledger-key", "", "file of the archive's ledger key (its keys/ledger.pub), to hold the backup against")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if from.Dir == "" {
			return usagef("--to names the folder of the archive to be made")
		}
		if from.PKCS11, err = given(flags); err != nil {
			return err
		}
		switch {
		case escrow.File != "" && (escrow.Identity == "" || from.Root != ""), escrow.Identity != "" && from.Root != "":
			return usagef("give either --root-key, or --escrow and --identity together, or --identity for the copy in the backup")
		case escrow.File != "":
			from.Escrow = &escrow
		default:
			from.Identity = escrow.Identity
		}
		for _, o := range offers {
			name, path, ok := strings.Cut(o, "=")
			if !ok || name == "" || path == "" {
				return usagef("--offer %s: want NAME=PATH, or NAME=keep", o)
			}
			if path != archive.KeepOffer {
				if path, err = filepath.Abs(path); err != nil {
					return err
				}
			}
			from.Offers[name] = path
		}
		if key != "" {
			text, err := os.ReadFile(key)
			if err != nil {
				return err
			}
			from.LedgerKey = string(text)
		}
		if from.Backup, err = openBackupFolder(args[0]); err != nil {
			return err
		}
		from.Log = c.log()
		return c.restore(cmd.Context(), from)
	}
	return cmd
}

func (c *cli) restore(ctx context.Context, from archive.RestoreFrom) error {
	r, err := archive.Restore(ctx, from)
	if r == nil {
		return err
	}
	if c.json {
		if err2 := c.printJSON(r); err2 != nil {
			return err2
		}
	} else {
		c.printRestored(r, from)
	}
	if err == nil && (len(r.Lacking) > 0 || r.Fsck != nil && len(r.Fsck.Findings) > 0) {
		err = errDamage
	}
	return err
}

func (c *cli) printRestored(r *archive.Restored, from archive.RestoreFrom) {
	c.printf("restored archive %s into %s, as it was at %s (generation %d)\n", r.Archive, from.Dir, r.Made.Format(time.RFC3339), r.Generation)
	c.printf("%d units, %d objects, a ledger of %d entries; %d blobs, %s\n", r.Units, r.Objects, r.Ledger, r.Blobs, bytesText(r.Bytes))
	for _, name := range slices.Sorted(maps.Keys(r.Offers)) {
		c.printf("offer %s: %s\n", name, r.Offers[name])
	}
	for _, n := range r.Notes {
		c.printf("! %s\n", n)
	}
	for _, blob := range r.Lacking {
		c.printf("LACKING %s: the backup has it not either\n", blob)
	}
	if r.Fsck != nil {
		for _, f := range r.Fsck.Findings {
			c.printf("%s %s %s: %s; %s\n", strings.ToUpper(f.Kind), f.What, f.Where, f.Why, f.Do)
		}
	}
	if from.LedgerKey == "" {
		c.printf("! it is signed under the key that it names itself: hold that against the archive's, %s\n", r.LedgerKey)
	}
	if from.Slot == "" {
		c.printf("! what was acknowledged after it is not known here: of receipts and witnesses, those of a ledger of more than %d entries speak of what is lost\n", r.Ledger)
	}
	c.printf("now read %s, then run: sae audit --repair; sae root replace; sae root escrow\n", filepath.Join(from.Dir, archive.ConfigName))
}
