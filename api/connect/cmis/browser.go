// Package cmis pulls closed folders out of a system that speaks CMIS 1.1 (OASIS), over its browser
// binding, deposits them, and marks them there with the archive's identifiers. What that system sends is
// bounded, and is not believed: sizes and digests are held against what comes.
package cmis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sae/api/client"
	"sae/api/connect/boundjson"
)

// Browser asks a repository over the browser binding (section 5).
type Browser struct {
	URL        string // of the service, or of the repository
	Repository string // "": the only one
	User       string // with Password: HTTP basic
	Password   string
	Token      string // bearer
	Succinct   bool   // asks for properties without their definitions
	HTTP       *http.Client
	Pause      func(context.Context, time.Duration) error // between tries; a timer when nil

	id         string
	repository *url.URL
	root       *url.URL
}

// The bounds of what a repository sends.
const (
	maxAnswer = 32 << 20
	maxDepth  = 24
	maxID     = 1000 // bytes
	pageSize  = 100
	maxTries  = 5
	answerIn  = 5 * time.Minute // an answer in JSON
	silence   = 2 * time.Minute // a content of which nothing comes
)

var answerBounds = boundjson.Bounds{Bytes: maxAnswer, Depth: maxDepth}

// Fault is what a repository says when something is not done (section 5.2.10). Its message is left out:
// it may name documents.
type Fault struct {
	Status    int
	Exception string // objectNotFound, updateConflict...
	wait      time.Duration
}

func (f *Fault) Error() string {
	if f.Exception == "" {
		return fmt.Sprintf("the repository answers %d", f.Status)
	}
	return fmt.Sprintf("the repository answers %d %s", f.Status, f.Exception)
}

// unreached: no answer came from the repository.
type unreached struct{ error }

func (u unreached) Unwrap() error { return u.error }

// cutShort: a content did not come to its end.
type cutShort struct{ error }

func (c cutShort) Unwrap() error { return c.error }

// Passing reports whether an error passes with time.
func Passing(err error) bool { return isAway(err) || errors.As(err, new(cutShort)) }

// isAway reports whether the repository is not reached, or takes nothing now.
func isAway(err error) bool {
	var f *Fault
	return errors.As(err, new(unreached)) || errors.As(err, &f) && (f.Status == 429 || f.Status == 502 || f.Status == 503 || f.Status == 504)
}

func isException(err error, name string) bool {
	var f *Fault
	return errors.As(err, &f) && strings.EqualFold(f.Exception, name)
}

// Connect finds the repository.
func (b *Browser) Connect(ctx context.Context) error {
	service, err := url.Parse(b.URL)
	if err != nil || service.Host == "" {
		return fmt.Errorf("connecting to the repository: %q is not a URL", b.URL)
	}
	var all map[string]struct {
		ID   string `json:"repositoryId"`
		URL  string `json:"repositoryUrl"`
		Root string `json:"rootFolderUrl"`
	}
	if err := b.get(ctx, service, nil, &all); err != nil {
		return fmt.Errorf("connecting to the repository: %w", err)
	}
	names := slices.Sorted(maps.Keys(all))
	chosen := b.Repository
	if chosen == "" && len(names) == 1 {
		chosen = names[0]
	}
	info, ok := all[chosen]
	if !ok {
		return fmt.Errorf("connecting to the repository: %q is not there; there are: %s", chosen, strings.Join(names, ", "))
	}
	b.id = chosen
	if b.repository, err = within(service, info.URL); err == nil {
		b.root, err = within(service, info.Root)
	}
	if err != nil {
		return fmt.Errorf("connecting to the repository: %w", err)
	}
	return nil
}

// within is an address that the repository gives, at the host that was configured: behind a proxy it
// names another one, and credentials go nowhere else.
func within(service *url.URL, given string) (*url.URL, error) {
	u, err := url.Parse(given)
	if err != nil || u.Path == "" {
		return nil, errors.New("it gives no address of the repository or its root folder")
	}
	out := *service
	out.Path, out.RawPath, out.RawQuery = u.Path, u.RawPath, u.RawQuery
	return &out, nil
}

// page is a part of a list.
type page struct {
	objects []*Object
	more    bool
}

// query asks for the objects of a statement, from one on.
func (b *Browser) query(ctx context.Context, statement string, skip int) (page, error) {
	var raw struct {
		Results []rawObject `json:"results"`
		More    *bool       `json:"hasMoreItems"`
	}
	err := b.get(ctx, b.repository, url.Values{"cmisselector": {"query"}, "q": {statement}, "searchAllVersions": {"false"}, "skipCount": {strconv.Itoa(skip)}, "maxItems": {strconv.Itoa(pageSize)}}, &raw)
	if err != nil {
		return page{}, fmt.Errorf("asking the query: %w", err)
	}
	return pageOf(raw.Results, raw.More)
}

// children asks for what stands in a folder, from one on.
func (b *Browser) children(ctx context.Context, folder string, skip int) (page, error) {
	var raw struct {
		Objects []struct {
			Object rawObject `json:"object"`
		} `json:"objects"`
		More *bool `json:"hasMoreItems"`
	}
	err := b.get(ctx, b.root, url.Values{"cmisselector": {"children"}, "objectId": {folder}, "includeRelationships": {"none"}, "skipCount": {strconv.Itoa(skip)}, "maxItems": {strconv.Itoa(pageSize)}}, &raw)
	if err != nil {
		return page{}, fmt.Errorf("reading the children of %s: %w", folder, err)
	}
	var objects []rawObject
	for _, o := range raw.Objects {
		objects = append(objects, o.Object)
	}
	return pageOf(objects, raw.More)
}

