package archive

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sae/retention"
)

var benchUnits = flag.Int("retention.units", 100_000, "units of BenchmarkRetention")

// fiveLevels are n units in five levels: offices, years, files, sub-files, documents without content.
// Rules stand with the files; a file in a hundred is due in 2020, all are in 2060.
func fiveLevels(n int) (units []NewUnit) {
	fan := 2
	for fan*fan*fan*fan < n {
		fan++
	}
	level := []int{-1}
	for depth := range 5 {
		var next []int
		for _, parent := range level {
			for range fan {
				if len(units) == n {
					return units
				}
				u := NewUnit{Parent: parent, Title: fmt.Sprintf("unit %d of level %d", len(units), depth)}
				if depth == 2 {
					u.Rule, u.RuleStart = "EXAMPLE-5Y", "2050-01-01"
					if len(units)%100 == 0 {
						u.RuleStart = "2010-01-01"
					}
				}
				next = append(next, len(units))
				units = append(units, u)
			}
		}
		level = next
	}
	return units
}

// BenchmarkRetention says what is due of many units, few and all of them, and destroys 10,000. Its
// floor is reading every unit once. Run it with -retention.units 1000000 for a large archive.
func BenchmarkRetention(b *testing.B) {
	ctx := context.Background()
	dir := filepath.Join(b.TempDir(), "archive")
	if _, err := Create(dir, New{}); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(dir, "sae.yaml")
	config, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(strings.Replace(string(config), "    accept-unknown:", "    roles: {archivist: [alice, dave], originating-agency: [bob], control-authority: [carol]}\n    accept-unknown:", 1)), 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	a, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	units := fiveLevels(*benchUnits)
	if _, err := a.Deposit(ctx, "bench", Deposit{Units: units}); err != nil {
		b.Fatal(err)
	}
	total := len(units)
	units = nil
	due := func(b *testing.B, at string) (n int, verdicts map[retention.Verdict]int) {
		verdicts = map[retention.Verdict]int{}
		err := a.Due(ctx, "", at, func(u DueUnit) error { n++; verdicts[u.Assess.Verdict]++; return nil })
		if err != nil {
			b.Fatal(err)
		}
		return n, verdicts
	}
	b.Run("floor=read-every-unit", func(b *testing.B) {
		for b.Loop() {
			n := 0
			err := a.cat.view(func(t *tx) error {
				return t.eachUnit(func(r *unitRecord) error { n++; _, err := a.unit(t, r.Unit, 0); return err })
			})
			if err != nil || n != total {
				b.Fatal(n, err)
			}
		}
		b.ReportMetric(float64(total*b.N)/b.Elapsed().Seconds(), "units/s")
	})
	for _, at := range []string{"2020-01-01", "2060-01-01"} {
		b.Run("due="+at[:4], func(b *testing.B) {
			n, most := 0, uint64(0)
			runtime.GC()
			stop := peak(&most)
			for b.Loop() {
				n, _ = due(b, at)
			}
			stop()
			b.ReportMetric(float64(n), "due")
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "due/s")
			b.ReportMetric(float64(most)/(1<<20), "MiB-heap")
		})
	}
	b.Run("execute", func(b *testing.B) { benchExecute(ctx, b, a) })
}

// benchExecute destroys up to 10,000 units that are due.
func benchExecute(ctx context.Context, b *testing.B, a *Archive) {
	for b.Loop() {
		e, err := a.ProposeElimination(ctx, "alice", EliminationRequest{At: "2020-01-01"})
		if err != nil {
			b.Skip("everything that was due is destroyed: ", err)
		}
		for _, s := range []struct {
			who  string
			step EliminationStep
		}{{"bob", Agreed}, {"carol", Visaed}} {
			if _, err := a.StepElimination(ctx, s.who, e.ID, s.step, StepText{}); err != nil {
				b.Fatal(err)
			}
		}
		began := time.Now()
		x, err := a.ExecuteElimination(ctx, "dave", e.ID, "", nil)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(x.Destroyed), "destroyed")
		b.ReportMetric(float64(x.Destroyed)/time.Since(began).Seconds(), "destroyed/s")
	}
}
