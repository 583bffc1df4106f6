package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/retention"
)

func (c *cli) retentionCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retention",
		Short: "What applies to a unit, what is due, what falls due when",
	}
	cmd.AddCommand(c.explainCmd(), c.dueCmd(), c.calendarCmd(), c.retentionStartCmd(), c.actsCmd("starts", "The starts that were set", archive.StartAct), c.sampleCmd(), c.actsCmd("samples", "The samples that were drawn", archive.SampleAct))
	return cmd
}

func today() string { return time.Now().Format(time.DateOnly) }

func (c *cli) explainCmd() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:   "explain ID",
		Short: "Say rule by rule what applies to a unit, from where, until when, and what may become of it",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				r, err := c.reader(a).Retention(args[0], at)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(r)
				}
				return c.printRetention(r)
			})
		},
	}
	cmd.Flags().StringVar(&at, "at", today(), "day for which it is asked")
	return c.purposeFlags(cmd)
}

func (c *cli) printRetention(r *archive.Retention) error {
	c.printf("%s  %s\n", r.Unit, r.Title)
	err := c.table(func(w io.Writer) {
		for _, category := range retention.Categories {
			in := r.Categories[category]
			for _, rule := range in.Rules {
				known := "not in the schedule"
				if rule.HoldReason != "" {
					known = rule.HoldReason
				}
				if v, ok := r.Schedule[rule.Rule]; ok {
					known = fmt.Sprintf("%s, version %d", durationText(v.Rule), v.Version)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", category, rule.Rule, known, periodText(rule.Applied), fromText(rule.From, r.Unit))
			}
			for _, p := range in.Properties {
				fmt.Fprintf(w, "%s\t%s\t%s\t\t%s\n", category, p.Name, p.Value, fromText(p.From, r.Unit))
			}
		}
	})
	if err != nil {
		return err
	}
	c.printf("on %s: %s\n", r.At, verdictText(r.Assessment))
	for _, reason := range r.Assessment.Reasons {
		c.printf("  %s\n", reasonText(reason))
	}
	return nil
}

func periodText(a retention.Applied) string {
	start, end := a.Start, a.End
	if start == "" {
		start = "no start"
	}
	if end == "" {
		end = "no end"
	}
	return start + " to " + end
}

// fromText says from where something comes to a unit.
func fromText(f retention.From, unit string) string {
	if f.Unit == unit {
		return "own"
	}
	shortest := slices.MinFunc(f.Paths, func(x, y []string) int { return len(x) - len(y) })
	out := fmt.Sprintf("from %s, %d above", f.Unit, len(shortest)-1)
	if len(f.Paths) > 1 {
		out += fmt.Sprintf(" (%d paths)", len(f.Paths))
	}
	return out
}

func verdictText(a retention.Assessment) string {
	if a.Due == "" {
		return string(a.Verdict)
	}
	return fmt.Sprintf("%s (every retention is over on %s)", a.Verdict, a.Due)
}

func reasonText(r retention.Reason) string {
	what := map[retention.ReasonCode]string{
		retention.Held:           "it is held",
		retention.RuleRuns:       "a retention is not over",
		retention.NoEnd:          "a retention has no start yet, or no end",
		retention.NoRule:         "no retention applies: it is never destroyed",
		retention.KeepWins:       "its final action is Keep",
		retention.ActionsDiffer:  "one final action says Keep, another does not",
		retention.AgenciesDiffer: "what one originating agency lets go another keeps",
	}[r.Code]
	for _, x := range []struct{ name, value string }{{"rule", r.Rule}, {"of", r.Unit}, {"agency", r.Agency}, {"until", r.Date}} {
		if x.value != "" {
			what += ", " + x.name + " " + x.value
		}
	}
	return string(r.Code) + ": " + what
}

func (c *cli) dueCmd() *cobra.Command {
	var tenant, at, verdict string
	cmd := &cobra.Command{
		Use:   "due",
		Short: "Name the units of which a retention is over, and what may become of each",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(true, func(a *archive.Archive) error {
				count := map[retention.Verdict]int{}
				enc := json.NewEncoder(c.out)
				err := c.reader(a).Due(cmd.Context(), tenant, at, func(u archive.DueUnit) error {
					count[u.Assess.Verdict]++
					if verdict != "" && string(u.Assess.Verdict) != verdict {
						return nil
					}
					if c.json {
						return enc.Encode(u)
					}
					c.printf("%s  %-10s  %-10s  %s  %s\n", u.ID, u.Assess.Verdict, u.Assess.Due, strings.Join(u.Rules, " "), u.Title)
					return nil
				})
				if err != nil || c.json {
					return err
				}
				var parts []string
				for _, v := range slices.Sorted(maps.Keys(count)) {
					parts = append(parts, fmt.Sprintf("%d %s", count[v], v))
				}
				if len(parts) == 0 {
					parts = []string{"nothing is due"}
				}
				c.printf("on %s: %s\n", at, strings.Join(parts, ", "))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().StringVar(&at, "at", today(), "day for which it is asked")
	cmd.Flags().StringVar(&verdict, "verdict", "", "only these: eliminable, to sort, to keep, not due, conflict")
	return c.purposeFlags(cmd)
}

func (c *cli) calendarCmd() *cobra.Command {
	var tenant, out string
	cmd := &cobra.Command{
		Use:   "calendar",
		Short: "Count the units whose retention ends in each year, by what then becomes of them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(true, func(a *archive.Archive) error {
				lines, err := a.Calendar(cmd.Context(), tenant)
				if err != nil {
					return err
				}
				switch ext := strings.ToLower(filepath.Ext(out)); {
				case out != "" && ext == ".csv":
					return c.writeNew(out, func(w io.Writer) error { return calendarCSV(w, lines) })
				case out != "" && ext == ".svg":
					return c.writeNew(out, func(w io.Writer) error { return calendarSVG(w, lines) })
				case out != "":
					return usagef("--out %s: want a file that ends in .csv or .svg", out)
				case c.json:
					return c.printJSON(lines)
				}
				return c.table(func(w io.Writer) {
					fmt.Fprintln(w, "YEAR\tUNITS\tBYTES\tTHEN")
					for _, l := range lines {
						fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", yearText(l.Year), l.Units, bytesText(l.Bytes), actionsText(l.Actions))
					}
				})
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().StringVarP(&out, "out", "o", "", "file to write, .csv or .svg; it must not exist")
	return cmd
}

func yearText(year int) string {
	if year == 0 {
		return "unknown"
	}
	return strconv.Itoa(year)
}

func actionsText(actions map[string]int64) string {
	var out []string
	for _, a := range slices.Sorted(maps.Keys(actions)) {
		name := a
		if name == "" {
			name = "undecided"
		}
		out = append(out, fmt.Sprintf("%s %d", name, actions[a]))
	}
	return strings.Join(out, ", ")
}

// calendarActions are the columns of the calendar's CSV, and the parts of its bars.
var calendarActions = []struct{ name, colour string }{{"Keep", "#2b6cb0"}, {"Sort", "#d69e2e"}, {"Destroy", "#c53030"}, {"several", "#805ad5"}, {"", "#a0aec0"}}

func calendarCSV(w io.Writer, lines []archive.CalendarLine) error {
	out := csv.NewWriter(w)
	head := []string{"year", "units", "bytes"}
	for _, a := range calendarActions {
		if a.name == "" {
			a.name = "undecided"
		}
		head = append(head, a.name)
	}
	out.Write(head)
	for _, l := range lines {
		row := []string{yearText(l.Year), fmt.Sprint(l.Units), fmt.Sprint(l.Bytes)}
		for _, a := range calendarActions {
			row = append(row, fmt.Sprint(l.Actions[a.name]))
		}
		out.Write(row)
	}
	out.Flush()
	return out.Error()
}

// calendarSVG draws a bar a year.
func calendarSVG(w io.Writer, lines []archive.CalendarLine) error {
	const bar, gap, height, left = 26, 8, 240, 60
	most := int64(1)
	for _, l := range lines {
		most = max(most, l.Units)
	}
	var b strings.Builder
	width := left + len(lines)*(bar+gap) + 140
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", width, height+60)
	fmt.Fprintf(&b, `<title>Units whose retention ends, by year</title>`+"\n")
	fmt.Fprintf(&b, `<text x="4" y="20">%d</text><line x1="%d" y1="16" x2="%d" y2="16" stroke="#ddd"/>`+"\n", most, left-10, width-140)
	for i, l := range lines {
		x, y := left+i*(bar+gap), height+16
		for _, a := range calendarActions {
			h := int(l.Actions[a.name] * height / most)
			y -= h
			if h > 0 {
				fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", x, y, bar, h, a.colour)
			}
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", x+bar/2, height+32, yearText(l.Year))
	}
	for i, a := range calendarActions {
		name := a.name
		if name == "" {
			name = "undecided"
		}
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="10" height="10" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", width-120, 20+18*i, a.colour, width-104, 29+18*i, name)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *cli) sampleCmd() *cobra.Command {
	var r archive.SampleRequest
	cmd := &cobra.Command{
		Use:   "sample --rule RULE",
		Short: "Sort: choose what is kept of the units under a rule whose final action is Sort, as an archivist",
		Long: `Sort the units that declare a rule whose final action is Sort, and of which every retention
is over: a sample is kept, by the rule's method and by hand, and the rest may be eliminated.
What is chosen among are the topmost units that declare the rule; what is in them follows. A
seed is drawn and entered into the ledger, with the root over the candidates, before anything
is chosen. "sae retention samples take-back" undoes it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(false, func(a *archive.Archive) error {
				s, err := a.Sample(cmd.Context(), c.agent, r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(s)
				}
				c.printf("sample %s: %d of %d kept (seed in ledger entry %d, sample in %d)\n", s.Act, len(s.Kept), s.Candidates, s.SeedEntry, s.Entry)
				for _, id := range s.Kept {
					c.printf("kept  %s\n", id)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&r.Tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().StringVar(&r.Rule, "rule", "", "appraisal rule with final action Sort")
	cmd.Flags().StringVar(&r.At, "at", today(), "day on which every retention must be over")
	cmd.Flags().StringSliceVar(&r.Picks, "pick", nil, "units that are kept whatever the method says")
	cmd.Flags().StringVar(&r.Reason, "reason", "", "why, and by which decision; kept enciphered")
	return cmd
}
