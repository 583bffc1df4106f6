package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/retention"
)

func (c *cli) dataRequestCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "request",
		Short: "Requests of data subjects (GDPR art. 15 to 21): open, decide, answer, carry out",
		Long: `A person asks for access (art. 15), rectification (16), erasure (17), restriction (18) or
portability (20), or objects (21). The request is opened, the identity of who asks is checked, what
can be erased is looked at unit by unit, the data-protection officer decides, the answer is sent
within a month, and another person carries the decision out. What is said with the steps is kept
enciphered, and is destroyed when everything of the person was erased. See docs/gdpr.md.`,
	}
	cmd.AddCommand(c.requestOpenCmd(), c.requestListCmd(), c.requestShowCmd(), c.requestIdentifyCmd(), c.requestExtendCmd(), c.requestAnalyseCmd(), c.requestDecideCmd(),
		c.requestLetterCmd(), c.requestAnswerCmd(), c.requestExecuteCmd(), c.requestCertificateCmd(), c.requestWithdrawCmd(), c.requestPurgeCmd())
	return cmd
}

// requestWordsJSON is the form of --from: what a person asks, without a command line that others see.
type requestWordsJSON struct {
	Who     string   `json:"who"`
	Address []string `json:"address"`
	Wish    string   `json:"wish"`
	Channel string   `json:"channel"`
}

const maxWords = 1 << 20

// readWords reads a small JSON file, or standard input for "-", into v.
func (c *cli) readWords(path string, v any) error {
	in := c.in
	if path != "-" {
		f, err := c.files.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	d := json.NewDecoder(bufio.NewReader(io.LimitReader(in, maxWords)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", path, plainJSONError(err))
	}
	return nil
}

func (c *cli) requestOpenCmd() *cobra.Command {
	var n archive.NewRequest
	var identifier, file, from string
	var words requestWordsJSON
	cmd := &cobra.Command{
		Use:   "open --article N --subject SUBJECT",
		Short: "Open a request of a data subject",
		Long: `Open a request. --subject, or --identifier, says whose; all files of the subject are meant. --unit
adds units, with all below them, that stand outside of them. Who asks, where the answer goes and
what is asked are kept enciphered; --from FILE.json (or - for standard input) takes them from
{"who": "...", "address": ["..."], "wish": "...", "channel": "..."}, so that they do not show in the
list of processes.`,
		Example: `  sae request open --article 17 --subject h… --from demande.json
  sae request open --article 15 --identifier 'https://fournisseur.example#af31…' --received 2026-11-02`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n.Article == 0 {
				return usagef("name the article of the GDPR: --article 15, 16, 17, 18, 20 or 21")
			}
			if from != "" {
				if err := c.readWords(from, &words); err != nil {
					return err
				}
			}
			n.Words = archive.RequestWords{Who: words.Who, Address: words.Address, Wish: words.Wish, Channel: words.Channel}
			return c.open(false, func(a *archive.Archive) error {
				if err := requestSubject(a, &n, identifier, file); err != nil {
					return err
				}
				q, err := a.OpenRequest(cmd.Context(), c.agent, n)
				if err != nil {
					return err
				}
				return c.told(q, "request %s for %s, to be answered by %s (ledger entry %d)\n", q.ID, archive.Articles[q.Article], q.Due, q.Steps[0].Entry)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&n.Tenant, "tenant", "", "archival agency (default the first)")
	f.IntVar(&n.Article, "article", 0, "of the GDPR: 15, 16, 17, 18, 20 or 21")
	f.StringVar(&n.Subject, "subject", "", "data subject")
	f.StringVar(&identifier, "identifier", "", "federated identifier of the subject, ISSUER#SUB")
	f.StringVar(&file, "file", "", "citizen file, by its number: the request is of the one person whom it concerns")
	f.StringArrayVar(&n.Units, "unit", nil, "unit that it is about, with all below it; may be repeated")
	f.StringVar(&n.Received, "received", "", "day on which it came, YYYY-MM-DD (default today)")
	f.StringVar(&words.Who, "who", "", "who asks; kept enciphered")
	f.StringArrayVar(&words.Address, "address", nil, "a line of the address for the answer; may be repeated; kept enciphered")
	f.StringVar(&words.Wish, "wish", "", "what is asked; kept enciphered")
	f.StringVar(&words.Channel, "channel", "", "how it came: letter, mail, portal...")
	f.StringVar(&from, "from", "", "JSON file with who, address, wish and channel; - is standard input")
	return cmd
}

// requestSubject finds the subject of a request by an identifier, or by a file.
func requestSubject(a *archive.Archive, n *archive.NewRequest, identifier, file string) error {
	if (n.Subject != "" && identifier != "") || (file != "" && n.Subject+identifier != "") {
		return usagef("name the subject once: --subject, --identifier or --file")
	}
	switch {
	case identifier != "":
		id, err := archive.ParseFederatedID(identifier)
		if err != nil {
			return err
		}
		s, err := a.FindSubject(n.Tenant, id)
		if err != nil {
			return err
		}
		n.Subject = s.ID
	case file != "":
		persons, err := a.PersonsOf(n.Tenant, file)
		if err != nil {
			return err
		}
		if len(persons) != 1 {
			return fmt.Errorf("the file concerns %d persons: name the one who asks with --subject", len(persons))
		}
		n.Subject = persons[0]
	}
	return nil
}

func (c *cli) requestListCmd() *cobra.Command {
	var tenant string
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Name the requests that are not ended: article, state, last day for the answer",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				requests, err := c.reader(a).Requests(tenant)
				if err != nil {
					return err
				}
				shown := []*archive.Request{}
				for _, q := range requests {
					if all || !q.Ended() {
						shown = append(shown, q)
					}
				}
				if c.json {
					return c.printJSON(shown)
				}
				return c.table(func(w io.Writer) {
					for _, q := range shown {
						fmt.Fprintf(w, "%s\tart. %d %s\t%s\tdue %s%s\t%s\n", q.ID, q.Article, archive.Articles[q.Article], requestState(q), q.Due, onlyIf(q.Late(today()), " LATE"), q.Subject)
					}
				})
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().BoolVar(&all, "all", false, "those that are ended too")
	return cmd
}

func requestState(q *archive.Request) string {
	state := string(q.State())
	if q.Ended() && q.State() != archive.RequestWithdrawn {
		state = "ended"
	}
	if q.Outcome != "" {
		state += ", " + string(q.Outcome)
	}
	return state
}

func (c *cli) requestShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show REQUEST",
		Short: "Show a request: its steps, what was found of each unit, what was decided",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				s, err := c.reader(a).Request(args[0])
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(s)
				}
				return c.printRequest(s)
			})
		},
	}
}

