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
	for _, s := range []string{"", "P", "10Y", "P-1Y", "P10", "P1Y6M", "p10y", "P10Y ", "P99999Y", "Unlimited"} {
		if d, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", s, d)
		}
	}
}

func TestDurationTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 9999).Draw(t, "n")
		d := rapid.SampledFrom([]Duration{{Years: n}, {Months: n}, {Days: n}, {Unlimited: true}}).Draw(t, "d")
		back, err := ParseDuration(d.String())
		if err != nil || n > 0 && back != d {
			t.Fatalf("%v -> %q -> %v, %v", d, d.String(), back, err)
		}
	})
}

func TestRuleCheck(t *testing.T) {
	good := Rule{ID: "R", Duration: Duration{Years: 1}, FinalAction: Destroy}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Rule){
		"no id":        func(r *Rule) { r.ID = "" },
		"no duration":  func(r *Rule) { r.Duration = Duration{} },
		"no action":    func(r *Rule) { r.FinalAction = "" },
		"bad action":   func(r *Rule) { r.FinalAction = "Burn" },
		"bad category": func(r *Rule) { r.Category = "Whim" },
	} {
		r := good
		change(&r)
		if r.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
