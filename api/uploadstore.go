package api

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	tusd "github.com/tus/tusd/v2/pkg/handler"
	"golang.org/x/exp/slog"

	"sae/archive"
)

const uploadsAt = "/v1/uploads/"

// uploads are those that are not whole, and what bounds them. It is what tusd keeps uploads in. Who reads
// or writes one holds its lock.
type uploads struct {
	s       *service
	handler *tusd.UnroutedHandler
	locks   *uploadLocks

	mu    sync.Mutex
	open  map[string]*archive.Upload // taken up by this process
	loads map[string]*uploadLoad     // by tenant and pseudonym
}

// uploadLoad is what of a client is not whole, as it was declared.
type uploadLoad struct {
	n     int
	bytes int64
}

// newUploads counts what an earlier process left.
func (s *service) newUploads() (*uploads, error) {
	u := &uploads{s: s, locks: &uploadLocks{held: map[string]*uploadLock{}}, open: map[string]*archive.Upload{}, loads: map[string]*uploadLoad{}}
	composer := tusd.NewStoreComposer()
	composer.UseCore(u)
	composer.UseTerminater(u)
	composer.UseLocker(u.locks)
	var err error
	u.handler, err = tusd.NewUnroutedHandler(tusd.Config{StoreComposer: composer, BasePath: uploadsAt, MaxSize: s.config.Limits.Upload,
		Cors: &tusd.CorsConfig{Disable: true}, NetworkTimeout: s.config.Limits.Idle, GracefulRequestCompletionTimeout: time.Second, AcquireLockTimeout: lockWait,
		Logger: slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.Level(100)}))}) // it would log paths; requests are logged already
	if err != nil || s.queue == nil {
		return u, err
	}
	left, err := s.a.Uploads()
	if err != nil {
		return nil, err
	}
	for _, j := range left {
		u.count(j.Tenant, j.Agent, j.Upload.Length)
	}
	s.queue.expire = u.expire
	return u, nil
}

// count counts an upload that there is.
func (u *uploads) count(tenant, agent string, length int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.load(tenant, agent)
	l.n, l.bytes = l.n+1, l.bytes+length
	u.s.queue.hold(tenant, 1, length)
}

// load is that of a client; the caller holds mu.
func (u *uploads) load(tenant, agent string) *uploadLoad {
	key := tenant + "\x00" + agent
	if u.loads[key] == nil {
		u.loads[key] = &uploadLoad{}
	}
	return u.loads[key]
}

// reserve counts an upload that is to come, within what its client and tenant may have.
func (u *uploads) reserve(tenant, agent string, length int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	l, limits := u.load(tenant, agent), u.s.config.Limits
	if l.n >= limits.Uploads || l.bytes+length > limits.UploadBytes {
		return fmt.Errorf("%d uploads of %d bytes: %w", l.n, l.bytes, errUploads)
	}
	if err := u.s.queue.mayHold(tenant, length); err != nil {
		return err
	}
	l.n, l.bytes = l.n+1, l.bytes+length
	return nil
}

// release counts an upload no more.
func (u *uploads) release(tenant, agent, id string, length int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.open, id)
	l := u.load(tenant, agent)
	if l.n, l.bytes = l.n-1, l.bytes-length; l.n == 0 {
		delete(u.loads, tenant+"\x00"+agent)
	}
	u.s.queue.hold(tenant, -1, -length)
}

// mayHold holds a place among what of a tenant waits.
func (q *Queue) mayHold(tenant string, bytes int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.load(tenant)
	switch {
	case bytes > q.limits.WaitingBytes:
		return errTooLarge
	case l.n >= q.limits.Waiting || l.bytes+bytes > q.limits.WaitingBytes:
		return fmt.Errorf("%d operations wait or are uploaded: %w", l.n, errQueueFull)
	}
	l.n, l.bytes = l.n+1, l.bytes+bytes
	return nil
}

// hold counts, without a bound.
func (q *Queue) hold(tenant string, n int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.load(tenant)
	l.n, l.bytes = l.n+n, l.bytes+bytes
}

// uploadOf is the job of an upload that who asks created. One whose time is over is not there any more,
// nor is one that was cancelled.
func (s *service) uploadOf(who *Identity, id string) (*archive.Job, error) {
	j, err := s.of(who).Job(id)
	if err != nil {
		return nil, err
	}
	gone := j.State == archive.JobCancelled || j.State == archive.JobReceiving && j.Upload != nil && time.Now().After(j.Upload.Expires)
	if j.Upload == nil || !s.own(who, j) || gone {
		return nil, fmt.Errorf("upload %q: %w", id, archive.ErrNotFound)
	}
	return j, nil
}

