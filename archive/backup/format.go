package backup

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Mark says whose a backup is.
type Mark struct {
	Format  int    `json:"format"`
	Archive string `json:"archive"`
}

// MarkName is the file that holds the mark.
const MarkName = "sae-backup.json"

func (m Mark) bytes() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // a number and a string
	}
	return append(b, '\n')
}

// Head is what a generation is.
type Head struct {
	Archive    string    `json:"archive"`
	Generation int64     `json:"generation"`        // from 1
	Made       time.Time `json:"made"`              // of the snapshot
	LedgerKey  string    `json:"ledgerKey"`         // note verifier key that the head is signed under
	Checkpoint string    `json:"checkpoint"`        // of the ledger in it, as it is signed
	Replaced   int64     `json:"replaced"`          // how often the root key had been replaced: another one opens it
	Index      Sum       `json:"index"`             // of the file of that name
	Files      int64     `json:"files"`             // that the index names
	Bytes      int64     `json:"bytes"`             // of them
	Lacking    int64     `json:"lacking,omitempty"` // blobs of which the archive had no good copy
	WithRoot   bool      `json:"withRoot,omitempty"`
}

// Sum is the content of a file.
type Sum struct {
	SHA256 string `json:"sha256"` // hex
	Length int64  `json:"length"`
}

// File is a file of a generation. One of length -1 is lacking: it is wanted, and there was none.
type File struct {
	Name string
	Sum
}

// headMagic begins a head, which is a signed note (C2SP signed-note): no checkpoint of a ledger begins so.
const headMagic = "sae-backup 1\n"

// maxHead bounds a head, maxLine a line of an index, in bytes.
const (
	maxHead = 64 << 10
	maxLine = 512
)

// sign gives the bytes of a head.
func (h *Head) sign(by note.Signer) ([]byte, error) {
	line, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: headMagic + string(line) + "\n"}, by)
}

// ParseHead reads a head. Its signature is verified under the key that it names; whether that is the
// archive's is for the caller to know.
func ParseHead(b []byte) (*Head, error) {
	if len(b) > maxHead {
		return nil, fmt.Errorf("%d bytes, more than %d", len(b), maxHead)
	}
	rest, ok := bytes.CutPrefix(b, []byte(headMagic))
	line, _, ended := bytes.Cut(rest, []byte("\n"))
	if !ok || !ended {
		return nil, errors.New("not the head of a backup")
	}
	h := &Head{}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(h); err != nil {
		return nil, fmt.Errorf("not the head of a backup: %w", err)
	}
	v, err := note.NewVerifier(h.LedgerKey)
	if err != nil {
		return nil, fmt.Errorf("its key: %w", err)
	}
	n, err := note.Open(b, note.VerifierList(v))
	if err != nil {
		return nil, fmt.Errorf("its signature: %w", err)
	}
	if n.Text != headMagic+string(line)+"\n" {
		return nil, errors.New("not the head of a backup: there is more in it")
	}
	if h.Generation < 1 || h.Files < 0 || h.Bytes < 0 || h.Lacking < 0 || h.Index.Length < 0 {
		return nil, errors.New("not the head of a backup: its numbers are none")
	}
	return h, nil
}

// line is the line of a file.
func (f *File) line() string {
	return f.SHA256 + " " + strconv.FormatInt(f.Length, 10) + " " + f.Name + "\n"
}

// parseLine reads one, without its end.
func parseLine(line string) (f File, err error) {
	sum, rest, ok := strings.Cut(line, " ")
	length, name, ok2 := strings.Cut(rest, " ")
	if f.Length, err = strconv.ParseInt(length, 10, 64); err != nil || !ok || !ok2 || f.Length < -1 {
		return f, fmt.Errorf("line %q is not one of an index", line)
	}
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 || strings.ToLower(sum) != sum {
		return f, fmt.Errorf("line %q is not one of an index: no SHA-256", line)
	}
	if !fs.ValidPath(name) || !strings.HasPrefix(name, piecesDir+"/") && !strings.HasPrefix(name, blobsDir+"/") {
		return f, fmt.Errorf("line %q is not one of an index: no file of a backup", line)
	}
	f.SHA256, f.Name = sum, name
	return f, nil
}

// ReadIndex calls f for each file of an index, in order.
func ReadIndex(r io.Reader, f func(File) error) error {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("a line of the index is cut or too long: %w", err)
		}
		file, err := parseLine(string(line[:len(line)-1]))
		if err == nil {
			err = f(file)
		}
		if err != nil {
			return err
		}
	}
}
