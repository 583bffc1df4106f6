package remote

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Bounds of what one end takes from the other.
const (
	maxHead  = 4 << 20 // arguments, as many as a system takes; or a page of a listing
	maxChunk = 256 << 10
	maxFrame = frameHead + maxHead + maxChunk
	maxPath  = 4096 // as of the systems' own; a walk is no deeper than it lets it be
	maxPage  = 500  // entries of a listing in one frame
	maxOpen  = 256  // files at a time
)

// Kinds of frames. A verb is asked for by the client, then the service asks for the client's files.
const (
	frameAsk       = 'v' // client: the verb
	frameInterrupt = 'i' // client: it is to end
	frameAnswer    = 'a' // client: to a request
	frameRequest   = 'q' // service: for something of a file
	frameOut       = 'o' // service: standard output
	frameErr       = 'e' // service: standard error
	frameExit      = 'x' // service: the verb has ended
)

// frame is a message of the connection: kind, identifier and length of the head, head as JSON, data.
type frame struct {
	kind byte
	id   uint32 // of a request, and its answer
	head []byte
	data []byte
}

const frameHead = 9

func (f *frame) append(b []byte) []byte {
	b = append(b, f.kind)
	b = binary.BigEndian.AppendUint32(b, f.id)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.head)))
	return append(append(b, f.head...), f.data...)
}

var errFrame = errors.New("the other end does not speak as it should")

// parseFrame reads a message; the frame lies in b.
func parseFrame(b []byte) (*frame, error) {
	if len(b) < frameHead {
		return nil, fmt.Errorf("%w: a frame of %d bytes", errFrame, len(b))
	}
	f := &frame{kind: b[0], id: binary.BigEndian.Uint32(b[1:])}
	n := binary.BigEndian.Uint32(b[5:])
	rest := b[frameHead:]
	if n > maxHead || int(n) > len(rest) || len(rest)-int(n) > maxChunk {
		return nil, fmt.Errorf("%w: a frame of %d bytes with a head of %d", errFrame, len(b), n)
	}
	f.head, f.data = rest[:n], rest[n:]
	return f, nil
}

// read reads the head.
func (f *frame) read(v any) error {
	if err := json.Unmarshal(f.head, v); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	return nil
}

// Version is that of the protocol.
const Version = 1

// Ask is what a client wants to be run. Arguments are bytes, as names of files are.
type Ask struct {
	Version  int      `json:"version"`
	Verb     string   `json:"verb"` // its words, such as "eliminate list"
	Args     [][]byte `json:"args"` // flags and arguments behind the verb
	Terminal bool     `json:"terminal,omitempty"`
}

// exit is how a verb ended.
type exit struct {
	Status int `json:"status"`
}

// request is what the service wants of a file.
type request struct {
	Op     string `json:"op"`
	Path   []byte `json:"path,omitempty"` // or the name, in a folder that is being made
	Handle int    `json:"handle,omitempty"`
	Offset int64  `json:"offset,omitempty"` // -1: where the last reading ended
	N      int    `json:"n,omitempty"`      // bytes to read; of a listing, the entries that are known
}

// Operations of requests.
const (
	opStat, opLstat, opReadLink = "stat", "lstat", "readlink"
	opList, opBase, opReadable  = "list", "base", "readable"
	opOpen, opRead, opFstat     = "open", "read", "fstat"
	opClose, opStdin            = "close", "stdin"
	opCreate, opFolder          = "create", "folder"
	opCreateIn, opMkdirIn       = "create-in", "mkdir-in"
	opWrite, opKeep, opDrop     = "write", "keep", "drop"
)

// answer is what became of a request.
type answer struct {
	Err    *wireError `json:"err,omitempty"`
	Handle int        `json:"handle,omitempty"`
	Info   *info      `json:"info,omitempty"`
	List   []info     `json:"list,omitempty"`
	More   bool       `json:"more,omitempty"` // the listing goes on
	EOF    bool       `json:"eof,omitempty"`
	Text   []byte     `json:"text,omitempty"`
}

// info is what is known of a file: an fs.FileInfo, and an fs.DirEntry.
type info struct {
	Called  []byte `json:"name"`
	Bytes   int64  `json:"size"`
	Bits    uint32 `json:"mode"`
	Seconds int64  `json:"sec"`
	Nanos   int64  `json:"nsec"`
	File    string `json:"file"`           // which file it is
	Closed  []byte `json:"deny,omitempty"` // in a listing: why a regular file cannot be read
}

func (i *info) Name() string               { return string(i.Called) }
func (i *info) Size() int64                { return i.Bytes }
func (i *info) Mode() fs.FileMode          { return fs.FileMode(i.Bits) }
func (i *info) Type() fs.FileMode          { return i.Mode().Type() }
func (i *info) ModTime() time.Time         { return time.Unix(i.Seconds, i.Nanos) }
func (i *info) IsDir() bool                { return i.Mode().IsDir() }
func (i *info) Info() (fs.FileInfo, error) { return i, nil }
func (i *info) Sys() any                   { return nil }

// check refuses what no system says of a file.
func (i *info) check() error {
	if len(i.Called) > maxPath || len(i.Closed) > maxPath || i.Bytes < 0 || i.Nanos < 0 || i.Nanos >= 1e9 {
		return fmt.Errorf("%w: a file of size %d, mode %v", errFrame, i.Bytes, i.Mode())
	}
	return nil
}

// wireError is an error on its way: its words, and what it is.
type wireError struct {
	Op   string `json:"op,omitempty"` // of an fs.PathError
	Path []byte `json:"path,omitempty"`
	Text []byte `json:"text"`
	Is   string `json:"is,omitempty"`
}

var kindsOfErrors = map[string]error{"exist": fs.ErrExist, "not-exist": fs.ErrNotExist, "permission": fs.ErrPermission}

func wireErrorOf(err error) *wireError {
	w := &wireError{}
	for is, target := range kindsOfErrors {
		if errors.Is(err, target) {
			w.Is = is
		}
	}
	if p, ok := err.(*fs.PathError); ok {
		w.Op, w.Path, err = p.Op, []byte(p.Path), p.Err
	}
	w.Text = []byte(err.Error())
	if len(w.Text) > maxPath {
		w.Text = w.Text[:maxPath]
	}
	return w
}

// err gives the error as it was at the other end.
func (w *wireError) err() error {
	var err error = &farError{string(w.Text), kindsOfErrors[w.Is]}
	if w.Op != "" {
		err = &fs.PathError{Op: w.Op, Path: string(w.Path), Err: err}
	}
	return err
}

// farError is an error of the other end.
type farError struct {
	text string
	is   error
}

func (e *farError) Error() string        { return e.text }
func (e *farError) Is(target error) bool { return e.is != nil && target == e.is }
