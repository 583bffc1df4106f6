package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/archive/printed"
	"sae/retention"
	"sae/seda"
)

func (c *cli) eliminateCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "eliminate",
		Short: "Elimination: analyse, propose a list, agree, visa, refuse",
		Long: `The procedure of elimination (Code du patrimoine art. L212-2, L212-3, R212-14). An archivist
proposes a frozen, numbered list of what is eliminable; the originating agency agrees; the
control authority gives its visa, or refuses, item by item. Each step is another person's,
named under "roles" in sae.yaml; then an archivist executes what has its visa. See
docs/retention.md.`,
	}
	cmd.AddCommand(c.eliminateAnalyseCmd(), c.proposeCmd(archive.ForElimination), c.requestsCmd(archive.ForElimination), c.requestCmd(archive.ForElimination),
		c.eliminateStepCmd("agree", "Agree to a request, as the originating agency", archive.Agreed),
		c.eliminateStepCmd("visa", "Give the visa of the control authority to a request", archive.Visaed),
		c.eliminateStepCmd("refuse", "Refuse a request as a whole, as originating agency or control authority", archive.Refused),
		c.eliminateStepCmd("withdraw", "Give a request up", archive.Withdrawn), c.eliminateExecuteCmd(), c.certificateCmd(), c.bordereauCmd(), c.eliminationMessageCmd(), c.eliminationReplyCmd())
	return cmd
}

// elimFilter are the flags by which units are chosen.
func elimFilter(cmd *cobra.Command, f *archive.Filter, at *string) {
	cmd.Flags().StringVar(&f.Tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().StringVar(&f.Agency, "originating-agency", "", "only units of this originating agency")
	cmd.Flags().StringVar(&f.Agreement, "agreement", "", "only units under this agreement")
	cmd.Flags().StringVar(&f.Subject, "subject", "", "only units of this citizen file")
	cmd.Flags().StringVar(at, "at", today(), "day for which it is asked")
}

// agencyCount counts units of one originating agency.
type agencyCount struct {
	Agency   string                      `json:"originatingAgency"`
	Verdicts map[retention.Verdict]int64 `json:"verdicts"`
	Bytes    int64                       `json:"eliminableBytes"`
}

func (c *cli) eliminateAnalyseCmd() *cobra.Command {
	var f archive.Filter
	var at string
	var units, paper bool
	cmd := &cobra.Command{
		Use:   "analyse",
		Short: "Say what is eliminable, what conflicts, what is not due, for each originating agency",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(true, func(a *archive.Archive) error {
				if paper {
					return c.analysePaper(cmd.Context(), a, f.Tenant, units)
				}
				agencies := map[string]*agencyCount{}
				reasons := map[retention.ReasonCode]int64{}
				enc := json.NewEncoder(c.out)
				err := c.reader(a).Due(cmd.Context(), f.Tenant, at, func(u archive.DueUnit) error {
					if !u.ChosenBy(&f) {
						return nil
					}
					countAgency(agencies, reasons, u)
					if !units {
						return nil
					}
					if c.json {
						return enc.Encode(u)
					}
					c.printf("%s  %s  %s\n", u.ID, u.Assess.Verdict, u.Title)
					for _, r := range u.Assess.Reasons {
						c.printf("    %s\n", reasonText(r))
					}
					return nil
				})
				if err != nil {
					return err
				}
				sorted := slices.SortedFunc(maps.Values(agencies), func(x, y *agencyCount) int { return strings.Compare(x.Agency, y.Agency) })
				if c.json {
					return c.printJSON(map[string]any{"at": at, "originatingAgencies": sorted, "reasons": reasons})
				}
				return c.printAnalysis(at, sorted, reasons)
			})
		},
	}
	elimFilter(cmd, &f, &at)
	cmd.Flags().BoolVar(&units, "units", false, "name every unit, with the reasons")
	cmd.Flags().BoolVar(&paper, "paper", false, "say what paper beside a copy may be destroyed, as things are now")
	return cmd
}

// analysePaper says what paper may be destroyed, and why not.
func (c *cli) analysePaper(ctx context.Context, a *archive.Archive, tenant string, units bool) error {
	enc, free, all := json.NewEncoder(c.out), 0, 0
	reasons := map[archive.PaperReason]int{}
	err := c.reader(a).EachPaper(ctx, tenant, func(p archive.PaperUnit) error {
		all++
		if len(p.Reasons) == 0 {
			free++
		}
		for _, r := range p.Reasons {
			reasons[r]++
		}
		switch {
		case units && c.json:
			return enc.Encode(p)
		case units:
			c.printf("%s  %s  %v\n", p.ID, p.Title, p.Reasons)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]any{"units": all, "destructible": free, "reasons": reasons})
	}
	c.printf("units with paper beside their copy: %d; paper that may be destroyed: %d\n", all, free)
	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		c.printf("%s: %d units\n", r, reasons[r])
	}
	return nil
}

