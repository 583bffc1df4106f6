package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sae/archive"
)

// TestKillReading kills the program while it reads, and while it takes in who read: what was given
// out is in the log, once.
func TestKillReading(t *testing.T) {
	rounds := min(*killRounds, 40)
	if testing.Short() {
		rounds = min(rounds, 5)
	}
	k := &killer{t: t, program: buildProgram(t), dir: filepath.Join(t.TempDir(), "archive"), work: t.TempDir()}
	k.run(0, nil, "init")
	config := filepath.Join(k.dir, archive.ConfigName)
	b, err := os.ReadFile(config)
	if err == nil {
		err = os.WriteFile(config, []byte(strings.Replace(string(b), "    accept-unknown:", "    roles: {data-protection-officer: [dpo]}\n    accept-unknown:", 1)), 0o600)
	}
	file := filepath.Join(k.work, "a.txt")
	if err == nil {
		err = os.WriteFile(file, []byte("all of it\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var d depositLine
	if err := json.Unmarshal([]byte(k.run(0, nil, "deposit", "--json", file)[0]), &d); err != nil {
		t.Fatal(err)
	}
	given := map[string]bool{} // by who read
	for round := range rounds {
		for i := range 3 {
			who := fmt.Sprint("reader-", round, "-", i)
			if out := k.run(time.Duration(5+rand.IntN(40))*time.Millisecond, nil, "--as", who, "get", d.Units[0].ID); len(out) > 0 {
				given[who] = true
			}
		}
		k.run(time.Duration(5+rand.IntN(60))*time.Millisecond, nil, "--as", "dpo", "gdpr", "log")
	}
	logged := map[string]int{}
	for _, line := range k.run(0, nil, "--as", "dpo", "--json", "gdpr", "log") {
		var x archive.Access
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatal(err)
		}
		logged[x.Name]++
	}
	for who := range given {
		if logged[who] != 1 {
			t.Errorf("what %s read is in the log %d times", who, logged[who])
		}
	}
	for who, n := range logged {
		if n > 1 && who != "dpo" {
			t.Errorf("%s is in the log %d times", who, n)
		}
	}
	k.run(0, nil, "gdpr", "verify-log")
	k.run(0, nil, "audit")
	t.Logf("%d rounds: %d readings given out, %d logged", rounds, len(given), len(logged))
}
