// Package s3 keeps blobs as objects of an S3 bucket, and locks them there.
//
// A blob is the object PREFIX/blobs/NAME. It is put once: with If-None-Match, so that
// nothing is ever overwritten, and with its SHA-256, which the server verifies and keeps;
// what is longer than one part goes as a multipart upload, each part with its own. A blob
// that was closed is durable: Sync has nothing left to do.
//
// A bucket with Object Lock keeps versions. Blobs are locked version by version (compliance
// or governance mode); deleting removes every version and every delete marker, so that
// nothing of a blob is left.
package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"sae/archive/blobs"
)

// Config names a bucket and how to reach it. It holds no secret.
type Config struct {
	Endpoint    string        `yaml:"endpoint"`              // https://host[:port]; http only on purpose
	Bucket      string        `yaml:"bucket"`                // exists already
	Prefix      string        `yaml:"prefix,omitempty"`      // of all objects, such as "sae/"
	Region      string        `yaml:"region,omitempty"`      // asked for when empty
	Credentials string        `yaml:"credentials,omitempty"` // "env" (AWS_ACCESS_KEY_ID...; default), "iam", or an AWS credentials file
	Profile     string        `yaml:"profile,omitempty"`     // of the credentials file
	CA          string        `yaml:"ca,omitempty"`          // file of certificates to trust instead of the system's
	Lock        string        `yaml:"lock,omitempty"`        // "compliance", "governance", or "" for none
	Timeout     time.Duration `yaml:"timeout,omitempty"`     // without any byte passing; 60 s when zero
	Tries       int           `yaml:"tries,omitempty"`       // of each request; 5 when zero
}

func (c *Config) String() string {
	return strings.TrimSuffix(c.Endpoint, "/") + "/" + c.Bucket + "/" + c.Prefix
}

// Problems says what is wrong with a configuration, by key.
func (c *Config) Problems() map[string]string {
	bad := map[string]string{}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		bad["endpoint"] = "want https://host or https://host:port"
	}
	if c.Bucket == "" {
		bad["bucket"] = "missing"
	}
	if strings.HasPrefix(c.Prefix, "/") || c.Prefix != "" && !strings.HasSuffix(c.Prefix, "/") {
		bad["prefix"] = "want none, or one that ends with / and does not begin with it"
	}
	if c.Lock != "" && c.Lock != "compliance" && c.Lock != "governance" {
		bad["lock"] = "want compliance, governance or nothing"
	}
	if c.Timeout < 0 || c.Tries < 0 {
		bad["timeout"] = "timeout and tries cannot be negative"
	}
	return bad
}

// Store is a bucket, or a part of one under a prefix.
type Store struct {
	c      Config
	client minio.Core
}

var _ blobs.Store = (*Store)(nil)

// New gives the store of a configuration. Nothing is asked of the server yet.
func New(c Config) (*Store, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", c.Endpoint, err)
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Tries == 0 {
		c.Tries = 5
	}
	transport, err := newTransport(&c)
	if err != nil {
		return nil, err
	}
	core, err := minio.NewCore(u.Host, &minio.Options{
		Creds: newCredentials(&c), Secure: u.Scheme == "https", Transport: transport, Region: c.Region, MaxRetries: c.Tries,
	})
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", c.Endpoint, err)
	}
	core.SetAppInfo("sae", "1")
	return &Store{c, *core}, nil
}

func newCredentials(c *Config) *credentials.Credentials {
	switch c.Credentials {
	case "", "env":
		return credentials.NewEnvAWS()
	case "iam":
		return credentials.NewIAM("")
	}
	return credentials.NewFileAWSCredentials(c.Credentials, c.Profile)
}

func newTransport(c *Config) (*http.Transport, error) {
	t, err := minio.DefaultTransport(true)
	if err != nil {
		return nil, err
	}
	t.TLSHandshakeTimeout, t.ResponseHeaderTimeout = c.Timeout, c.Timeout
	t.MaxIdleConnsPerHost = 64
	dialer := &net.Dialer{Timeout: c.Timeout}
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &watched{conn, c.Timeout}, nil
	}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("certificates of the endpoint: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", c.CA)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return t, nil
}

// watched fails when no byte passes for a time.
type watched struct {
	net.Conn
	timeout time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	w.SetReadDeadline(time.Now().Add(w.timeout))
	return w.Conn.Read(p)
}

