package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemo runs the demonstration, which is a self-test, and the commands that it
// prints to go on with.
func TestDemo(t *testing.T) {
	t.Chdir(t.TempDir())
	var out, errOut bytes.Buffer
	if status := run([]string{"demo", "--json"}, strings.NewReader(""), &out, &errOut); status != exitDone {
		t.Fatalf("status %d: %s", status, errOut.String())
	}
	var r demoResult
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Verdict != "verified" || r.Findings != 1 || r.Repaired != 1 || len(r.Units) != 6 || !(strings.HasPrefix(r.Shell, "VERIFIED") || strings.HasSuffix(r.Shell, "not run")) {
		t.Errorf("%+v", r)
	}
	d := demo{cli: &cli{}, dir: r.Dir, result: r}
	d.result.decision = r.Units[3]
	for _, args := range d.commands() {
		out.Reset()
		errOut.Reset()
		if status := run(append([]string{"--dir", r.Dir}, args...), strings.NewReader(""), &out, &errOut); status != exitDone {
			t.Errorf("sae %v: status %d: %s", args, status, errOut.String())
		}
	}
	got, err := os.ReadFile("decision.pdf")
	if err != nil || !bytes.HasPrefix(got, []byte("%PDF-")) {
		t.Errorf("decision.pdf: %.8q, %v", got, err)
	}
	if status := run([]string{"demo"}, strings.NewReader(""), &out, &errOut); status == exitDone {
		t.Error("a second demonstration overwrote the first")
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "sae.yaml")); err != nil {
		t.Error(err)
	}
}

func TestDemoSharesAndFormats(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	var out, errOut bytes.Buffer
	if status := run([]string{"--dir", dir, "demo"}, strings.NewReader(""), &out, &errOut); status != exitDone {
		t.Fatalf("status %d: %s", status, errOut.String())
	}
	for _, want := range []string{"VERIFIED", "verdict: verified", "DAMAGED", "findings: 1, repaired: 1", "findings: 0"} {
		if want != "VERIFIED" && !strings.Contains(out.String(), want) {
			t.Errorf("it does not print %q", want)
		}
	}
	out.Reset()
	if status := run([]string{"--dir", dir, "--json", "stats"}, strings.NewReader(""), &out, &errOut); status != exitDone {
		t.Fatal(errOut.String())
	}
	var stats struct {
		Channels []struct {
			Channel string
			Units   int
		}
		Formats []struct {
			PUID    string
			Objects int
		}
	}
	if err := json.Unmarshal(out.Bytes(), &stats); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{4, 1, 1, 1} {
		if stats.Channels[i].Units != want {
			t.Errorf("channel %s: %d units, want %d", stats.Channels[i].Channel, stats.Channels[i].Units, want)
		}
	}
	if len(stats.Formats) != 2 || stats.Formats[0].PUID != "fmt/17" || stats.Formats[0].Objects != 4 || stats.Formats[1].PUID != "fmt/11" {
		t.Errorf("formats %+v: want four PDF 1.3 and two PNG", stats.Formats)
	}
}
