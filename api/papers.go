package api

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/archive/printed"
)

// What is printed for people, and the certificates of what was destroyed.

func pdf(b []byte) *bytesOutput {
	return &bytesOutput{ContentType: "application/pdf", Cache: "no-store", Body: b}
}

type letterInput struct {
	Reads
	RequestPath
	Extension bool `query:"extension" doc:"the letter that tells of an extension, instead of the answer"`
}

func (s *service) requestLetter(ctx context.Context, who *Identity, in *letterInput) (*bytesOutput, error) {
	if _, err := s.dataRequest(who, in.Request); err != nil {
		return nil, err
	}
	x, err := s.reader(who, in.Reads).LetterContext(ctx, in.Request)
	if err != nil {
		return nil, err
	}
	l, err := printed.Letter(ctx, s.of(who), x, in.Extension, who.Name)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := l.PDF(&b); err != nil {
		return nil, fmt.Errorf("printing the letter: %w", err)
	}
	return pdf(b.Bytes()), nil
}

func (s *service) bordereau(_ context.Context, who *Identity, in *eliminationInput) (*bytesOutput, error) {
	e, err := s.eliminated(who, in.Elimination)
	if err != nil {
		return nil, err
	}
	b, err := printed.Bordereau(s.of(who), e)
	if err != nil {
		return nil, err
	}
	return pdf(b), nil
}

// certificateFormats are the forms in which a certificate is given.
var certificateFormats = map[string]string{"json": "application/json", "pdf": "application/pdf", "asice": "application/vnd.etsi.asic-e+zip"}

// CertificateForm is the form in which a certificate is asked for.
type CertificateForm struct {
	Format string `query:"format" enum:"json,pdf,asice" default:"json" doc:"json is for sae-verify, pdf for people, asice the proof bundle of both"`
}

// certificateResponses are those of a certificate.
func certificateResponses() map[string]*huma.Response {
	r := binary("application/pdf", "the certificate")
	for _, mediaType := range certificateFormats {
		r["200"].Content[mediaType] = r["200"].Content["application/pdf"]
	}
	return r
}

// certificate gives the certificate of what was destroyed under an elimination or erasure. It may be
// large: it names every unit.
func (s *service) certificate(ctx context.Context, operation, id, format string) (*huma.StreamResponse, error) {
	cert, err := s.of(identityOf(ctx)).CertificateOf(id)
	if err != nil {
		return nil, err
	}
	return s.stream(operation, certificateFormats[format], "certificate."+format, func(w io.Writer) (err error) {
		switch format {
		case "asice":
			err = s.of(identityOf(ctx)).Proof(ctx, cert.Record, w)
		case "pdf":
			_, _, err = s.of(identityOf(ctx)).Get(ctx, cert.PDF, w)
		default:
			_, _, err = s.of(identityOf(ctx)).Get(ctx, cert.JSON, w)
		}
		return err
	}), nil
}

// certify makes the certificate of what was destroyed, or gives the one that there is: when no
// time-stamping authority answered at its execution it is made later.
func (s *service) certify(ctx context.Context, who *Identity, id string) (*archive.Certificate, error) {
	return printed.Certify(ctx, s.of(who), who.Name, id)
}

type eliminationCertificateInput struct {
	EliminationPath
	CertificateForm
}

func (s *service) eliminationCertificate(ctx context.Context, who *Identity, in *eliminationCertificateInput) (*huma.StreamResponse, error) {
	if _, err := s.eliminated(who, in.Elimination); err != nil {
		return nil, err
	}
	return s.certificate(ctx, "eliminationCertificate", in.Elimination, in.Format)
}

type requestCertificateInput struct {
	RequestPath
	CertificateForm
}

func (s *service) requestCertificate(ctx context.Context, who *Identity, in *requestCertificateInput) (*huma.StreamResponse, error) {
	q, err := s.dataRequest(who, in.Request)
	if err == nil && q.Erasure == "" {
		err = fmt.Errorf("certificate of request %s, which allows no erasure: %w", q.ID, archive.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return s.certificate(ctx, "requestCertificate", q.Erasure, in.Format)
}

// Made tells of a certificate that was made.
type Made struct {
	Certificate *archive.Certificate `json:"certificate"`
}

// makeCertificate makes a certificate once.
func (s *service) makeCertificate(ctx context.Context, who *Identity, key, operation, id, location string) (*done[Made], error) {
	e, err := s.of(who).Elimination(id)
	if err != nil {
		return nil, err
	}
	c, replayed, err := once(ctx, s, who, key, operation, id, func(ctx context.Context) (*archive.Certificate, error) {
		return s.certify(ctx, who, id)
	}, func(int64) (*archive.Certificate, error) { return s.of(who).CertificateOf(id) }, endsWith(e.Kind, archive.Certified))
	if err != nil {
		return nil, err
	}
	return &done[Made]{Replayed: replayed, Location: location, Body: Made{c}}, nil
}

type makeEliminationCertificateInput struct {
	Keyed
	EliminationPath
}

func (s *service) makeEliminationCertificate(ctx context.Context, who *Identity, in *makeEliminationCertificateInput) (*done[Made], error) {
	if _, err := s.eliminated(who, in.Elimination); err != nil {
		return nil, err
	}
	return s.makeCertificate(ctx, who, in.Key, "makeEliminationCertificate", in.Elimination, "/v1/eliminations/"+in.Elimination+"/certificate")
}

type makeRequestCertificateInput struct {
	Keyed
	RequestPath
}

func (s *service) makeRequestCertificate(ctx context.Context, who *Identity, in *makeRequestCertificateInput) (*done[Made], error) {
	q, err := s.dataRequest(who, in.Request)
	if err == nil && q.Erasure == "" {
		err = &archive.Refusal{Problems: []string{fmt.Sprintf("request %s allows no erasure: there is nothing to certify", q.ID)}}
	}
	if err != nil {
		return nil, err
	}
	return s.makeCertificate(ctx, who, in.Key, "makeRequestCertificate", q.Erasure, "/v1/requests/"+q.ID+"/certificate")
}