func (w *watched) Write(p []byte) (int, error) {
	w.SetWriteDeadline(time.Now().Add(w.timeout))
	return w.Conn.Write(p)
}

func (s *Store) key(name string) string { return s.c.Prefix + "blobs/" + name }

// explain names the store and turns what the server says into what the callers of
// blobs.Store know.
func (s *Store) explain(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	r := minio.ToErrorResponse(err)
	switch r.Code {
	case "NoSuchKey", "NoSuchVersion":
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case "PreconditionFailed":
		err = fmt.Errorf("%w: %w", fs.ErrExist, err)
	}
	return fmt.Errorf("%s %s in %s: %w", doing, name, s.c.String(), err)
}

// Mark writes the mark of a new place; one that is marked already gives an error matching
// fs.ErrExist. It also holds the bucket against what the configuration wants of it.
func (s *Store) Mark(ctx context.Context, m blobs.Mark) error {
	if err := s.checkBucket(ctx); err != nil {
		return err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := s.ReadMark(ctx); err == nil {
		return fmt.Errorf("%s holds an offer already: %w", s.c.String(), fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.putWhole(ctx, s.c.Prefix+blobs.MarkName, append(b, '\n'))
}

// checkBucket wants the bucket, and Object Lock in it when blobs are to be locked.
func (s *Store) checkBucket(ctx context.Context) error {
	ok, err := s.client.BucketExists(ctx, s.c.Bucket)
	if err != nil {
		return fmt.Errorf("bucket %s: %w", s.c.String(), err)
	}
	if !ok {
		return fmt.Errorf("bucket %s at %s does not exist: make it, with Object Lock when copies are to be locked", s.c.Bucket, s.c.Endpoint)
	}
	if s.c.Lock == "" {
		return nil
	}
	enabled, _, _, _, err := s.client.GetObjectLockConfig(ctx, s.c.Bucket)
	if err != nil || enabled != "Enabled" {
		return fmt.Errorf("bucket %s has no Object Lock, which the configuration wants (lock: %s); it can be had only when a bucket is made", s.c.Bucket, s.c.Lock)
	}
	return nil
}

// Check wants the place to have this mark.
func (s *Store) Check(ctx context.Context, want blobs.Mark) error {
	m, err := s.ReadMark(ctx)
	if err != nil {
		return err
	}
	return m.Check(want, s.c.String()+blobs.MarkName)
}

// ReadMark reads the mark of the place.
func (s *Store) ReadMark(ctx context.Context) (m blobs.Mark, err error) {
	r, _, _, err := s.client.GetObject(ctx, s.c.Bucket, s.c.Prefix+blobs.MarkName, minio.GetObjectOptions{})
	if err != nil {
		return m, s.explain("reading", blobs.MarkName, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, 1<<16))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return m, fmt.Errorf("reading %s in %s: %w", blobs.MarkName, s.c.String(), err)
	}
	return m, nil
}

// Sync implements blobs.Store: what was closed is durable.
func (s *Store) Sync(context.Context) error { return nil }

// List implements blobs.Store.
func (s *Store) List(ctx context.Context, prefix string, f func(string, int64) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for o := range s.client.Client.ListObjects(ctx, s.c.Bucket, minio.ListObjectsOptions{Prefix: s.key(prefix), Recursive: true}) {
		if o.Err != nil {
			return fmt.Errorf("listing %s: %w", s.c.String(), o.Err)
		}
		if err := f(strings.TrimPrefix(o.Key, s.key("")), o.Size); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Delete implements blobs.Store: every version goes, and every delete marker.
func (s *Store) Delete(ctx context.Context, name string) error {
	versions, err := s.versions(ctx, name)
	if err != nil {
		return err
	}
	for _, v := range versions {
		err := s.client.RemoveObject(ctx, s.c.Bucket, s.key(name), minio.RemoveObjectOptions{VersionID: v})
		if err == nil || minio.ToErrorResponse(err).Code == "NoSuchKey" || minio.ToErrorResponse(err).Code == "NoSuchVersion" {
			continue
		}
		if until, locked := s.lockOf(ctx, name, v); locked {
			return &blobs.LockedError{Name: name, Until: until}
		}
		return s.explain("deleting", name, err)
	}
	if len(versions) == 0 {
		return nil
	}
	left, err := s.versions(ctx, name)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("deleting %s in %s: %d versions are left", name, s.c.String(), len(left))
	}
	return err
}

// versions gives the versions of a blob, delete markers among them; in a bucket without
// versions the one object is the version "" or "null".
func (s *Store) versions(ctx context.Context, name string) (out []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for o := range s.client.Client.ListObjects(ctx, s.c.Bucket, minio.ListObjectsOptions{Prefix: s.key(name), Recursive: true, WithVersions: true}) {
		if o.Err != nil {
			return nil, fmt.Errorf("listing versions of %s in %s: %w", name, s.c.String(), o.Err)
		}
		if o.Key == s.key(name) {
			out = append(out, o.VersionID)
		}
	}
	return out, nil
}

// Lock keeps a blob from being deleted by anyone until the given time; a lock is made
// longer, never shorter. It does nothing where the configuration wants no locks.
func (s *Store) Lock(ctx context.Context, name string, until time.Time) error {
	if s.c.Lock == "" {
		return nil
	}
	if has, locked := s.lockOf(ctx, name, ""); locked && !has.Before(until.Truncate(time.Second)) {
		return nil
	}
	mode := minio.RetentionMode(strings.ToUpper(s.c.Lock))
	until = until.UTC().Truncate(time.Second)
	err := s.client.PutObjectRetention(ctx, s.c.Bucket, s.key(name), minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until})
	return s.explain("locking", name, err)
}

// Hold sets or lifts the legal hold of a blob.
func (s *Store) Hold(ctx context.Context, name string, on bool) error {
	status := minio.LegalHoldDisabled
	if on {
		status = minio.LegalHoldEnabled
	}
	return s.explain("holding", name, s.client.PutObjectLegalHold(ctx, s.c.Bucket, s.key(name), minio.PutObjectLegalHoldOptions{Status: &status}))
}

// lockOf tells until when a version of a blob is locked; a legal hold has no end.
func (s *Store) lockOf(ctx context.Context, name, version string) (until time.Time, locked bool) {
	hold, err := s.client.GetObjectLegalHold(ctx, s.c.Bucket, s.key(name), minio.GetObjectLegalHoldOptions{VersionID: version})
	if err == nil && hold != nil && *hold == minio.LegalHoldEnabled {
		return time.Time{}, true
	}
	_, date, err := s.client.GetObjectRetention(ctx, s.c.Bucket, s.key(name), version)
	if err != nil || date == nil || !date.After(time.Now()) {
		return time.Time{}, false
	}
	return *date, true
}

// Open implements blobs.Store: one request serves reading in order.
func (s *Store) Open(ctx context.Context, name string) (blobs.Blob, error) {
	b := &blob{s: s, ctx: ctx, name: name}
	if err := b.seek(0); err != nil {
		return nil, err
	}
	return b, nil
}

// OpenRange implements blobs.Store: one request, for no more than is wanted.
func (s *Store) OpenRange(ctx context.Context, name string, off, n int64) (blobs.Blob, error) {
	if off < 0 || n <= 0 {
		return nil, fmt.Errorf("reading %s: %d bytes from byte %d on are no part of a blob", name, n, off)
	}
	b := &blob{s: s, ctx: ctx, name: name, from: off, size: n, part: true}
	if err := b.seek(0); err != nil {
		return nil, err
	}
	return b, nil
}

// putWhole puts a small object in one request.
func (s *Store) putWhole(ctx context.Context, key string, content []byte) error {
	sum := sha256.Sum256(content)
	o := minio.PutObjectOptions{ContentType: "application/octet-stream", UserMetadata: map[string]string{"x-amz-checksum-sha256": base64Of(sum[:])}}
	o.SetMatchETagExcept("*")
	_, err := s.client.PutObject(ctx, s.c.Bucket, key, bytes.NewReader(content), int64(len(content)), "", fmt.Sprintf("%x", sum), o)
	if minio.ToErrorResponse(err).Code == "PreconditionFailed" && s.holds(ctx, key, int64(len(content)), base64Of(sum[:])) {
		return nil // a try before got through, only its answer was lost
	}
	return err
}

// holds reports whether an object has this size and checksum. A server that keeps no
// checksums is believed for nothing.
func (s *Store) holds(ctx context.Context, key string, size int64, checksum string) bool {
	info, err := s.client.StatObject(ctx, s.c.Bucket, key, minio.StatObjectOptions{Checksum: true})
	return err == nil && info.Size == size && info.ChecksumSHA256 == checksum
}
