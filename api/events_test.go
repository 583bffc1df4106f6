package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sae/archive"
)

type feed struct {
	Events []CloudEvent `json:"events"`
	Next   string       `json:"next"`
}

// TestEvents: each deposit of a tenant is told once, in order, page by page; another tenant's is not.
func TestEvents(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	var want []string
	for i := range 7 {
		want = append(want, s.deposited(key, fmt.Sprint(i), "x").Units[0].ID)
		s.deposited(s.key("cd98", archive.Depositor), fmt.Sprint(i), "x")
	}
	var got []string
	from := "0"
	for {
		f := decode[feed](t, s.ask(key, "GET", fmt.Sprintf("/v1/events?limit=2&from=%s", from), nil).body)
		if len(f.Events) == 0 {
			break
		}
		for _, e := range f.Events {
			if e.Type == "sae.deposit" {
				got = append(got, e.Data.Units...)
			}
			if e.SpecVersion != "1.0" || e.ID != fmt.Sprint(e.Data.Entry) || strings.Contains(e.Type, "apikey") {
				t.Errorf("%+v", e)
			}
		}
		from = f.Next
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	told := make(chan feed)
	go func() {
		told <- decode[feed](t, s.ask(key, "GET", fmt.Sprintf("/v1/events?wait=30&from=%s", from), nil).body)
	}()
	d := s.deposited(key, "later", "x")
	if f := <-told; len(f.Events) != 1 || f.Events[0].Data.Entry != d.Entry || f.Next != fmt.Sprintf("%d.0", d.Entry+1) {
		t.Errorf("who waits is told %+v", f)
	}
	if r := s.deposit(key, "sealed", "x", "Prefer", "wait=50"); r.StatusCode != 201 {
		t.Fatal(r.Status)
	}
	f := decode[feed](t, s.ask(key, "GET", fmt.Sprintf("/v1/events?from=%d", d.Entry+2), nil).body)
	if len(f.Events) != 1 || f.Events[0].Type != "sae.seal" || f.Events[0].Data.Seal.Leaves < 2 {
		t.Errorf("%+v", f)
	}
}