func (c *cli) printRequest(s *archive.ShownRequest) error {
	err := c.table(func(w io.Writer) {
		line := func(name, value string) {
			if value != "" {
				fmt.Fprintf(w, "%s\t%s\n", name, strings.ReplaceAll(value, "\n", " "))
			}
		}
		line("request", s.ID)
		line("article", fmt.Sprintf("%d, %s", s.Article, archive.Articles[s.Article]))
		line("subject", s.Subject)
		line("received", s.Received)
		line("answer due", s.Due+onlyIf(s.Late(today()), ", LATE"))
		line("state", requestState(s.Request))
		line("grounds", strings.Join(s.Grounds, ", "))
		line("erasure", s.Erasure)
		line("erased later", s.Promised)
		if s.Purged != 0 {
			line("words", fmt.Sprintf("destroyed by ledger entry %d", s.Purged))
		}
		line("who", s.Who)
		line("wish", s.Wish)
		line("legal basis", s.LegalBasis)
		for _, step := range s.Steps {
			fmt.Fprintf(w, "%s\t%s (ledger entry %d)%s\n", step.Step, step.Time.UTC().Format("2006-01-02 15:04:05"), step.Entry, onlyIf(step.Name != "", " by "+step.Name))
		}
	})
	if err != nil || len(s.Findings) == 0 {
		return err
	}
	c.printf("\n")
	return c.printFindings(s.Findings)
}

func (c *cli) printFindings(all []archive.ErasureFinding) error {
	return c.table(func(w io.Writer) {
		for _, f := range all {
			why := ""
			if f.Verdict != retention.EraseNow || f.Why != "" {
				why = strings.TrimSpace(fmt.Sprintf("%s %s", f.Ground, f.Why))
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", f.Number, f.Unit, f.Verdict, orText(f.Date, "-"), orText(why, "-"), strings.Join(f.Rules, " "))
		}
	})
}

func (c *cli) requestIdentifyCmd() *cobra.Command {
	var method string
	var failed bool
	cmd := &cobra.Command{
		Use:   "identify REQUEST --method TEXT",
		Short: "Record how the identity of who asks was checked (art. 12(6))",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error {
				q, err := a.IdentifyRequest(cmd.Context(), c.agent, args[0], method, failed)
				if err != nil {
					return err
				}
				return c.told(q, "request %s: the identity is %s\n", q.ID, map[bool]string{false: "established", true: "NOT established"}[failed])
			})
		},
	}
	cmd.Flags().StringVar(&method, "method", "", "how; no numbers of documents; kept enciphered")
	cmd.Flags().BoolVar(&failed, "failed", false, "it could not be established")
	return cmd
}

