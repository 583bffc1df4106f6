package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sae/archive"
)

// Uploads that can be resumed, by the protocol tus 1.0. What comes is durable before it is told; an
// upload that is whole becomes an operation, as a deposit that prefers to be worked off later does, and
// has its identifier. The protocol itself is tusd's; uploadstore.go is where it keeps what comes.

const (
	tusVersion    = "1.0.0"
	tusExtensions = "creation,creation-with-upload,expiration,termination,checksum"
	tusMedia      = "application/offset+octet-stream"
)

// UploadPath names an upload.
type UploadPath struct {
	Upload string `path:"upload" pattern:"^j[a-z2-7]{26}$"`
}

// UploadHeaders are those of every request of the protocol. What they must be like the protocol says:
// their problems are told by its statuses.
type UploadHeaders struct {
	Tus      string `header:"Tus-Resumable" doc:"1.0.0"`
	Concat   string `header:"Upload-Concat" doc:"not taken"`
	Defer    string `header:"Upload-Defer-Length" doc:"not taken"`
	Checksum string `header:"Upload-Checksum" doc:"sha1 or sha256, and the base64 of that of the body; nothing of it is kept when it is another"`
}

type createUploadInput struct {
	UploadHeaders
	Key      string `header:"Idempotency-Key" maxLength:"255" pattern:"^[!-~]*$" doc:"a retry with it finds the upload that the first request created, and the operation that it became; without one, an upload each"`
	Length   string `header:"Upload-Length" doc:"bytes of the whole"`
	Metadata string `header:"Upload-Metadata" doc:"pairs of a key and the base64 of its value: kind (transfer, deposit); filename, archivalAgreement, subject of a transfer; content-type of a deposit; repr-digest (sha-256=:BASE64:), which the whole is held against"`
}

type continueUploadInput struct {
	UploadHeaders
	UploadPath
	Offset string `header:"Upload-Offset" doc:"how much there is of the upload"`
}

