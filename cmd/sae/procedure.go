package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/archive/procedure"
)

func (c *cli) procedureCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "procedure",
		Short: "The procedures that citizen files belong to: add, list, show, examples, check",
		Long: `A procedure (MDPH, APA, RSA...) says in YAML which documents its files have, with which
fields, by which channels they come, under which rules they are kept, and which events start
their retention. See docs/procedures.md.`,
	}
	cmd.AddCommand(c.procedureAddCmd(), c.procedureListCmd(), c.procedureShowCmd(), c.procedureExampleCmd(), c.procedureCheckCmd())
	return cmd
}

func (c *cli) procedureExampleCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "example [PROCEDURE]",
		Short: "Name the procedures that come with the program, or print one",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				for _, id := range procedure.Shipped() {
					fmt.Fprintln(c.out, id)
				}
				return nil
			}
			b := procedure.ShippedFile(args[0])
			if b == nil {
				return fmt.Errorf("no procedure %q comes with the program; there are: %s", args[0], strings.Join(procedure.Shipped(), ", "))
			}
			_, err := c.out.Write(b)
			return err
		},
	}
}

func (c *cli) procedureCheckCmd() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong with a procedure: in itself, and against the tenant's rules and agreements",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := c.readProcedure(args[0])
			if err != nil {
				return err
			}
			return c.open(true, func(a *archive.Archive) error {
				if err := a.CheckProcedure(tenant, p); err != nil {
					return fmt.Errorf("%s:\n%w", args[0], err)
				}
				if c.json {
					return c.printJSON(p)
				}
				return c.printProcedure(p)
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	return cmd
}

func (c *cli) procedureAddCmd() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "add FILE",
		Short: "Add a procedure, or a new version of one: citizen files can then belong to it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := c.readBounded(args[0], procedure.MaxFile)
			if err != nil {
				return err
			}
			return c.open(false, func(a *archive.Archive) error {
				p, err := a.AddProcedure(cmd.Context(), c.agent, tenant, file)
				if err != nil {
					return fmt.Errorf("%s:\n%w", args[0], err)
				}
				return c.told(p, "procedure %s, version %d (ledger entry %d)\n", p.ID, p.Version, p.Entry)
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	return cmd
}

func (c *cli) procedureListCmd() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Name the procedures of a tenant",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				all, err := a.Procedures(tenant)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(all)
				}
				return c.table(func(w io.Writer) {
					for _, p := range all {
						fmt.Fprintf(w, "%s\tversion %d\t%s\n", p.ID, p.Version, p.Name)
					}
				})
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	return cmd
}

func (c *cli) procedureShowCmd() *cobra.Command {
	var tenant string
	var file bool
	cmd := &cobra.Command{
		Use:   "show PROCEDURE",
		Short: "Show a procedure as it is now",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				p, err := a.Procedure(tenant, args[0])
				if err != nil {
					return err
				}
				switch {
				case file:
					_, err := c.out.Write(p.File)
					return err
				case c.json:
					return c.printJSON(p)
				}
				return c.printProcedure(p.Procedure)
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().BoolVar(&file, "file", false, "print its YAML, as it was added")
	return cmd
}

// readProcedure reads a file, of which no more is read than a procedure may have.
func (c *cli) readProcedure(path string) (*procedure.Procedure, error) {
	b, err := c.readBounded(path, procedure.MaxFile)
	if err != nil {
		return nil, err
	}
	p, err := procedure.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s:\n%w", path, err)
	}
	return p, nil
}

func (c *cli) printProcedure(p *procedure.Procedure) error {
	return c.table(func(w io.Writer) {
		fmt.Fprintf(w, "procedure\t%s\t%s\n", p.ID, p.Name)
		fmt.Fprintf(w, "rules\t%s\t%s\n", strings.Join(p.Rules.Appraisal, " "), strings.Join(p.Rules.Access, " "))
		fmt.Fprintf(w, "channels\t%s\t\n", strings.Join(p.Channels, " "))
		for _, f := range p.Fields {
			fmt.Fprintf(w, "field\t%s\t%s%s\n", f.ID, f.Type, onlyIf(f.Required, ", required"))
		}
		for _, d := range p.Documents {
			fmt.Fprintf(w, "document\t%s\t%s%s\n", d.ID, d.Name, onlyIf(d.Expected, ", expected"))
		}
		for _, e := range p.Events {
			fmt.Fprintf(w, "event\t%s\t%s%s%s\n", e.ID, e.Name, onlyIf(e.Trigger != "", ", starts rules of "+e.Trigger), onlyIf(e.Closes, ", closes the file"))
		}
	})
}

func onlyIf(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}
