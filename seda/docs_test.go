package seda

import (
	"os"
	"strings"
	"testing"
)

// TestDocumented: docs/seda.md has every code of a finding.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/seda.md")
	if err != nil {
		t.Fatal(err)
	}
	for code := range sentences {
		if !strings.Contains(string(b), "| `"+string(code)+"` |") {
			t.Errorf("%s is not in docs/seda.md", code)
		}
	}
}