func (s *service) addUploads() {
	answers := func(status, description string, headers ...string) map[string]*huma.Response {
		r := &huma.Response{Description: description, Headers: map[string]*huma.Param{}}
		for _, h := range append(headers, "Tus-Resumable") {
			r.Headers[h] = &huma.Param{Schema: &huma.Schema{Type: "string"}}
		}
		return map[string]*huma.Response{status: r}
	}
	add(s, huma.Operation{OperationID: "describeUploads", Method: http.MethodOptions, Path: "/v1/uploads", DefaultStatus: http.StatusOK, Summary: "What of tus 1.0 is taken",
		Responses: answers("200", "In the headers", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm")}, s.describeUploads)
	add(s, huma.Operation{OperationID: "createUpload", Method: http.MethodPost, Path: "/v1/uploads", DefaultStatus: http.StatusCreated, Summary: "Begin an upload that can be resumed (tus 1.0)",
		Description: "The body, if there is one, is the beginning of the upload.",
		Responses:   answers("201", "It is at Location", "Location", "Upload-Offset", "Upload-Expires", "Operation-Location", "Idempotency-Replayed")}, s.createUpload)
	add(s, huma.Operation{OperationID: "showUpload", Method: http.MethodHead, Path: "/v1/uploads/{upload}", DefaultStatus: http.StatusOK, Summary: "How much there is of an upload",
		Description: "For who created it.",
		Responses:   answers("200", "All up to Upload-Offset is durable", "Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Expires", "Operation-Location")}, s.showUpload)
	add(s, huma.Operation{OperationID: "continueUpload", Method: http.MethodPatch, Path: "/v1/uploads/{upload}", DefaultStatus: http.StatusNoContent, Summary: "Go on with an upload",
		Description: "When it is whole it is an operation: Operation-Location.",
		Responses:   answers("204", "All up to Upload-Offset is durable", "Upload-Offset", "Upload-Expires", "Operation-Location")}, s.continueUpload)
	add(s, huma.Operation{OperationID: "cancelUpload", Method: http.MethodDelete, Path: "/v1/uploads/{upload}", DefaultStatus: http.StatusNoContent, Summary: "Give an upload up",
		Description: "Of one that is whole the operation is cancelled, when it was not begun.",
		Responses:   answers("204", "It is gone")}, s.cancelUpload)
	// It is told of afterwards: the framework reads bodies that it knows of whole.
	paths := s.api.OpenAPI().Paths
	for _, op := range []*huma.Operation{paths["/v1/uploads"].Post, paths["/v1/uploads/{upload}"].Patch} {
		op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{tusMedia: {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}
	}
}

// tusRequest is a request of the protocol on its way through tusd, which knows contexts alone.
type tusRequest struct {
	who      *Identity
	created  archive.NewJob // what POST asks for
	checksum string         // Upload-Checksum
	body     *tusBody
	known    bool // POST found the upload that an earlier request created

	// What is to be answered.
	offset    string
	expires   time.Time
	operation string
	replayed  bool
	err       error // why it failed: tusd tells of others by their text alone
}

type tusKey struct{}

func tusOf(ctx context.Context) *tusRequest { return ctx.Value(tusKey{}).(*tusRequest) }

// failed remembers why a request fails.
func (t *tusRequest) failed(err error) error {
	if t.err == nil {
		t.err = err
	}
	return err
}

func (s *service) describeUploads(_ context.Context, who *Identity, in *UploadHeaders) (*huma.StreamResponse, error) {
	return s.tus(&tusRequest{who: who}, "", false, in, func(http.ResponseWriter, *http.Request) {})
}

func (s *service) createUpload(_ context.Context, who *Identity, in *createUploadInput) (*huma.StreamResponse, error) {
	said, err := parseUploadMetadata(in.Metadata)
	if err == nil {
		err = said.check()
	}
	if err != nil {
		return nil, err
	}
	t := &tusRequest{who: who, checksum: in.Checksum}
	t.created = archive.NewJob{ID: archive.NewJobID(), Tenant: who.Tenant, Kind: said[uploadKind], JobRequest: archive.JobRequest{Agent: who.Name, Said: mustJSON(said)}}
	if t.created.Key = "operation " + t.created.ID; in.Key != "" { // no client's key has a space
		t.created = s.newJob(who, in.Key, said[uploadKind], said)
	}
	print := fingerprint{}
	for _, part := range []string{"createUpload", in.Length, string(mustJSON(said))} {
		print.add([]byte(part))
	}
	t.created.Fingerprint = print.b
	if in.Key != "" {
		switch j, err := s.uploadOf(who, t.created.ID); {
		case err == nil:
			t.known = j != nil
		case !errors.Is(err, archive.ErrNotFound):
			return nil, err
		}
	}
	// What a body brings again is not taken: by HEAD who asks learns where to go on.
	return s.tus(t, "", t.known, &in.UploadHeaders, s.uploads.handler.PostFile)
}

func (s *service) showUpload(_ context.Context, who *Identity, in *struct {
	UploadHeaders
	UploadPath
}) (*huma.StreamResponse, error) {
	return s.tusOn(who, in.Upload, &in.UploadHeaders, s.uploads.handler.HeadFile)
}

func (s *service) continueUpload(_ context.Context, who *Identity, in *continueUploadInput) (*huma.StreamResponse, error) {
	return s.tusOn(who, in.Upload, &in.UploadHeaders, s.uploads.handler.PatchFile)
}

func (s *service) cancelUpload(_ context.Context, who *Identity, in *struct {
	UploadHeaders
	UploadPath
}) (*huma.StreamResponse, error) {
	return s.tusOn(who, in.Upload, &in.UploadHeaders, s.uploads.handler.DelFile)
}

// tusOn is a request on an upload. Whose it is is asked before tusd, which would end the request of the
// one for that of the other.
func (s *service) tusOn(who *Identity, id string, in *UploadHeaders, handle http.HandlerFunc) (*huma.StreamResponse, error) {
	if _, err := s.uploadOf(who, id); err != nil {
		return nil, err
	}
	return s.tus(&tusRequest{who: who, checksum: in.Checksum}, id, false, in, handle)
}

// tus has a request handled by tusd; bare takes its body away.
func (s *service) tus(t *tusRequest, id string, bare bool, in *UploadHeaders, handle http.HandlerFunc) (*huma.StreamResponse, error) {
	if s.queue == nil {
		return nil, archive.ErrReadOnly
	}
	if in.Concat != "" || in.Defer != "" {
		return nil, invalid(Fault{"uploads are neither put together nor begun without their length", "header.Upload-Concat"})
	}
	if _, err := newChecksum(t.checksum); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		own := r.Clone(context.WithValue(ctx.Context(), tusKey{}, t))
		own.URL = &url.URL{Path: "/" + id}
		own.Header.Del("X-Http-Method-Override") // who may do what was asked for another method
		if bare {
			own.Header.Del("Content-Type")
			t.replayed = true
		}
		t.body = &tusBody{ReadCloser: r.Body, t: t, control: http.NewResponseController(w)}
		own.Body = t.body
		a := &tusAnswer{ResponseWriter: w, t: t}
		s.uploads.handler.Middleware(handle).ServeHTTP(a, own)
		if t.body.wasCut() {
			w.Header().Set("Connection", "close")
		}
		if a.refused > 0 {
			for _, name := range []string{"Content-Type", "Content-Length", "Location"} {
				w.Header().Del(name)
			}
			s.write(ctx, s.fail(ctx.Context(), ctx.Operation().OperationID, a.problem()))
		}
	}}, nil
}

// tusAnswer adds to what tusd answers, and keeps what it refuses for the problem that is told.
type tusAnswer struct {
	http.ResponseWriter
	t       *tusRequest
	refused int
	text    []byte
}

func (a *tusAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *tusAnswer) WriteHeader(status int) {
	if status >= 400 {
		a.refused = status
		return
	}
	h := a.Header()
	if _, id, ok := strings.Cut(h.Get("Location"), uploadsAt); ok { // the address that clients use a proxy may know alone
		h.Set("Location", uploadsAt+id)
	}
	if h.Get("Tus-Extension") != "" {
		h.Set("Tus-Extension", tusExtensions)
		h.Set("Tus-Checksum-Algorithm", checksumAlgorithms)
	}
	set := func(name, value string, when bool) {
		if when {
			h.Set(name, value)
		}
	}
	set("Connection", "close", a.t.body.wasCut())
	set("Upload-Offset", a.t.offset, a.t.offset != "" && h.Get("Upload-Offset") == "")
	set("Upload-Expires", a.t.expires.UTC().Format(http.TimeFormat), !a.t.expires.IsZero())
	set("Operation-Location", a.t.operation, a.t.operation != "")
	set("Idempotency-Replayed", repeated, a.t.replayed)
	a.ResponseWriter.WriteHeader(status)
}

func (a *tusAnswer) Write(p []byte) (int, error) {
	if a.refused == 0 {
		return a.ResponseWriter.Write(p)
	}
	if len(a.text) < 1000 {
		a.text = append(a.text, p...)
	}
	return len(p), nil
}

// tusErrors are errors of tusd, by the code that its text begins with.
var tusErrors = map[string]error{
	"ERR_UNSUPPORTED_VERSION":   errTusVersion,
	"ERR_MAX_SIZE_EXCEEDED":     errTooLarge,
	"ERR_UPLOAD_SIZE_EXCEEDED":  errTooLarge,
	"ERR_INVALID_CONTENT_TYPE":  errMediaType,
	"ERR_UPLOAD_NOT_FOUND":      archive.ErrNotFound,
	"ERR_MISMATCHED_OFFSET":     errOffset,
	"ERR_LOCK_TIMEOUT":          errUploadHeld,
	"ERR_UPLOAD_INTERRUPTED":    errUploadCut,
	"ERR_UNEXPECTED_EOF":        errUploadCut,
	"ERR_READ_TIMEOUT":          errUploadCut,
	"ERR_CONNECTION_RESET":      errUploadCut,
	"ERR_SERVER_SHUTDOWN":       errUploadCut,
	"ERR_INTERNAL_SERVER_ERROR": errInternal,
}

// problem is why it was refused.
func (a *tusAnswer) problem() error {
	code, text, _ := strings.Cut(strings.TrimSpace(string(a.text)), ": ")
	if a.t.err != nil {
		return a.t.err
	}
	if err, known := tusErrors[code]; known {
		return err
	}
	if a.refused == http.StatusBadRequest || a.refused == http.StatusNotImplemented {
		return invalidTus(text)
	}
	return errInternal
}
