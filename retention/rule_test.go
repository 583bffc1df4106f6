package retention

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestDurationEnd(t *testing.T) {
	for _, c := range []struct{ duration, start, end string }{
		{"P10Y", "2016-03-01", "2026-03-01"},
		{"P1Y", "2024-02-29", "2025-02-28"},
		{"P4Y", "2024-02-29", "2028-02-29"},
		{"P1M", "2026-01-31", "2026-02-28"},
		{"P18M", "2026-08-31", "2028-02-29"},
		{"P30D", "2026-12-15", "2027-01-14"},
		{"P0D", "2026-12-15", "2026-12-15"},
		{"unlimited", "2026-12-15", ""},
	} {
		d, err := ParseDuration(c.duration)
		if err != nil {
			t.Fatal(err)
		}
		end, ok := d.End(day(c.start))
		if got := end.Format(time.DateOnly); ok != (c.end != "") || ok && got != c.end {
			t.Errorf("%s from %s: %s (%v), want %s", c.duration, c.start, got, ok, c.end)
		}
	}
}

func TestParseDurationRefuses(t *testing.T) {
	for _, s := range []string{"P", "10Y", "P-1Y", "P10", "P1Y6M", "p10y", "P10Y ", "P99999Y", "Unlimited"} {
		if d, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", s, d)
		}
	}
}

func TestDurationTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 9999).Draw(t, "n")
		d := rapid.SampledFrom([]Duration{{Count: n, Unit: Years}, {Count: n, Unit: Months}, {Count: n, Unit: Days}, {Unlimited: true}, {}}).Draw(t, "d")
		back, err := ParseDuration(d.String())
		if err != nil || back != d {
			t.Fatalf("%v -> %q -> %v, %v", d, d.String(), back, err)
		}
	})
}

func TestRuleCheck(t *testing.T) {
	good := Rule{ID: "R", Duration: Duration{Count: 1, Unit: Years}, FinalAction: Destroy}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Rule){
		"no id":        func(r *Rule) { r.ID = "" },
		"no duration":  func(r *Rule) { r.Duration = Duration{} },
		"bad id":       func(r *Rule) { r.ID = "a b" },
		"bad action":   func(r *Rule) { r.FinalAction = "Burn" },
		"other action": func(r *Rule) { r.FinalAction = "Transfer" },
		"no action":    func(r *Rule) { r.Category = Access },
		"bad category": func(r *Rule) { r.Category = "Whim" },
		"bad trigger":  func(r *Rule) { r.Trigger = "birthday" + "-x" },
		"bad status":   func(r *Rule) { r.Status = "perhaps" },
		"bad day":      func(r *Rule) { r.From = "2026-02-30" },
		"ends before":  func(r *Rule) { r.From, r.Until = "2026-02-03", "2026-02-02" },
		"sample":       func(r *Rule) { r.Sampling = &Sampling{Every: 10} },
		"bad sampling": func(r *Rule) { r.FinalAction, r.Sampling = Sort, &Sampling{Every: 10, Random: 3} },
	} {
		r := good
		change(&r)
		if r.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestLatest: a retention that began on the latest day is over, one that began a day later is
// not.
func TestLatest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Duration{Count: rapid.IntRange(0, 120).Draw(t, "n"), Unit: rapid.SampledFrom([]Unit{Years, Months, Days}).Draw(t, "unit")}
		at := day("2000-01-01").AddDate(0, 0, rapid.IntRange(0, 20_000).Draw(t, "at"))
		start, ok := d.Latest(at)
		if end, _ := d.End(start); !ok || end.After(at) {
			t.Fatalf("%v at %v: began %v, ends %v", d, at, start, end)
		}
		if end, _ := d.End(start.AddDate(0, 0, 1)); !end.After(at) {
			t.Fatalf("%v at %v: began a day after %v, ends %v", d, at, start, end)
		}
	})
	for _, d := range []Duration{{}, {Unlimited: true}} {
		if _, ok := d.Latest(day("2026-01-01")); ok {
			t.Errorf("%q ends", d)
		}
	}
}

func TestStartOf(t *testing.T) {
	for trigger, want := range map[string]string{"": "2004-02-29", "death": "2004-02-29", "birthday-18": "2022-02-28", "birthday-20": "2024-02-29"} {
		r := Rule{Trigger: trigger}
		if got := r.StartOf(day("2004-02-29")).Format(time.DateOnly); got != want {
			t.Errorf("%s: %s, want %s", trigger, got, want)
		}
	}
}