func (c *cli) requestExtendCmd() *cobra.Command {
	var months int
	var reason string
	cmd := &cobra.Command{
		Use:   "extend REQUEST --months N --reason TEXT",
		Short: "Extend the time for the answer by one or two months, within the first (art. 12(3))",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error {
				q, err := a.ExtendRequest(cmd.Context(), c.agent, args[0], months, reason)
				if err != nil {
					return err
				}
				return c.told(q, "request %s is to be answered by %s; tell the person why: sae request letter --extension\n", q.ID, q.Due)
			})
		},
	}
	cmd.Flags().IntVar(&months, "months", 2, "1 or 2")
	cmd.Flags().StringVar(&reason, "reason", "", "why, as the person is told; kept enciphered")
	return cmd
}

func (c *cli) requestAnalyseCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "analyse REQUEST",
		Short: "Say unit by unit what can be erased now, later, or not, and on which ground (art. 17)",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error {
				_, an, err := a.AnalyseRequest(cmd.Context(), c.agent, args[0])
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(an)
				}
				if err := c.printFindings(an.Findings); err != nil {
					return err
				}
				count := map[retention.ErasureVerdict]int{}
				for _, f := range an.Findings {
					count[f.Verdict]++
				}
				c.printf("%d units: %d can be erased now, %d on a later day, %d are refused\n", len(an.Findings), count[retention.EraseNow], count[retention.EraseAt], count[retention.DontErase])
				return nil
			})
		},
	}
}

