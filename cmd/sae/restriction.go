package main

import (
	"github.com/spf13/cobra"

	"sae/archive"
)

func (c *cli) restrictionCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restriction",
		Short: "Restrictions (GDPR art. 18): units that are read for named purposes alone: list, show, lift",
		Long: `A restriction keeps units, and all below them, from being read but for named purposes, and from
being destroyed. It is set by a request of the data subject; here it is looked at, and lifted.
See docs/files.md.`,
	}
	cmd.AddCommand(c.actListCmd(archive.RestrictionAct), c.actShowCmd(archive.RestrictionAct), c.restrictionLiftCmd())
	return cmd
}

func (c *cli) restrictionLiftCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "lift RESTRICTION --reason TEXT",
		Short: "Lift a restriction; the data subject is told before (art. 18(3))",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.endAct(cmd, archive.RestrictionAct, args[0], reason, "lifted")
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept enciphered")
	return cmd
}