func countAgency(agencies map[string]*agencyCount, reasons map[retention.ReasonCode]int64, u archive.DueUnit) {
	n := agencies[u.Agency]
	if n == nil {
		n = &agencyCount{Agency: u.Agency, Verdicts: map[retention.Verdict]int64{}}
		agencies[u.Agency] = n
	}
	n.Verdicts[u.Assess.Verdict]++
	if u.Assess.Verdict == retention.Eliminable {
		n.Bytes += u.Bytes
	}
	seen := map[retention.ReasonCode]bool{}
	for _, r := range u.Assess.Reasons {
		if !seen[r.Code] {
			seen[r.Code] = true
			reasons[r.Code]++
		}
	}
}

func (c *cli) printAnalysis(at string, agencies []*agencyCount, reasons map[retention.ReasonCode]int64) error {
	if len(agencies) == 0 {
		c.printf("on %s nothing is due\n", at)
		return nil
	}
	verdicts := []retention.Verdict{retention.Eliminable, retention.ToSort, retention.ToKeep, retention.Conflict, retention.NotDue}
	err := c.table(func(w io.Writer) {
		fmt.Fprintln(w, "ORIGINATING AGENCY\tELIMINABLE\tTO SORT\tTO KEEP\tCONFLICT\tNOT DUE\tELIMINABLE BYTES")
		for _, n := range agencies {
			fmt.Fprint(w, dash(n.Agency))
			for _, v := range verdicts {
				fmt.Fprintf(w, "\t%d", n.Verdicts[v])
			}
			fmt.Fprintf(w, "\t%s\n", bytesText(n.Bytes))
		}
	})
	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		c.printf("%s: %d units\n", r, reasons[r])
	}
	return err
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// proposeCmd freezes the list of a request of a kind.
func (c *cli) proposeCmd(kind archive.RequestKind) *cobra.Command {
	r := archive.EliminationRequest{Kind: kind}
	var paper bool
	cmd := &cobra.Command{
		Use:   "propose",
		Short: "Freeze the list of what is eliminable, as an archivist",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(false, func(a *archive.Archive) error {
				if paper {
					r.Kind = archive.ForPaper
				}
				e, err := a.ProposeElimination(cmd.Context(), c.agent, r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(e)
				}
				c.printf("%s %s: %d units proposed (ledger entry %d)\n", e.Kind, e.ID, e.Units, e.Steps[0].Entry)
				return c.printLines(e)
			})
		},
	}
	elimFilter(cmd, &r.Filter, &r.At)
	cmd.Flags().StringVar(&r.Reason, "reason", "", "what is to be said with it; kept enciphered")
	if kind == archive.ForElimination {
		cmd.Flags().BoolVar(&paper, "paper", false, "the paper of units whose copy is presumed faithful (décret 2016-1673): the copy stays")
	}
	if kind == archive.ForTransfer {
		cmd.Short = "Freeze the list of what is to be kept for ever and goes to another archive, as an archivist"
		cmd.Flags().StringVar(&r.To, "to", "", "ArchivalAgency of the archive that takes them")
		cmd.MarkFlagRequired("to")
	}
	return cmd
}

func (c *cli) printLines(e *archive.Elimination) error {
	return c.table(func(w io.Writer) {
		fmt.Fprintln(w, "NUMBERS\tORIGINATING AGENCY\tRULES\tUNITS\tOBJECTS\tBYTES\tDATES\tDUE")
		for _, l := range e.Lines {
			dates := "-"
			if l.From != "" || l.To != "" {
				dates = l.From + " to " + l.To
			}
			fmt.Fprintf(w, "%d-%d\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", l.First, l.First+l.Units-1, dash(l.Agency), strings.Join(l.Rules, " "), l.Units, l.Objects, bytesText(l.Bytes), dates, l.Due)
		}
	})
}

