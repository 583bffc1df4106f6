package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sae/archive"
)

const killProcedure = `id: OWN
name: Aide facultative
channels: [digital]
rules: {appraisal: [AIDE-REFUSEE]}
processing: {purpose: p, legal-basis: b, data-subjects: [s], data: [d]}
documents: [{id: form, name: Formulaire, expected: true}]
events: [{id: decision, name: Décision, trigger: last-decision, repeats: true}]
`

// TestKillErasure kills the real program at random moments while it erases a person, until it comes to
// its end: then everything of the person is gone, with the record and what the request said, and
// everything of another is there.
func TestKillErasure(t *testing.T) {
	k := &killer{t: t, program: buildProgram(t), dir: filepath.Join(t.TempDir(), "archive"), work: t.TempDir(), seen: map[string]bool{}}
	k.run(0, nil, "init")
	config := filepath.Join(k.dir, "sae.yaml")
	b, err := os.ReadFile(config)
	if err == nil {
		roles := "    roles: {archivist: [alice, dave], data-protection-officer: [dora]}\n    accept-unknown:"
		err = os.WriteFile(config, []byte(strings.Replace(string(b), "    accept-unknown:", roles, 1)), 0o600)
	}
	procedure := filepath.Join(k.work, "own.yaml")
	if err == nil {
		err = os.WriteFile(procedure, []byte(killProcedure), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	k.run(0, nil, "--as", "alice", "rules", "import", "--starting")
	k.run(0, nil, "--as", "alice", "procedure", "add", procedure)
	const units = 600
	subjects := map[string]string{}
	for _, who := range []string{"goes", "stays"} {
		for i := range units {
			path := filepath.Join(k.work, who, fmt.Sprint(i, ".txt"))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(fmt.Sprint(who, i)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		subjects[who] = idIn(t, `h[a-z2-7]{26}`, k.run(0, nil, "--as", "alice", "subject", "new", "--family-name", "Quatrebarbes-"+who))
		k.run(0, nil, "--as", "alice", "file", "open", "--procedure", "OWN", "--number", who, "--subject", subjects[who])
		args := []string{"--as", "alice", "deposit", "--file", who, "--document", "form"}
		for i := range units {
			args = append(args, filepath.Join(k.work, who, fmt.Sprint(i, ".txt")))
		}
		k.run(0, nil, args...)
		k.run(0, nil, "--as", "alice", "file", "event", who, "decision", "--day", "2015-02-03")
	}
	q := idIn(t, `q[a-z2-7]{26}`, k.run(0, nil, "--as", "alice", "request", "open", "--article", "17", "--subject", subjects["goes"]))
	letter := filepath.Join(k.work, "letter.pdf")
	k.run(0, nil, "--as", "alice", "request", "identify", q, "--method", "m")
	k.run(0, nil, "--as", "alice", "request", "analyse", q)
	k.run(0, nil, "--as", "dora", "request", "decide", q, "--outcome", "granted", "--basis", "b")
	if err := os.WriteFile(letter, []byte("%PDF-"), 0o600); err != nil {
		t.Fatal(err)
	}
	k.run(0, nil, "--as", "dora", "request", "answer", q, "--letter", letter)
	kills := 0
	for done := false; !done; kills++ {
		if kills > 300 {
			t.Fatal("it does not come to its end")
		}
		k.run(time.Duration(20+rand.IntN(40+20*kills))*time.Millisecond, nil, "--as", "dave", "request", "execute", q)
		a, err := archive.Open(k.dir, archive.Options{Command: "check"})
		if err != nil {
			t.Fatal(err)
		}
		r, err := a.DataRequest(q)
		if err != nil {
			t.Fatal(err)
		}
		done = r.Purged != 0
		// The record is there while the file is.
		s, err := a.Subject(subjects["goes"])
		if gone := errors.Is(err, archive.ErrNotFound); err != nil && !gone || done && !gone {
			t.Errorf("%+v %v", s, err)
		}
		if _, left := a.FileOf("", "goes"); left == nil && err != nil {
			t.Error("the record went before the file:", err)
		}
		a.Close()
	}
	a, err := archive.Open(k.dir, archive.Options{Command: "check"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.Subject(subjects["goes"]); !errors.Is(err, archive.ErrNotFound) {
		t.Error("the record is still there:", err)
	}
	s, err := a.Subject(subjects["stays"])
	if err != nil || len(s.Files) != 1 {
		t.Errorf("%+v %v", s, err)
	}
	st, err := a.Status()
	if err != nil || st.Units < units+1 || st.Units > units+2 { // the certificate's record may be one
		t.Errorf("%d units are left, %v", st.Units, err)
	}
	k.noOrphans(a)
	if r, err := a.Audit(context.Background(), "test", archive.AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r, err)
	}
	if f, err := a.Fsck(context.Background()); err != nil || len(f.Findings) > 0 {
		t.Errorf("%+v %v", f, err)
	}
	t.Logf("%d runs", kills)
}

func idIn(t *testing.T, form string, lines []string) string {
	t.Helper()
	id := regexp.MustCompile(form).FindString(strings.Join(lines, ""))
	if id == "" {
		t.Fatalf("no identifier in %q", lines)
	}
	return id
}