// noSpace says of a full disk that what was told stays.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", errUploadSpace, err)
	}
	if errors.Is(err, archive.ErrTooManyPieces) {
		return fmt.Errorf("%w: send more at a time: %w", errTooLarge, err)
	}
	return err
}

// NewUpload implements tusd.DataStore.
func (u *uploads) NewUpload(ctx context.Context, info tusd.FileInfo) (tusd.Upload, error) {
	t := tusOf(ctx)
	n := t.created
	agent := u.s.a.Pseudonym(n.Agent)
	n.Upload = &archive.JobUpload{Length: info.Size, Expires: time.Now().Add(u.s.config.Limits.UploadKeep).UTC().Truncate(time.Second)}
	if !t.known {
		if err := u.reserve(n.Tenant, agent, info.Size); err != nil {
			return nil, t.failed(err)
		}
	}
	j, was, err := u.s.of(t.who).BeginJob(n)
	if !t.known && (was || err != nil) {
		u.release(n.Tenant, agent, "", info.Size)
	}
	if err == nil && was && !t.known { // of two at a time; what this one brings must not be taken for more
		err = archive.ErrUnderWay
	}
	if err != nil {
		return nil, t.failed(noSpace(err))
	}
	// tusd has no lock on it yet, and a retry may know it already.
	var up *upload
	if err := u.held(ctx, j.ID, func() (err error) {
		up, err = u.take(ctx, j)
		return err
	}); err != nil {
		return nil, t.failed(err)
	}
	return up, nil
}