// requestsCmd names the requests of a kind.
func (c *cli) requestsCmd(kind archive.RequestKind) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Name the requests, and how far each is",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				kinds := []archive.RequestKind{kind}
				if kind == archive.ForElimination {
					kinds = append(kinds, archive.ForPaper)
				}
				all, err := a.Eliminations(tenant, kinds...)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(append([]*archive.Elimination{}, all...))
				}
				return c.table(func(w io.Writer) {
					for _, e := range all {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d units\t%d refused\n", e.ID, e.Kind, e.Steps[0].Time.Format(time.DateOnly), e.State(), e.Units, len(e.Refusals))
					}
				})
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	return cmd
}

// requestCmd shows a request of a kind.
func (c *cli) requestCmd(kind archive.RequestKind) *cobra.Command {
	var units bool
	cmd := &cobra.Command{
		Use:   "show " + strings.ToUpper(kind.String()),
		Short: "Show a request: its lines, its steps; with --units its numbered list, as things stand today",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				e, err := a.Elimination(args[0])
				if err != nil {
					return err
				}
				if units {
					return c.printListed(cmd, a, e.ID)
				}
				if c.json {
					return c.printJSON(e)
				}
				if verbs[e.Kind] != verbs[kind] {
					return fmt.Errorf("%s is a request of another kind: sae %s show", e.ID, verbs[e.Kind])
				}
				c.printf("%s %s of tenant %s, for %s: %s\n", e.Kind, e.ID, e.Tenant, e.At, e.State())
				if e.To != "" {
					c.printf("to %s\n", e.To)
				}
				if err := c.printLines(e); err != nil {
					return err
				}
				for _, s := range e.Steps {
					if err := c.printStep(a, s); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&units, "units", false, "the numbered list")
	return cmd
}

func (c *cli) printStep(a *archive.Archive, s archive.StepTaken) error {
	words, err := a.StepWords(s)
	if err != nil {
		return err
	}
	c.printf("%s  %s by %s (ledger entry %d)", s.Time.Format(time.RFC3339), s.Step, s.Agent, s.Entry)
	if words.Reason != "" {
		c.printf(": %s", words.Reason)
	}
	c.printf("\n")
	if words.Bordereau != "" {
		c.printf("    bordereau: unit %s\n", words.Bordereau)
	}
	if s.Step == archive.ExecutedStep {
		c.printf("    destroyed: %d, kept: %d\n", words.Destroyed, len(words.Kept))
	}
	for _, p := range words.Packages {
		c.printf("    package: %s, %d units of operation %s (ledger entry %d)\n", p.Message, p.Units, p.Operation, p.Entry)
	}
	for _, k := range words.Kept {
		c.printf("    kept: %d: %s\n", k.Number, k.Reason)
	}
	for _, r := range words.Refused {
		c.printf("    refused: %s: %s\n", numbersText(r.Numbers), r.Reason)
	}
	return nil
}

// verbs are the verbs of each kind of request.
var verbs = map[archive.RequestKind]string{archive.ForElimination: "eliminate", archive.ForPaper: "eliminate", archive.ForTransfer: "transfer"}

func (c *cli) printListed(cmd *cobra.Command, a *archive.Archive, id string) error {
	enc := json.NewEncoder(c.out)
	return c.reader(a).EachListed(cmd.Context(), id, func(u archive.ListedUnit) error {
		if c.json {
			return enc.Encode(u)
		}
		state := "destroyed"
		if u.Now != nil {
			state = string(u.Now.Verdict)
		}
		if u.Refused {
			state = "refused"
		}
		c.printf("%6d  %s  %-10s  %s\n", u.Number, u.Unit, state, u.Title)
		return nil
	})
}

func (c *cli) eliminateStepCmd(use, short string, step archive.EliminationStep) *cobra.Command {
	var text archive.StepText
	var refused []string
	cmd := &cobra.Command{
		Use:   use + " ELIMINATION",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, s := range refused {
				r, err := parseRefused(s)
				if err != nil {
					return err
				}
				text.Refused = append(text.Refused, r)
			}
			return c.open(false, func(a *archive.Archive) error {
				e, err := a.StepElimination(cmd.Context(), c.agent, args[0], step, text)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(e)
				}
				last := e.Steps[len(e.Steps)-1]
				c.printf("%s %s: %s (ledger entry %d); units: %d, refused: %d\n", e.Kind, e.ID, e.State(), last.Entry, e.Units, len(e.Refusals))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&text.Reason, "reason", "", "why; kept enciphered")
	if step == archive.Agreed || step == archive.Visaed {
		cmd.Flags().StringArrayVar(&refused, "refuse", nil, "units that are refused, and why: 3,7-12:REASON; may be given again")
		cmd.Flags().StringVar(&text.Bordereau, "bordereau", "", "unit that holds the bordereau as it was signed: deposit it first")
	}
	return cmd
}

func (c *cli) bordereauCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "bordereau ELIMINATION -o FILE.pdf",
		Short: "Write the bordereau d'élimination of a request as PDF, in French, to be signed",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				return usagef("name the file with --out")
			}
			return c.open(true, func(a *archive.Archive) error {
				e, err := a.Elimination(args[0])
				if err != nil {
					return err
				}
				pdf, err := printed.Bordereau(a, e)
				if err != nil {
					return err
				}
				if err := c.writeNew(out, func(w io.Writer) error { _, err := w.Write(pdf); return err }); err != nil {
					return err
				}
				c.printf("bordereau of %s written to %s\n", e.ID, out)
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "file; it must not exist")
	return cmd
}

func (c *cli) eliminationMessageCmd() *cobra.Command {
	var r archive.MessageRequest
	var version, out string
	cmd := &cobra.Command{
		Use:   "message ELIMINATION -o FILE.xml",
		Short: "Write a message of SEDA about a request: to agree, to visa, or that units were destroyed",
		Long: `Write a message of SEDA about a request. --kind originating-agency is the
AuthorizationOriginatingAgencyRequest, control-authority the
AuthorizationControlAuthorityRequest; both name the units that nobody refused.
notification is the ArchiveDestructionNotification, and names those that were destroyed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := seda.ParseVersion(version)
			if err != nil {
				return usagef("%v", err)
			}
			if out == "" {
				return usagef("name the file with --out")
			}
			r.Version = v
			return c.open(true, func(a *archive.Archive) error {
				m, err := a.EliminationMessage(args[0], r)
				if err != nil {
					return err
				}
				if err := c.writeNew(out, m.Write); err != nil {
					return err
				}
				c.printf("%s of %d units written to %s\n", m.Name, len(m.Units)+requested(m), out)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&r.Kind, "kind", "", "originating-agency, control-authority or notification")
	cmd.Flags().StringVar(&r.Agency, "originating-agency", "", "originating agency whose units are named (default the only one)")
	cmd.Flags().StringVar(&r.To, "control-authority", "", "identifier of the control authority")
	cmd.Flags().StringVar(&version, "seda", "2.2", "version of SEDA: 2.1, 2.2 or 2.3")
	cmd.Flags().StringVarP(&out, "out", "o", "", "file; it must not exist")
	return cmd
}

func (c *cli) eliminationReplyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "reply ELIMINATION REPLY.xml",
		Short: "Take the step that a reply in SEDA says: agree, visa or refuse",
		Long: `Take the step that an AuthorizationOriginatingAgencyRequestReply or an
AuthorizationControlAuthorityRequestReply says, as the person who has the role for it: ReplyCode
OK agrees or visas, KO refuses. Units are refused one by one with agree or visa --refuse.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := c.files.Open(args[1])
			if err != nil {
				return err
			}
			defer f.Close()
			var findings seda.Findings
			m, err := seda.ReadMessage(f, seda.Tolerant, &findings)
			if err != nil {
				return err
			}
			if findings.Refused() {
				for _, f := range findings.List {
					c.printFinding(f)
				}
				return fmt.Errorf("%s is not a message of SEDA as it should be: nothing was done", args[1])
			}
			return c.open(false, func(a *archive.Archive) error {
				e, err := a.ReplyToElimination(cmd.Context(), c.agent, args[0], m)
				if err != nil {
					return err
				}
				return c.told(e, "%s %s: %s (ledger entry %d)\n", e.Kind, e.ID, e.State(), e.Steps[len(e.Steps)-1].Entry)
			})
		},
	}
}

