package api

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// The header Upload-Metadata of tus 1.0 (Creation): pairs of a key and the base64 of a value, between
// commas. Here each key has a meaning; one that is not known is refused, and none is passed over.

const (
	maxUploadMetadata = 8 << 10 // bytes of the header
	maxUploadKeys     = 16
)

// uploadSaid is what is said of an upload when it is created, by key. It is kept enciphered.
type uploadSaid map[string]string

// The keys.
const (
	uploadKind      = "kind"
	uploadFilename  = "filename"
	uploadType      = "content-type"
	uploadAgreement = "archivalAgreement"
	uploadSubject   = "subject"
	uploadDigest    = "repr-digest"
)

// keysOf are the keys that an upload of a kind may have; true: it must.
var keysOf = map[string]map[string]bool{
	kindTransfer: {uploadKind: true, uploadFilename: true, uploadAgreement: false, uploadSubject: false, uploadDigest: false},
	kindDeposit:  {uploadKind: true, uploadType: true, uploadFilename: false, uploadDigest: false},
}

// packageName is what a package may be called.
var packageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)

// parseUploadMetadata reads the header.
func parseUploadMetadata(header string) (uploadSaid, error) {
	if len(header) > maxUploadMetadata {
		return nil, fmt.Errorf("Upload-Metadata has %d bytes, at most %d are taken: %w", len(header), maxUploadMetadata, errMalformed)
	}
	pairs := strings.Split(header, ",")
	if len(pairs) > maxUploadKeys {
		return nil, fmt.Errorf("Upload-Metadata has %d keys, at most %d are taken: %w", len(pairs), maxUploadKeys, errMalformed)
	}
	out := uploadSaid{}
	if strings.TrimSpace(header) == "" {
		return out, nil
	}
	for i, pair := range pairs {
		key, text, _ := strings.Cut(strings.Trim(pair, " "), " ")
		value, err := base64.StdEncoding.Strict().DecodeString(text)
		_, twice := out[key]
		switch {
		case key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
			return nil, fmt.Errorf("Upload-Metadata, pair %d: want KEY BASE64: %w", i+1, errMalformed)
		case err != nil || strings.ContainsAny(text, "\r\n"):
			return nil, fmt.Errorf("Upload-Metadata, %.40s: the value is not base64: %w", key, errMalformed)
		case !utf8.Valid(value) || bytes.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return nil, fmt.Errorf("Upload-Metadata, %.40s: the value is not text of one line, in UTF-8: %w", key, errMalformed)
		case twice:
			return nil, fmt.Errorf("Upload-Metadata, %.40s: it stands there twice: %w", key, errMalformed)
		}
		out[key] = string(value)
	}
	return out, nil
}

// check says all that is wrong with what is said of an upload.
func (u uploadSaid) check() error {
	var faults []Fault
	bad := func(key, format string, args ...any) {
		faults = append(faults, Fault{fmt.Sprintf(format, args...), "header.Upload-Metadata." + key})
	}
	keys, known := keysOf[u[uploadKind]]
	if !known {
		bad(uploadKind, "want %q or %q", kindTransfer, kindDeposit)
		return invalid(faults...)
	}
	for _, key := range slices.Sorted(maps.Keys(u)) {
		if _, known := keys[key]; !known {
			bad(key, "not a key of the kind %s: want some of %v", u[uploadKind], slices.Sorted(maps.Keys(keys)))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if keys[key] && u[key] == "" {
			bad(key, "missing")
		}
	}
	if name := u[uploadFilename]; u[uploadKind] == kindTransfer && name != "" && !packageName.MatchString(name) {
		bad(uploadFilename, "want a name of at most 200 letters, digits and ._-, such as sip.zip")
	}
	if len(u[uploadAgreement]) > 64 {
		bad(uploadAgreement, "want at most 64 bytes")
	}
	if len(u[uploadSubject]) > 1000 {
		bad(uploadSubject, "want at most 1000 bytes")
	}
	if ct := u[uploadType]; ct != "" {
		if _, err := openParts(ct, "", bytes.NewReader(nil)); err != nil {
			bad(uploadType, "want multipart/form-data with a boundary, as POST /v1/deposits does")
		}
	}
	if text := u[uploadDigest]; text != "" {
		if d, err := parseDigests(text); err != nil || d.sha256 == nil || d.sha512 != nil {
			bad(uploadDigest, "want sha-256=:BASE64: (RFC 9530)")
		}
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	return nil
}

// job is what the job of the upload says, whose body has this digest.
func (u uploadSaid) job(sum []byte) any {
	if u[uploadKind] == kindDeposit {
		return jobDeposit{u[uploadType]}
	}
	return jobTransfer{transferSaid{u[uploadFilename], u[uploadAgreement], u[uploadSubject]}, sum}
}