func (c *cli) requestDecideCmd() *cobra.Command {
	var d archive.Decision
	var outcome string
	var refuse, erase []string
	cmd := &cobra.Command{
		Use:   "decide REQUEST --outcome granted|partly|refused --basis TEXT",
		Short: "Decide, as the data-protection officer",
		Long: `Decide on a request, as the data-protection officer. Of an erasure the analysis is what is decided
on: what it says can be erased now is let go. --refuse-units NUMBERS:GROUND keeps some of it all
the same; --erase-units NUMBERS:GROUND lets go what its retention would keep, when it should never
have been there (17(1)(d) unlawful, 17(1)(e) a law orders it, 17(1)(f) a child's). Nothing on hold,
and nothing that is kept for ever in the public interest, is let go.`,
		Example: `  sae request decide q… --outcome partly --basis 'RGPD art. 17(1)(a) ; art. 17(3)(b)'
  sae request decide q… --outcome refused --ground '17(3)(b)' --basis 'code de l’action sociale et des familles, art. L232-1'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			d.Outcome = archive.Outcome(outcome)
			if d.Refuse, err = otherDecisions(refuse); err == nil {
				d.Erase, err = otherDecisions(erase)
			}
			if err != nil {
				return err
			}
			return c.open(false, func(a *archive.Archive) error {
				q, err := a.DecideRequest(cmd.Context(), c.agent, args[0], d)
				if err != nil {
					return err
				}
				return c.told(q, "request %s is %s%s%s\n", q.ID, q.Outcome, onlyIf(len(q.Grounds) > 0, ", grounds "+strings.Join(q.Grounds, ", ")), onlyIf(q.Erasure != "", ", erasure "+q.Erasure))
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&outcome, "outcome", "", "granted, partly or refused")
	f.StringSliceVar(&d.Grounds, "ground", nil, "ground of what is refused, such as 17(3)(b) or 12(6); may be repeated")
	f.StringVar(&d.LegalBasis, "basis", "", "legal basis of the decision, as the person is told")
	f.StringArrayVar(&d.Paragraphs, "paragraph", nil, "a paragraph of the answer, in your words; may be repeated")
	f.StringArrayVar(&refuse, "refuse-units", nil, "NUMBERS:GROUND, such as 3,7-12:17(3)(e)")
	f.StringArrayVar(&erase, "erase-units", nil, "NUMBERS:GROUND, such as 4:17(1)(d)")
	return cmd
}

// maxNumbers bounds the units that a decision names by number.
const maxNumbers = 100_000

// otherDecisions reads NUMBERS:GROUND.
func otherDecisions(all []string) (out []archive.OtherDecision, err error) {
	named := int64(0)
	for _, s := range all {
		numbers, ground, ok := strings.Cut(s, ":")
		if !ok {
			return nil, usagef("%q: want NUMBERS:GROUND, such as 3,7-12:17(3)(e)", s)
		}
		d := archive.OtherDecision{Ground: ground}
		for _, part := range strings.Split(numbers, ",") {
			from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
			first, err := strconv.ParseInt(from, 10, 64)
			last := first
			if err == nil && ranged {
				last, err = strconv.ParseInt(to, 10, 64)
			}
			if err != nil || first < 1 || last < first {
				return nil, usagef("%q: want numbers such as 3,7-12", numbers)
			}
			if last-first >= maxNumbers || named+last-first >= maxNumbers {
				return nil, usagef("more than %d numbers", maxNumbers)
			}
			named += last - first + 1
			for n := first; n <= last; n++ {
				d.Numbers = append(d.Numbers, n)
			}
		}
		out = append(out, d)
	}
	return out, nil
}

func (c *cli) requestLetterCmd() *cobra.Command {
	var out string
	var extension bool
	cmd := &cobra.Command{
		Use:   "letter REQUEST -o FILE.pdf",
		Short: "Write the answer to the person, in French: to be read, signed and sent",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("name the file to write: -o FILE.pdf")
			}
			return c.open(true, func(a *archive.Archive) error {
				if err := c.writeLetter(cmd.Context(), a, args[0], extension, out); err != nil {
					return err
				}
				return c.told(map[string]string{"request": args[0], "letter": out}, "letter written to %s\n", out)
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "file; it must not exist")
	cmd.Flags().BoolVar(&extension, "extension", false, "the letter that announces an extension (art. 12(3))")
	return cmd
}

func (c *cli) requestAnswerCmd() *cobra.Command {
	var letterFile, sent string
	cmd := &cobra.Command{
		Use:   "answer REQUEST --letter FILE.pdf",
		Short: "Record that the answer was sent, with the digest of the letter",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			digest := ""
			if letterFile != "" {
				b, err := c.readBounded(letterFile, 64<<20)
				if err != nil {
					return err
				}
				digest = fmt.Sprintf("%x", sha256.Sum256(b))
			}
			return c.open(false, func(a *archive.Archive) error {
				q, err := a.AnswerRequest(cmd.Context(), c.agent, args[0], digest, sent)
				if err != nil {
					return err
				}
				return c.told(q, "request %s is answered (ledger entry %d)%s\n", q.ID, q.Steps[len(q.Steps)-1].Entry, onlyIf(!q.Ended(), "; it is still to be carried out: sae request execute"))
			})
		},
	}
	cmd.Flags().StringVar(&letterFile, "letter", "", "the letter as it was sent; its digest is kept, enciphered, not the letter")
	cmd.Flags().StringVar(&sent, "sent", "", "day on which it was sent, YYYY-MM-DD (default today)")
	return cmd
}

func (c *cli) requestWithdrawCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "withdraw REQUEST --reason TEXT",
		Short: "Record that the person does not ask any more",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error {
				q, err := a.WithdrawRequest(cmd.Context(), c.agent, args[0], reason)
				if err != nil {
					return err
				}
				return c.told(q, "request %s is withdrawn\n", q.ID)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept enciphered")
	return cmd
}

func (c *cli) requestPurgeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "purge REQUEST",
		Short: "Destroy what an ended request said of the person; what it was and came to stays, as codes",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error {
				q, err := a.PurgeRequest(cmd.Context(), c.agent, args[0])
				if err != nil {
					return err
				}
				return c.told(q, "the words of request %s are destroyed (ledger entry %d)\n", q.ID, q.Purged)
			})
		},
	}
}

// requestCertificateCmd writes the certificate of an erasure.
func (c *cli) requestCertificateCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "certificate REQUEST -o FILE.json|FILE.pdf|FILE.asice",
		Short: "Write the certificate of an erasure: what was erased, when, under which decision; it names nobody",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error {
				q, err := a.DataRequest(args[0])
				if err != nil {
					return err
				}
				if q.Erasure == "" {
					return fmt.Errorf("request %s allows no erasure: there is nothing to certify", q.ID)
				}
				cert, err := a.CertificateOf(q.Erasure)
				if errors.Is(err, archive.ErrNotFound) {
					cert, err = c.certify(cmd.Context(), a, q.Erasure, 1)
				}
				if err != nil {
					return err
				}
				if out == "" {
					return c.told(cert, "certificate of erasure %s: record %s, objects %s (JSON) and %s (PDF), ledger entry %d\n", cert.Elimination, cert.Record, cert.JSON, cert.PDF, cert.Entry)
				}
				if err := c.writeNew(out, func(w io.Writer) error { return c.writeCertificate(cmd.Context(), a, cert, out, w) }); err != nil {
					return err
				}
				return c.told(cert, "certificate of erasure %s written to %s\n", cert.Elimination, out)
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "file; it must not exist")
	return cmd
}