// held does f while no request has the upload; that which has it is asked to end.
func (u *uploads) held(ctx context.Context, id string, f func() error) error {
	lock, err := u.locks.NewLock(id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	if err := lock.Lock(ctx, func() {}); err != nil {
		return errUploadHeld
	}
	return errors.Join(f(), lock.Unlock())
}

// GetUpload implements tusd.DataStore.
func (u *uploads) GetUpload(ctx context.Context, id string) (tusd.Upload, error) {
	t := tusOf(ctx)
	j, err := u.s.uploadOf(t.who, id)
	if err != nil {
		return nil, t.failed(err)
	}
	return u.take(ctx, j)
}

// take takes an upload up. One that became whole just when the program ended becomes an operation now.
func (u *uploads) take(ctx context.Context, j *archive.Job) (*upload, error) {
	t := tusOf(ctx)
	up := &upload{u: u, t: t, job: j}
	if j.State != archive.JobReceiving {
		t.operation, t.offset = operationAt(j.ID), fmt.Sprint(j.Upload.Length)
		return up, nil
	}
	t.expires = j.Upload.Expires
	u.mu.Lock()
	up.body = u.open[j.ID]
	u.mu.Unlock()
	if up.body == nil {
		var err error
		if up.body, err = u.s.of(t.who).OpenUpload(j.ID); err != nil {
			return nil, t.failed(noSpace(err))
		}
		u.mu.Lock()
		u.open[j.ID] = up.body
		u.mu.Unlock()
	}
	if err := json.Unmarshal(up.body.Request.Said, &up.said); err != nil {
		return nil, t.failed(fmt.Errorf("reading what is said of an upload: %w", err))
	}
	if t.known {
		t.offset = fmt.Sprint(up.body.Offset())
	}
	if up.body.Offset() == j.Upload.Length && t.created.ID == "" {
		return up, up.FinishUpload(ctx)
	}
	return up, nil
}

// AsTerminatableUpload implements tusd.TerminaterDataStore.
func (u *uploads) AsTerminatableUpload(up tusd.Upload) tusd.TerminatableUpload { return up.(*upload) }

// expire gives up what was not made whole in its time.
func (u *uploads) expire(ctx context.Context) {
	all, err := u.s.a.Uploads()
	for _, j := range all {
		if err == nil && time.Now().After(j.Upload.Expires) {
			err = u.drop(ctx, j)
		}
	}
	if err != nil {
		u.s.log.Error("giving up uploads", "error", err)
	}
}

// drop forgets an upload; who writes to it is asked to end.
func (u *uploads) drop(ctx context.Context, j *archive.Job) error {
	return u.held(ctx, j.ID, func() error {
		err := u.s.a.DropUpload(j.ID)
		if errors.Is(err, archive.ErrBegun) || errors.Is(err, archive.ErrNotFound) { // meanwhile
			return nil
		}
		if err == nil {
			u.release(j.Tenant, j.Agent, j.ID, j.Upload.Length)
		}
		return err
	})
}

// upload is one within a request. tusd lets one request at a time have it.
type upload struct {
	u    *uploads
	t    *tusRequest
	job  *archive.Job
	said uploadSaid
	body *archive.Upload // nil when it is whole
}

// GetInfo implements tusd.Upload.
func (up *upload) GetInfo(context.Context) (tusd.FileInfo, error) {
	info := tusd.FileInfo{ID: up.job.ID, Size: up.job.Upload.Length, Offset: up.job.Upload.Length, MetaData: tusd.MetaData(up.said)}
	if up.body != nil {
		info.Offset = up.body.Offset()
	}
	return info, nil
}

// WriteChunk implements tusd.Upload. What it says is durable.
func (up *upload) WriteChunk(_ context.Context, offset int64, src io.Reader) (int64, error) {
	if up.body == nil || up.body.Offset() != offset {
		return 0, up.t.failed(errOffset)
	}
	sum, err := newChecksum(up.t.checksum)
	if err != nil {
		return 0, up.t.failed(err)
	}
	var check func() error
	if sum != nil {
		src, check = io.TeeReader(src, sum), sum.check
	}
	n, err := up.body.Append(src, check)
	if err != nil {
		return n, up.t.failed(noSpace(err))
	}
	return n, nil
}

// FinishUpload implements tusd.Upload: it makes it an operation, once.
func (up *upload) FinishUpload(ctx context.Context) error {
	if up.body == nil {
		return nil
	}
	s, id := up.u.s, up.job.ID
	request := up.body.Request
	sum := make([]byte, sha256.Size)
	if up.said[uploadKind] == kindTransfer || up.said[uploadDigest] != "" {
		got, err := up.body.SHA256()
		if err != nil {
			return up.t.failed(err)
		}
		sum = got[:]
	}
	if d, _ := parseDigests(up.said[uploadDigest]); d.sha256 != nil && string(d.sha256) != string(sum) { // it was read when it was said
		return up.t.failed(up.refuse(ctx, fmt.Errorf("the upload does not have its repr-digest, and was given up: %w", errDigest)))
	}
	request.Said = mustJSON(up.said.job(sum))
	j, was, err := s.of(up.t.who).CompleteJob(id, &request)
	if err != nil {
		return up.t.failed(noSpace(err))
	}
	if !was {
		up.u.release(j.Tenant, j.Agent, id, j.Upload.Length)
		s.queue.enter(j)
	}
	up.job, up.body = j, nil
	up.t.operation, up.t.expires = operationAt(id), time.Time{}
	return nil
}

// refuse gives up an upload that is whole and not what it was said to be.
func (up *upload) refuse(ctx context.Context, why error) error {
	s, p := up.u.s, problemOf(why)
	if err := s.noteRefused(ctx, up.t.who, "continueUpload", p.Code, p.Status, len(p.Faults)); err != nil {
		return err
	}
	if err := up.Terminate(ctx); err != nil {
		return err
	}
	return why
}

// Terminate implements tusd.TerminatableUpload.
func (up *upload) Terminate(context.Context) error {
	s, j := up.u.s, up.job
	var err error
	if up.body == nil {
		_, err = s.queue.cancel(j.ID)
	} else if err = s.of(up.t.who).DropUpload(j.ID); err == nil {
		up.u.release(j.Tenant, j.Agent, j.ID, j.Upload.Length)
	}
	if err != nil {
		return up.t.failed(err)
	}
	return nil
}

// GetReader implements tusd.Upload. Nothing is given back of an upload: it is not asked for.
func (up *upload) GetReader(context.Context) (io.ReadCloser, error) { return nil, archive.ErrNotFound }

// checksum is what a body must have (tus 1.0, Checksum).
type checksum struct {
	hash.Hash
	want []byte
}

const checksumAlgorithms = "sha1,sha256"

// newChecksum reads Upload-Checksum; nil when there is none.
func newChecksum(header string) (*checksum, error) {
	if header == "" {
		return nil, nil
	}
	name, text, _ := strings.Cut(header, " ")
	c := &checksum{}
	switch name {
	case "sha1":
		c.Hash = sha1.New() // against faults of the way, not against people: the whole has a SHA-256
	case "sha256":
		c.Hash = sha256.New()
	default:
		return nil, fmt.Errorf("Upload-Checksum: want one of %s: %w", checksumAlgorithms, errMalformed)
	}
	var err error
	if c.want, err = base64.StdEncoding.DecodeString(text); err != nil || len(c.want) != c.Size() {
		return nil, fmt.Errorf("Upload-Checksum: want %d bytes as base64: %w", c.Size(), errMalformed)
	}
	return c, nil
}

func (c *checksum) check() error {
	if string(c.Sum(nil)) != string(c.want) {
		return errChecksum
	}
	return nil
}

// invalidTus is what tusd finds wrong with a header.
func invalidTus(text string) error {
	return &Problem{Status: http.StatusBadRequest, Code: malformed.code, Reply: malformed.reply, Faults: []Fault{{Message: text}}}
}
