package tsp

import (
	"errors"
	"io"
	"mime"
	"net/http"
)

// The media types of RFC 3161 section 3.4.
const (
	typeQuery = "application/timestamp-query"
	typeReply = "application/timestamp-reply"
)

const maxQuery = 16 << 10

// ServeHTTP answers time-stamp requests (RFC 3161 section 3.4). A refusal is a
// reply with a PKIFailureInfo, under HTTP status 200.
func (l *Local) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "time-stamp requests are posted", http.StatusMethodNotAllowed)
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != typeQuery {
		http.Error(w, "want "+typeQuery, http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuery))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		http.Error(w, "request too large", http.StatusRequestEntityTooLarge)
		return
	} else if err != nil {
		http.Error(w, "request was cut", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", typeReply)
	w.Write(l.answer(body))
}

// answer gives the TimeStampResp to a TimeStampReq.
func (l *Local) answer(der []byte) []byte {
	refuse := func(f FailInfo, text string) []byte {
		return (&RefusedError{Status: statusRejection, Fail: f, Text: text}).marshal()
	}
	q, err := parseQuery(der)
	if err != nil {
		return refuse(BadDataFormat, "malformed request")
	}
	hash, err := q.imprint.alg.digest()
	switch {
	case err != nil:
		return refuse(BadAlgorithm, "digest algorithm not accepted")
	case acceptedAt(hash, l.now()) != nil:
		return refuse(BadAlgorithm, "digest algorithm not accepted any more")
	case len(q.imprint.hashed) != hash.Size():
		return refuse(BadDataFormat, "hash of a wrong length")
	case q.extensions:
		return refuse(UnacceptedExtension, "no extension is known")
	case q.policy != nil && !q.policy.Equal(LocalPolicy):
		return refuse(UnacceptedPolicy, "one policy only")
	}
	token, err := l.stamp(q)
	if errors.Is(err, ErrExpired) {
		return refuse(TimeNotAvailable, "the authority's certificate is not valid now")
	} else if err != nil {
		return refuse(SystemFailure, "internal error")
	}
	response, err := marshalGranted(token)
	if err != nil {
		return refuse(SystemFailure, "internal error")
	}
	return response
}
