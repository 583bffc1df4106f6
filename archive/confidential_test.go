package archive

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/golang/snappy"
)

// TestNothingPersonalInClear plants personal data in every field that can hold it,
// then looks for it in every byte of the archive's folder and in the log, in every
// encoding that a program could have used.
func TestNothingPersonalInClear(t *testing.T) {
	dir := createEdited(t, nil)
	var log bytes.Buffer
	a, err := Open(dir, Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	kept := true
	content := strings.Repeat("Zoltanix Quarkwind demeure a Brumeville. ", 50)
	scan := &Scan{By: "Operatrice Xylophane", Date: "2026-01-02", Device: "Appareil-Kryptonyx", Settings: "Reglage-Wolframite", PaperKept: &kept, Process: "Processus-Zirconyte", Control: "Controle-Yttrialite"}
	units := []NewUnit{
		{Parent: -1, Title: "Dossier Quarkwind", Description: "Recit-Obsidienne", Subject: "SUJET-778899", StartDate: "1980-02-29", Custom: map[string]string{"Champ-Malachite": "Valeur-Turquoise"}},
		{Parent: 0, Title: "Certificat Zoltanix", Subject: "SUJET-778899", Channel: Digital, Content: text("certificat-quarkwind.pdf", content)},
		{Parent: 0, Title: "Courrier Zoltanix", Subject: "SUJET-778899", Channel: Digitised, Scan: scan, Content: text("lettre-quarkwind.png", content+"2")},
		{Parent: 0, Title: "Acte Zoltanix", Subject: "SUJET-778899", Channel: Both, Scan: scan, Paper: &PhysicalObject{Location: "Rayon-Hematite"}, Content: text("acte-quarkwind.png", strings.Repeat(content, 2000))},
		{Parent: 0, Title: "Papier Zoltanix", Subject: "SUJET-778899", Channel: Paper, Paper: &PhysicalObject{Location: "Boite-Hematite", PhysicalID: "CODE-112233"}},
	}
	if _, err := a.Deposit(context.Background(), "agent.quarkwind", Deposit{Units: units}); err != nil {
		t.Fatal(err)
	}
	for _, u := range []NewUnit{ // refusals reach the log too
		{Parent: -1, Title: "Zoltanix\x01", Channel: Digital, Content: text("zoltanix", "x")},
	} {
		if _, err := a.Deposit(context.Background(), "agent.quarkwind", Deposit{Units: []NewUnit{u}}); err == nil {
			t.Error("a refused deposit was accepted")
		}
	}
	mustSeal(t, a)
	if found, err := a.Search("", "zoltanix certificat", 10); err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	if r, err := a.Audit(context.Background(), "agent.quarkwind", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Fatal(r, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	rollBack(t, dir, "Motif-Rhodochrosite")

	planted := []string{"Quarkwind", "Zoltanix", "Brumeville", "SUJET-778899", "Obsidienne", "Xylophane", "Kryptonyx", "Wolframite", "Zirconyte", "Yttrialite",
		"Malachite", "Turquoise", "Hematite", "CODE-112233", "1980-02-29", "agent.quarkwind", "Rhodochrosite", "certificat-"}
	needles := map[string]string{}
	for _, p := range planted {
		for name, n := range encodings([]byte(p)) {
			needles[n] = p + " in " + name
		}
		for name, n := range encodings(utf16le(p)) {
			needles[n] = p + " in UTF-16LE, " + name
		}
	}
	for _, c := range []string{content, content + "2", strings.Repeat(content, 2000)} {
		sum := sha256.Sum256([]byte(c))
		for name, n := range encodings(sum[:]) {
			needles[n] = "a digest in " + name
		}
	}
	grep(t, "the log", log.Bytes(), needles)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		grep(t, path, append([]byte(path), b...), needles)
		for i, inflated := range inflate(b) {
			grep(t, fmt.Sprintf("%s, compressed stream %d", path, i), inflated, needles)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rollBack puts an older catalogue back and accepts it for a reason.
func rollBack(t *testing.T, dir, reason string) {
	t.Helper()
	old := readFile(t, filepath.Join(dir, catalogueFile))
	a, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	deposit(t, a, digital("later", "x"))
	a.Close()
	writeFileAt(t, filepath.Join(dir, catalogueFile), old)
	a, err = Open(dir, Options{AcceptRollback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, _, err := a.AcceptRollback(context.Background(), "agent.quarkwind", reason); err != nil {
		t.Fatal(err)
	}
}

func utf16le(s string) (out []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

// encodings are the forms in which bytes could lie in a file; in base64 they look
// different at each of three alignments, whose certain middle is taken.
func encodings(b []byte) map[string]string {
	out := map[string]string{
		"clear": string(b), "hex": hex.EncodeToString(b), "HEX": strings.ToUpper(hex.EncodeToString(b)),
	}
	for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
		for shift := range 3 {
			s := enc.EncodeToString(append(make([]byte, shift), b...))
			first := (8*shift + 5) / 6
			last := 8 * (shift + len(b)) / 6
			out[fmt.Sprintf("%s+%d", name, shift)] = s[first:last]
		}
	}
	return out
}

func grep(t *testing.T, where string, b []byte, needles map[string]string) {
	t.Helper()
	lower := bytes.ToLower(b)
	for n, what := range needles {
		if bytes.Contains(b, []byte(n)) || strings.HasSuffix(what, "clear") && bytes.Contains(lower, []byte(strings.ToLower(n))) {
			t.Errorf("%s holds %s", where, what)
		}
	}
}

// inflate decompresses whatever looks like the beginning of a compressed stream.
func inflate(b []byte) (out [][]byte) {
	try := func(r io.Reader, err error) {
		if err != nil {
			return
		}
		if got, _ := io.ReadAll(io.LimitReader(r, 1<<20)); len(got) > 16 {
			out = append(out, got)
		}
	}
	for i := range len(b) {
		rest := b[i:]
		switch {
		case bytes.HasPrefix(rest, []byte{0x1f, 0x8b, 8}):
			r, err := gzip.NewReader(bytes.NewReader(rest))
			try(r, err)
		case len(rest) > 2 && rest[0] == 0x78 && (int(rest[0])<<8+int(rest[1]))%31 == 0:
			r, err := zlib.NewReader(bytes.NewReader(rest))
			try(r, err)
			try(flate.NewReader(bytes.NewReader(rest[2:])), nil)
		}
	}
	if got, err := snappy.Decode(nil, b); err == nil {
		out = append(out, got)
	}
	return out
}

// TestGrepWouldFind: the search above finds what it looks for when it is there.
func TestGrepWouldFind(t *testing.T) {
	for name, n := range encodings([]byte("Quarkwind")) {
		var hay string
		switch {
		case strings.HasPrefix(name, "base64"):
			for shift := range 3 {
				enc := base64.StdEncoding
				if strings.HasPrefix(name, "base64url") {
					enc = base64.URLEncoding
				}
				hay += enc.EncodeToString([]byte(strings.Repeat("x", shift)+"Quarkwind et la suite")) + " "
			}
		case name == "hex":
			hay = fmt.Sprintf("%x", "Quarkwind")
		case name == "HEX":
			hay = fmt.Sprintf("%X", "Quarkwind")
		default:
			hay = "Mme Quarkwind"
		}
		if !strings.Contains(hay, n) {
			t.Errorf("%s: %q is not in %q", name, n, hay)
		}
	}
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	io.WriteString(w, strings.Repeat("Mme Quarkwind ", 10))
	w.Close()
	if got := inflate(append([]byte("xx"), z.Bytes()...)); len(got) == 0 || !bytes.Contains(got[0], []byte("Quarkwind")) {
		t.Error("a compressed stream is not opened")
	}
}
