package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sae/api/spool"
	"sae/archive"
	"sae/integrity"
	"sae/seda"
)

func (s *service) addTransfers() {
	responses := binary("application/xml", "ArchiveTransferReply of what was archived before")
	responses["201"] = &huma.Response{Description: "ArchiveTransferReply of what was archived", Content: responses["200"].Content}
	responses["422"] = &huma.Response{Description: "ArchiveTransferReply of a refused transfer, with all that is wrong", Content: responses["200"].Content}
	delete(responses, "200")
	add(s, huma.Operation{OperationID: "depositTransfer", Method: http.MethodPut, Path: "/v1/transfers/{name}", DefaultStatus: http.StatusCreated,
		Summary: "Deposit a SEDA transfer (zip, tar, tar.gz, or a manifest alone)",
		Description: "The body is the package. It is kept enciphered while it is read. The answer is the ArchiveTransferReply, of a transfer that was archived (201) as of one that was refused (422); " +
			"nothing of the latter is kept.",
		Responses: responses}, noting(s, "depositTransfer", s.depositTransfer))
	// It is told of afterwards: the framework reads bodies that it knows of whole.
	s.api.OpenAPI().Paths["/v1/transfers/{name}"].Put.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}
}

type transferInput struct {
	Keyed
	Name          string `path:"name" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$" doc:"name of the package"`
	Agreement     string `query:"archivalAgreement" maxLength:"64" doc:"when the manifest names none"`
	Subject       string `header:"X-Subject" maxLength:"1000" doc:"identifier of the citizen file, for all units"`
	ContentDigest string `header:"Content-Digest"`
	ReprDigest    string `header:"Repr-Digest" doc:"of the package (RFC 9530); held against what is received"`
	body          io.Reader
}

// Resolve takes the body before anything reads it.
func (in *transferInput) Resolve(ctx huma.Context) []error {
	in.body = ctx.BodyReader()
	return nil
}

type transferOutput struct {
	Status      int
	ContentType string `header:"Content-Type"`
	Location    string `header:"Location"`
	Replayed    string `header:"Idempotency-Replayed"`
	Digest      string `header:"Repr-Digest"`
	Body        []byte
}

func (s *service) depositTransfer(ctx context.Context, who *Identity, in *transferInput) (*transferOutput, error) {
	d, err := bothDigests(in.ContentDigest, in.ReprDigest)
	if err != nil {
		return nil, err
	}
	o, err := s.of(who).Once(who.Name, who.Tenant, in.Key)
	if err != nil {
		return nil, err
	}
	defer o.End()
	body, err := spool.Write(s.spool, d.check(in.body))
	if err != nil {
		return nil, err
	}
	defer body.Close()
	for _, said := range []string{"depositTransfer", in.Name, in.Agreement, in.Subject} {
		o.Add([]byte(said))
	}
	o.Add(body.SHA256[:])
	if entry, done, err := o.Done(); err != nil || done {
		if err != nil {
			return nil, err
		}
		return s.replied(ctx, who, entry)
	}
	var findings seda.Findings
	p, err := seda.ReadPackage(in.Name, body, body.Size(), &findings)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, refusedFor(&findings)
	}
	outcome, err := s.of(who).DepositTransfer(o.Context(ctx), who.Name, archive.Transfer{Package: p, Tenant: who.Tenant, Agreement: in.Agreement, Subject: in.Subject})
	if err != nil && (outcome == nil || !errors.Is(err, archive.ErrRefused)) {
		return nil, err
	}
	out := &transferOutput{Status: http.StatusCreated}
	if err != nil {
		out.Status = http.StatusUnprocessableEntity
		if failed := s.noteRefused(ctx, who, "depositTransfer", "refused", out.Status, len(outcome.Findings.List)); failed != nil {
			return nil, failed
		}
	} else {
		out.Location = "/v1/deposits/" + strconv.FormatInt(outcome.Receipt.Index, 10)
	}
	var reply bytes.Buffer
	if err := outcome.WriteReply(ctx, &reply); err != nil {
		return nil, err
	}
	return out.with(reply.Bytes()), nil
}

// with makes a reply the answer.
func (out *transferOutput) with(reply []byte) *transferOutput {
	out.ContentType, out.Digest, out.Body = "application/xml", digestOf(reply), reply
	return out
}

// refusedFor says why a package could not be read.
func refusedFor(findings *seda.Findings) error {
	r := &archive.Refusal{}
	for _, f := range findings.List {
		r.Problems = append(r.Problems, f.Sentence(seda.English))
	}
	return r
}

// replied is the answer that the transfer of a ledger entry had: the reply is the last object among what
// the operation archived.
func (s *service) replied(ctx context.Context, who *Identity, entry int64) (*transferOutput, error) {
	b, err := s.a.Entry(entry)
	if err != nil {
		return nil, err
	}
	e, err := integrity.ParseEntry(b)
	if err != nil {
		return nil, err
	}
	var it integrity.Item
	for n := int64(1); e.Items != nil && n <= e.Items.Count && it.Object == ""; n++ {
		if it, err = s.of(who).Item(entry, e.Items.Count-n); err != nil {
			return nil, err
		}
	}
	if it.Object == "" || !strings.HasPrefix(it.Unit, "m") {
		return nil, fmt.Errorf("reply of entry %d: %w", entry, archive.ErrNotFound)
	}
	var reply bytes.Buffer
	if _, _, err := s.of(who).Get(ctx, it.Object, &reply); err != nil {
		return nil, err
	}
	out := &transferOutput{Status: http.StatusCreated, Replayed: repeated, Location: "/v1/deposits/" + strconv.FormatInt(entry, 10)}
	return out.with(reply.Bytes()), nil
}