// requested is how many units an authorisation is asked for.
func requested(m *seda.Message) int {
	if m.Request == nil {
		return 0
	}
	return len(m.Request.Units)
}

func (c *cli) eliminateExecuteCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "execute ELIMINATION",
		Short: "Destroy what has its visa, as an archivist who took no other step",
		Long: `Destroy what has its visa: data keys, all rows, all copies in all offers; a tombstone
without personal data stays. Every unit is looked at again before it goes: a rule, a hold or a
unit below it that came meanwhile keeps it, and the outcome says so. Stopped at any point, run
it again: it goes on from there. Of paper, --reason says how it is destroyed, by whom, under
which reference: its copies are read first, each from the first byte to the last.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error {
				if done, err := c.finishExecuted(cmd.Context(), a, args[0]); done || err != nil {
					return err
				}
				x, err := a.ExecuteElimination(cmd.Context(), c.agent, args[0], reason, nil)
				if err != nil {
					return err
				}
				if x.Kind == archive.ForPaper {
					return c.printPaperExecuted(x)
				}
				cert, err := c.certify(cmd.Context(), a, x.Elimination, x.Destroyed)
				if err != nil {
					return fmt.Errorf("elimination %s was executed, without a certificate as yet: %w", x.Elimination, err)
				}
				if c.json {
					return c.printJSON(executedJSON{x, cert})
				}
				c.printExecuted("elimination", x)
				for _, e := range x.Exports {
					c.printf("handed out before: %d units by %s of %s, operation %s (ledger entry %d): others may hold copies\n", e.Units, e.Message, e.Time.Format(time.RFC3339), e.Operation, e.Entry)
				}
				if cert != nil {
					c.printf("destruction certificate: record %s (ledger entry %d); sae eliminate certificate %s -o FILE\n", cert.Record, cert.Entry, x.Elimination)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "of paper: how it is destroyed; kept enciphered")
	return cmd
}

// finishExecuted says that an elimination was executed before, and makes its certificate when
// that is still to be done: whoever was stopped in between runs the same command again.
func (c *cli) finishExecuted(ctx context.Context, a *archive.Archive, id string) (done bool, err error) {
	e, err := a.Elimination(id)
	if err != nil || e.Kind != archive.ForElimination || e.State() != archive.ExecutedStep && e.State() != archive.Certified {
		return false, err
	}
	if e.State() == archive.ExecutedStep {
		if _, err := c.certify(ctx, a, id, e.Steps[len(e.Steps)-1].Destroyed); err != nil {
			return true, fmt.Errorf("elimination %s was executed, without a certificate as yet: %w", id, err)
		}
		if e, err = a.Elimination(id); err != nil {
			return true, err
		}
	}
	return true, c.told(e, "elimination %s: executed before; sae eliminate show %s says what became of it\n", id, id)
}

func (c *cli) printPaperExecuted(x *archive.Executed) error {
	if c.json {
		return c.printJSON(x)
	}
	c.printf("paper %s: executed (ledger entry %d); units whose paper was destroyed: %d, kept: %d\n", x.Elimination, x.Entry, x.Destroyed, len(x.Kept))
	c.printKept(x.Kept)
	return nil
}

// printExecuted says what came of a request of which units were destroyed.
func (c *cli) printExecuted(kind string, x *archive.Executed) {
	c.printf("%s %s: executed (ledger entry %d); units destroyed: %d, kept: %d\n", kind, x.Elimination, x.Entry, x.Destroyed, len(x.Kept))
	c.printKept(x.Kept)
	c.printf("copies deleted: %d, still to be deleted: %d\n", x.Deleted, x.Waiting)
	if x.Left != "" {
		c.printf("%s\n", x.Left)
	}
}

func (c *cli) printKept(kept []archive.Kept) {
	for _, k := range kept {
		c.printf("kept  %d  %s  %s\n", k.Number, k.Unit, k.Reason)
		for _, r := range k.Reasons {
			c.printf("    %s\n", reasonText(r))
		}
	}
}

// maxRefusedRange bounds the numbers of one range.
const maxRefusedRange = 1_000_000

// parseRefused reads 3,7-12:REASON.
func parseRefused(s string) (r archive.RefusedUnits, err error) {
	numbers, reason, ok := strings.Cut(s, ":")
	if !ok {
		return r, usagef("--refuse %q: want numbers and a reason, for example 3,7-12:REASON", s)
	}
	r.Reason = strings.TrimSpace(reason)
	for part := range strings.SplitSeq(numbers, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		from, err := strconv.ParseInt(first, 10, 64)
		to := from
		if err == nil && isRange {
			to, err = strconv.ParseInt(last, 10, 64)
		}
		if err != nil || from < 1 || to < from || to-from >= maxRefusedRange {
			return r, usagef("--refuse %q: %q is not a number, nor a range of at most %d", s, part, maxRefusedRange)
		}
		for n := from; n <= to; n++ {
			r.Numbers = append(r.Numbers, n)
		}
	}
	return r, nil
}

// numbersText writes sorted numbers as parseRefused reads them.
func numbersText(numbers []int64) string {
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, fmt.Sprint(numbers[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", numbers[i], numbers[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}
