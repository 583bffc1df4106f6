package teleprocedure

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Push takes submissions over HTTP into a drop folder. It answers when a submission is durable there;
// it is deposited as any other.
type Push struct {
	Folder *Folder
	Secret []byte // that who pushes shows as a bearer token, or signs with
	Most   int64  // bytes of a request
	Nudge  func() // a submission came
	Log    *slog.Logger

	running chan struct{}
}

// The headers and bounds of what is pushed.
const (
	signature  = "X-Signature-SHA256" // HMAC-SHA256 of the body, hexadecimal
	concurrent = 4
	maxWait    = 60 * time.Second
	look       = 100 * time.Millisecond
	unread     = time.Minute      // for which a client may send nothing
	longest    = 30 * time.Minute // that a submission may take
)

// fault is what is told when a submission is not taken (RFC 9457).
type fault struct {
	Status   int      `json:"status"`
	Code     string   `json:"code"`
	Title    string   `json:"title"`
	Problems Problems `json:"errors,omitempty"`
}

func (f *fault) Error() string { return f.Code }

// received is what is told of a submission that was taken.
type received struct {
	Ref   string `json:"ref"`
	State string `json:"state"` // received, deposited
	*Answer
}

// Handler gives the handler: POST /submissions.
func (p *Push) Handler() http.Handler {
	p.running = make(chan struct{}, concurrent)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /submissions", func(w http.ResponseWriter, r *http.Request) {
		status, said, err := p.take(w, r)
		var f *fault
		switch {
		case err == nil:
		case errors.As(err, &f):
			status = f.Status
			w.Header().Set("Content-Type", "application/problem+json")
			if status == http.StatusServiceUnavailable {
				w.Header().Set("Retry-After", "5")
			}
			if status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="sae"`)
			}
			said = f
		default:
			p.Log.Error("a submission was not taken", "error", err)
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "30")
			status, said = http.StatusServiceUnavailable, &fault{Status: http.StatusServiceUnavailable, Code: "not-kept", Title: "The submission could not be made durable; push it again."}
		}
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json")
		}
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(said) // who pushed may be gone
		p.Log.Info("push", "status", status)
	})
	return mux
}

// take takes a submission.
func (p *Push) take(w http.ResponseWriter, r *http.Request) (status int, said any, err error) {
	select {
	case p.running <- struct{}{}:
		defer func() { <-p.running }()
	default:
		return 0, nil, &fault{Status: 503, Code: "busy", Title: "Too many submissions come at once; push it again."}
	}
	signed, err := p.known(r)
	if err != nil {
		return 0, nil, err
	}
	body := &pushed{r: http.MaxBytesReader(w, r.Body, p.Most), sum: hmac.New(sha256.New, p.Secret), control: http.NewResponseController(w), end: time.Now().Add(longest)}
	folder := filepath.Join(p.Folder.path, in, pushing+rand.Text())
	if err := os.Mkdir(folder, 0o700); err != nil {
		return 0, nil, fmt.Errorf("making a folder for a submission: %w", err)
	}
	defer os.RemoveAll(folder) // it is elsewhere when all went well; after a crash the next start removes it
	s, err := p.receive(r.Header.Get("Content-Type"), body, folder)
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	if err == nil && signed != nil && !hmac.Equal(signed, body.sum.Sum(nil)) {
		err = unknown
	}
	if err != nil {
		return 0, nil, readable(err)
	}
	status, out, err := p.place(folder, s)
	if err != nil || status != http.StatusAccepted {
		return status, out, err
	}
	p.Nudge()
	if wait := waits(r.Header.Get("Prefer")); wait > 0 {
		return p.wait(r.Context(), s, wait)
	}
	return status, out, nil
}

var unknown = &fault{Status: 401, Code: "unauthenticated", Title: "Show the secret as a bearer token, or sign the body with it (" + signature + ")."}

// known finds out whether who pushes has the secret. A signature is held against the body when that was
// read.
func (p *Push) known(r *http.Request) (signed []byte, err error) {
	if s := r.Header.Get(signature); s != "" {
		sum, err := hex.DecodeString(strings.TrimPrefix(s, "sha256="))
		if err != nil || len(sum) != sha256.Size {
			return nil, unknown
		}
		return sum, nil
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	shown, want := sha256.Sum256([]byte(token)), sha256.Sum256(p.Secret)
	if !strings.EqualFold(scheme, "bearer") || subtle.ConstantTimeCompare(shown[:], want[:]) != 1 {
		return nil, unknown
	}
	return nil, nil
}

// pushed is the body. Who sends nothing for too long is dropped.
type pushed struct {
	r       io.Reader
	sum     hash.Hash
	control *http.ResponseController
	end     time.Time
}

func (b *pushed) Read(p []byte) (int, error) {
	deadline := time.Now().Add(unread)
	if deadline.After(b.end) {
		deadline = b.end
	}
	b.control.SetReadDeadline(deadline) // of a recorder in tests there is none
	n, err := b.r.Read(p)
	b.sum.Write(p[:n])
	return n, err
}

// readable is what is told of a body that is not taken.
func readable(err error) error {
	var f *fault
	var large *http.MaxBytesError
	var bad Problems
	var path *fs.PathError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &large):
		return &fault{Status: 413, Code: "too-large", Title: fmt.Sprintf("A request has at most %d bytes.", large.Limit)}
	case errors.As(err, &bad):
		return &fault{Status: 422, Code: "refused", Title: "The submission is not acceptable; all that is wrong is listed.", Problems: bad}
	case errors.As(err, &path):
		return err // ours
	}
	return &fault{Status: 400, Code: "malformed", Title: "The body cannot be read to its end."}
}

// receive writes the files of a submission into a folder, durably, and gives the submission.
func (p *Push) receive(contentType string, body io.Reader, folder string) (*Submission, error) {
	media, params, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && media == "application/json":
		s, err := parse(body, maxPushed, true)
		if err != nil {
			return nil, err
		}
		var bad Problems
		for i := range s.files() {
			f := s.file(i)
			if f.Content == nil {
				bad.addf("%s.content: missing", where(i))
				continue
			}
			if err := p.keep(folder, f, bytes.NewReader(f.Content), where(i), &bad); err != nil {
				return nil, err
			}
			f.Content = nil
		}
		if len(bad) > 0 {
			return nil, bad
		}
		return s, nil
	case err == nil && media == "multipart/form-data" && params["boundary"] != "":
		return p.parts(multipart.NewReader(body, params["boundary"]), folder)
	}
	return nil, &fault{Status: 415, Code: "media-type", Title: "Push application/json, or multipart/form-data."}
}

// parts receives a submission in parts: "submission", then each file, by its file name.
func (p *Push) parts(r *multipart.Reader, folder string) (*Submission, error) {
	part, err := r.NextPart()
	if err != nil {
		return nil, err
	}
	if part.FormName() != "submission" {
		return nil, Problems{"the first part is to be named submission"}
	}
	s, err := parse(part, maxManifest, true)
	if err != nil {
		return nil, err
	}
	var bad Problems
	came := map[string]bool{}
	for {
		part, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		name := part.FileName()
		i := slices.IndexFunc(s.files(), func(f File) bool { return f.Name == name })
		if i < 0 || came[name] {
			return nil, Problems{"a part has a file name that the submission does not have, or that came already"}
		}
		came[name] = true
		if err := p.keep(folder, s.file(i), part, where(i), &bad); err != nil {
			return nil, err
		}
	}
	for i, f := range s.files() {
		if !came[f.Name] {
			bad.addf("%s: no part has its file name", where(i))
		}
		if f.Content != nil {
			bad.addf("%s.content: its bytes come in a part", where(i))
		}
	}
	if len(bad) > 0 {
		return nil, bad
	}
	return s, nil
}

// file is a file of the submission itself: 0 is the form.
func (s *Submission) file(i int) *File {
	if i == 0 {
		return &s.Form
	}
	return &s.Pieces[i-1]
}

// keep writes a file, and holds it against its digest; when none is declared it gets its own.
func (p *Push) keep(folder string, f *File, from io.Reader, at string, bad *Problems) error {
	file, err := p.Folder.disk.Create(filepath.Join(folder, f.Name), 0o600)
	if err != nil {
		return fmt.Errorf("writing a file of a submission: %w", err)
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, sum), from)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	got := hex.EncodeToString(sum.Sum(nil))
	if f.SHA256 != "" && !strings.EqualFold(f.SHA256, got) {
		bad.addf("%s.sha256: it is not that of what came", at)
	}
	f.SHA256 = got // written the same when it is pushed again
	return nil
}

// place puts a received submission where it is found, durably. One that was pushed before is not put
// there again: what became of it is told.
func (p *Push) place(folder string, s *Submission) (int, any, error) {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return 0, nil, fmt.Errorf("encoding a submission: %w", err)
	}
	if len(b) > maxManifest {
		return 0, nil, &fault{Status: 413, Code: "too-large", Title: fmt.Sprintf("Without its files a submission has at most %d bytes.", maxManifest)}
	}
	if err := p.Folder.disk.WriteFile(filepath.Join(folder, ManifestName), b, 0o600); err != nil {
		return 0, nil, fmt.Errorf("writing a submission: %w", err)
	}
	ref, digest := Ref(s.Procedure, s.ID), sha256.Sum256(b)
	r, err := p.Folder.load(ref)
	if err != nil {
		return 0, nil, err
	}
	if r.Deposit != nil || !r.Asked[deposit].IsZero() || r.Digest != nil {
		if !r.isOf(digest) {
			return 0, nil, &fault{Status: 409, Code: "id-used", Title: "Another submission of this id was deposited, or is on its way."}
		}
		if r.Done != nil {
			return http.StatusOK, &received{ref, string(Deposited), p.Folder.answered(ref, s, r)}, nil
		}
	}
	in := filepath.Join(p.Folder.path, in)
	err = os.Rename(folder, filepath.Join(in, pushedName(ref)))
	if errors.Is(err, fs.ErrExist) {
		waiting, readErr := os.ReadFile(filepath.Join(in, pushedName(ref), ManifestName))
		if readErr == nil && !bytes.Equal(waiting, b) {
			return 0, nil, &fault{Status: 409, Code: "id-used", Title: "Another submission of this id was deposited, or is on its way."}
		}
		err = nil // it lies there already, or went meanwhile
	}
	if err != nil {
		return 0, nil, fmt.Errorf("placing a submission: %w", err)
	}
	if err := p.Folder.disk.SyncDir(in); err != nil {
		return 0, nil, fmt.Errorf("placing a submission: %w", err)
	}
	return http.StatusAccepted, &received{Ref: ref, State: "received"}, nil
}

func pushedName(ref string) string { return "push-" + ref }

func (r *record) answer(ref string, s *Submission) *Answer {
	return &Answer{ref, s.ID, s.Procedure, r.Subject, r.File, r.Opened, r.Deposit, r.Event, r.Problems}
}

// waits is how long a request prefers to wait (RFC 7240).
func waits(prefer string) time.Duration {
	for _, part := range strings.Split(prefer, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if n, err := strconv.Atoi(value); strings.EqualFold(name, "wait") && err == nil && n > 0 {
			return min(time.Duration(n)*time.Second, maxWait)
		}
	}
	return 0
}

// wait waits until a submission is deposited or refused. When that takes too long it was received, which
// is true as well.
func (p *Push) wait(ctx context.Context, s *Submission, most time.Duration) (int, any, error) {
	ref := Ref(s.Procedure, s.ID)
	for end := time.Now().Add(most); time.Now().Before(end); {
		_, err := os.Lstat(filepath.Join(p.Folder.path, in, pushedName(ref)))
		if errors.Is(err, fs.ErrNotExist) {
			r, err := p.Folder.load(ref)
			if err != nil {
				return 0, nil, err
			}
			if r.Done != nil {
				return http.StatusCreated, &received{ref, string(Deposited), p.Folder.answered(ref, s, r)}, nil
			}
			return 0, nil, &fault{Status: 422, Code: "refused", Title: "The submission was refused; all that is wrong is listed.", Problems: p.Folder.reported(pushedName(ref))}
		}
		select {
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-time.After(look):
		}
	}
	return http.StatusAccepted, &received{Ref: ref, State: "received"}, nil
}

// answered is the answer to a submission: the one beside it, and when that was taken away what is
// remembered of it.
func (f *Folder) answered(ref string, s *Submission, r *record) *Answer {
	a := &Answer{}
	b, err := os.ReadFile(filepath.Join(f.path, done, pushedName(ref)+".answer.json"))
	if err != nil || json.Unmarshal(b, a) != nil || a.Ref != ref {
		return r.answer(ref, s)
	}
	return a
}

// reported are the problems of the last report on an item.
func (f *Folder) reported(name string) Problems {
	folder := filepath.Join(f.path, refused)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	var last Report
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), name) || !strings.HasSuffix(e.Name(), ".report.json") {
			continue
		}
		var r Report
		if b, err := os.ReadFile(filepath.Join(folder, e.Name())); err == nil && json.Unmarshal(b, &r) == nil && !r.At.Before(last.At) {
			last = r
		}
	}
	return last.Problems
}