// pageOf reads a page. Where nothing says whether there is more (it may be left out), a page that is
// not empty has another behind it.
func pageOf(raw []rawObject, more *bool) (p page, err error) {
	if len(raw) > 100*pageSize {
		return p, fmt.Errorf("a page has %d objects, where %d were asked for", len(raw), pageSize)
	}
	for i := range raw {
		o, err := raw[i].object()
		if err != nil {
			return p, err
		}
		p.objects = append(p.objects, o)
	}
	p.more = len(raw) > 0 && (more == nil || *more)
	return p, nil
}

// object asks for an object with all its properties.
func (b *Browser) object(ctx context.Context, id string) (*Object, error) {
	var raw rawObject
	if err := b.get(ctx, b.root, url.Values{"cmisselector": {"object"}, "objectId": {id}, "includeRelationships": {"none"}}, &raw); err != nil {
		return nil, fmt.Errorf("reading object %s: %w", id, err)
	}
	return raw.object()
}

// versions asks for all versions of a document, the first one first.
func (b *Browser) versions(ctx context.Context, id string) ([]*Object, error) {
	var raw []rawObject
	if err := b.get(ctx, b.root, url.Values{"cmisselector": {"versions"}, "objectId": {id}}, &raw); err != nil {
		return nil, fmt.Errorf("reading the versions of %s: %w", id, err)
	}
	p, err := pageOf(raw, nil)
	slices.Reverse(p.objects) // the binding gives the latest first (section 2.2.7.6)
	return p.objects, err
}

// content opens the content of a document.
func (b *Browser) content(ctx context.Context, id string) (io.ReadCloser, error) {
	out := &stream{}
	err := b.again(ctx, func() error {
		ctx, cancel := context.WithCancel(ctx)
		out.cancel, out.silence = cancel, time.AfterFunc(silence, cancel)
		answer, err := b.do(ctx, http.MethodGet, b.root, url.Values{"cmisselector": {"content"}, "objectId": {id}}, nil)
		if err != nil {
			out.silence.Stop()
			cancel()
			return err
		}
		out.ReadCloser = answer.Body
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the content of %s: %w", id, err)
	}
	return out, nil
}

// stream is a content that is given up when nothing of it comes for too long.
type stream struct {
	io.ReadCloser
	cancel  context.CancelFunc
	silence *time.Timer
}

func (s *stream) Read(p []byte) (int, error) {
	s.silence.Reset(silence)
	return s.ReadCloser.Read(p)
}

func (s *stream) Close() error {
	s.silence.Stop()
	s.cancel()
	return s.ReadCloser.Close()
}

// update sets properties of an object that is still as its change token says, and gives it as it is
// then (section 5.4.3.7).
func (b *Browser) update(ctx context.Context, id, token string, props map[string][]string) error {
	form := url.Values{"_charset_": {"UTF-8"}, "cmisaction": {"update"}, "succinct": {"true"}}
	if token != "" {
		form.Set("changeToken", token)
	}
	for i, name := range slices.Sorted(maps.Keys(props)) {
		form.Set(fmt.Sprintf("propertyId[%d]", i), name)
		if name != propSecondary {
			form.Set(fmt.Sprintf("propertyValue[%d]", i), props[name][0])
			continue
		}
		for j, v := range props[name] {
			form.Set(fmt.Sprintf("propertyValue[%d][%d]", i, j), v)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	answer, err := b.do(ctx, http.MethodPost, b.root, url.Values{"objectId": {id}}, form)
	if err != nil {
		return fmt.Errorf("marking %s: %w", id, err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer)) // so that the connection is used again
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("marking %s: %w", id, unreached{err})
	}
	return nil
}

// get asks for JSON until it is answered for good.
func (b *Browser) get(ctx context.Context, at *url.URL, query url.Values, into any) error {
	if query != nil {
		query.Set("succinct", strconv.FormatBool(b.Succinct))
	}
	return b.again(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, answerIn)
		defer cancel()
		answer, err := b.do(ctx, http.MethodGet, at, query, nil)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if err := boundjson.Decode(&broken{r: answer.Body}, answerBounds, into); err != nil {
			return fmt.Errorf("the repository's answer: %w", err)
		}
		return nil
	})
}

// broken reads an answer. One that breaks off may come whole when it is asked for again.
type broken struct{ r io.Reader }

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		err = unreached{err}
	}
	return n, err
}

func (b *Browser) again(ctx context.Context, do func() error) error {
	return client.Again(ctx, maxTries, b.Pause, func() (time.Duration, error) {
		err := do()
		var f *Fault
		if errors.As(err, &f) {
			return f.wait, err
		}
		return 0, err
	}, Passing)
}

// do sends a request, and gives an answer that is good.
func (b *Browser) do(ctx context.Context, method string, at *url.URL, query, form url.Values) (*http.Response, error) {
	u := *at
	q := u.Query()
	maps.Copy(q, query)
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded;charset=utf-8")
	} else {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	switch {
	case b.Token != "":
		r.Header.Set("Authorization", "Bearer "+b.Token)
	case b.User != "":
		r.SetBasicAuth(b.User, b.Password)
	}
	answer, err := b.HTTP.Do(r)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) { // without the address
			err = e.Err
		}
		return nil, unreached{fmt.Errorf("no answer of the repository: %w", err)}
	}
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	defer answer.Body.Close()
	fault := &Fault{Status: answer.StatusCode, wait: client.RetryAfter(answer.Header)}
	var said struct {
		Exception string `json:"exception"`
	}
	if boundjson.Decode(answer.Body, boundjson.Bounds{Bytes: 1 << 20, Depth: maxDepth}, &said) == nil && exceptionForm.MatchString(said.Exception) {
		fault.Exception = said.Exception
	}
	return nil, fault
}
