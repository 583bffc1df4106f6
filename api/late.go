package api

import (
	"bytes"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// maxHeld is how much of an answer is held back: what fails within it is told by a status.
const maxHeld = 256 << 10

// late holds back the beginning of an answer, so that what fails early is told by a status.
type late struct {
	hold  int
	held  *bytes.Buffer
	begin func() // sets to
	to    io.Writer
}

func (w *late) Write(p []byte) (int, error) {
	if w.to == nil && w.held.Len()+len(p) <= w.hold {
		return w.held.Write(p)
	}
	if err := w.flush(); err != nil {
		return 0, err
	}
	return w.to.Write(p)
}

// flush gives out what was held back.
func (w *late) flush() error {
	if w.to != nil {
		return nil
	}
	w.begin()
	_, err := w.held.WriteTo(w.to)
	return err
}

// stream gives bytes as they are made. What fails when part of it was given out cuts the connection.
func (s *service) stream(operation, mediaType, filename string, write func(io.Writer) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		var begun bytes.Buffer
		w := &late{hold: maxHeld, held: &begun}
		w.begin = func() {
			hc.SetHeader("Content-Type", mediaType)
			if filename != "" {
				hc.SetHeader("Content-Disposition", `attachment; filename="`+filename+`"`)
			}
			hc.SetStatus(http.StatusOK)
			w.to = hc.BodyWriter()
		}
		err := write(w)
		if err == nil {
			err = w.flush()
		}
		s.endStream(hc, operation, w.to != nil, err)
	}}
}
