package scan

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// encodings are those that can be read, beside UTF-8, by the lower-case name that an
// XML declaration gives.
var encodings = map[string]encoding.Encoding{
	"iso-8859-1": charmap.ISO8859_1, "latin1": charmap.ISO8859_1, "iso-8859-15": charmap.ISO8859_15,
	"windows-1252": charmap.Windows1252, "cp1252": charmap.Windows1252,
}

// encodingError is about the encoding of a document, not about reading it.
type encodingError struct{ why string }

func (e *encodingError) Error() string { return e.why }

// decoded gives r in UTF-8, without byte order mark.
func decoded(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 4096)
	head, err := b.Peek(4)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading XML: %w", err)
	}
	switch {
	case bytes.HasPrefix(head, []byte{0xEF, 0xBB, 0xBF}):
		b.Discard(3)
		return b, nil
	case bytes.HasPrefix(head, []byte{0xFF, 0xFE}), bytes.HasPrefix(head, []byte{0xFE, 0xFF}):
		return transform.NewReader(b, unicode.UTF16(unicode.BigEndian, unicode.ExpectBOM).NewDecoder()), nil
	case bytes.HasPrefix(head, []byte{0, '<'}), bytes.HasPrefix(head, []byte{'<', 0}):
		return failing{&encodingError{"UTF-16 without byte order mark"}}, nil
	}
	name := declaredEncoding(b)
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return b, nil
	}
	e, ok := encodings[name]
	if !ok {
		return failing{&encodingError{fmt.Sprintf("encoding %q cannot be read; write the document in UTF-8", name)}}, nil
	}
	return transform.NewReader(b, e.NewDecoder()), nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// declaredEncoding reads ahead to what the XML declaration says.
func declaredEncoding(b *bufio.Reader) string {
	head, _ := b.Peek(256)
	if !bytes.HasPrefix(head, []byte("<?xml")) {
		return ""
	}
	end := bytes.Index(head, []byte("?>"))
	if end < 0 {
		return ""
	}
	d, err := parseDeclaration(head[5:end])
	if err != nil {
		return "" // said when it is scanned
	}
	return strings.ToLower(d["encoding"])
}

// checkDeclaration checks what stands between "<?xml" and "?>" (XML 1.0 section 2.8).
func checkDeclaration(body []byte) error {
	d, err := parseDeclaration(body)
	switch {
	case err != nil:
		return err
	case d["version"] != "1.0":
		return fmt.Errorf("XML version %q: only 1.0 can be read", d["version"])
	case d["standalone"] != "" && d["standalone"] != "yes" && d["standalone"] != "no":
		return fmt.Errorf("standalone %q in the XML declaration", d["standalone"])
	}
	return nil
}

var errDeclaration = errors.New(`the XML declaration is not <?xml version="1.0" encoding="..."?>`)

// parseDeclaration reads the pseudo-attributes, which stand in a fixed order.
func parseDeclaration(body []byte) (map[string]string, error) {
	out := map[string]string{}
	order := []string{"version", "encoding", "standalone"}
	for len(bytes.TrimLeft(body, " \t\r\n")) > 0 {
		trimmed := bytes.TrimLeft(body, " \t\r\n")
		if len(trimmed) == len(body) {
			return nil, errDeclaration
		}
		name, rest, ok := bytes.Cut(trimmed, []byte("="))
		key := string(bytes.TrimRight(name, " \t\r\n"))
		rest = bytes.TrimLeft(rest, " \t\r\n")
		if !ok || len(rest) == 0 || rest[0] != '"' && rest[0] != '\'' {
			return nil, errDeclaration
		}
		value, after, ok := bytes.Cut(rest[1:], rest[:1])
		for len(order) > 0 && order[0] != key {
			order = order[1:]
		}
		if !ok || len(order) == 0 || len(value) == 0 {
			return nil, errDeclaration
		}
		order = order[1:]
		out[key], body = string(value), after
	}
	if out["version"] == "" {
		return nil, errDeclaration
	}
	return out, nil
}
