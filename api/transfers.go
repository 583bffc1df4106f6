package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sae/api/spool"
	"sae/archive"
	"sae/integrity"
	"sae/seda"
)

func (s *service) addTransfers() {
	responses := binary("application/xml", "ArchiveTransferReply of what was archived before")
	responses["201"] = &huma.Response{Description: "ArchiveTransferReply of what was archived", Content: responses["200"].Content}
	responses["202"] = jsonOf[Operation](s.api.OpenAPI().Components.Schemas, "What is archived later")
	responses["422"] = &huma.Response{Description: "ArchiveTransferReply of a refused transfer, with all that is wrong", Content: responses["200"].Content}
	delete(responses, "200")
	add(s, huma.Operation{OperationID: "depositTransfer", Method: http.MethodPut, Path: "/v1/transfers/{name}", DefaultStatus: http.StatusCreated,
		Summary: "Deposit a SEDA transfer (zip, tar, tar.gz, or a manifest alone)",
		Description: "The body is the package. It is kept enciphered while it is read. The answer is the ArchiveTransferReply, of a transfer that was archived (201) as of one that was refused (422); " +
			"nothing of the latter is kept. With Prefer: respond-async the answer is 202 once the package is durable, and the reply that of the operation.",
		Responses: responses}, noting(s, "depositTransfer", s.depositTransfer))
	takes(s.api.OpenAPI().Paths["/v1/transfers/{name}"].Put, "application/octet-stream", &huma.MediaType{Schema: &huma.Schema{Type: "string", Format: "binary"}})
}

type transferInput struct {
	Keyed
	Name          string `path:"name" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$" doc:"name of the package"`
	Agreement     string `query:"archivalAgreement" maxLength:"64" doc:"when the manifest names none"`
	Subject       string `header:"X-Subject" maxLength:"1000" doc:"identifier of the citizen file, for all units"`
	ContentDigest string `header:"Content-Digest"`
	ReprDigest    string `header:"Repr-Digest" doc:"of the package (RFC 9530); held against what is received"`
	Prefer        string `header:"Prefer" doc:"respond-async answers once the body is durable; with wait=SECONDS, when it is not archived by then, at most 60 seconds (RFC 7240)"`
	Language      string `header:"Accept-Language"`
	Streamed
}

type transferOutput struct {
	Status      int
	ContentType string `header:"Content-Type"`
	Location    string `header:"Location"`
	Replayed    string `header:"Idempotency-Replayed"`
	Digest      string `header:"Repr-Digest"`
	Applied     string `header:"Preference-Applied"`
	Body        []byte

	entry   int64 // of what was archived
	refused error // all that is wrong with what was not
}

func (s *service) depositTransfer(ctx context.Context, who *Identity, in *transferInput) (*transferOutput, error) {
	d, err := bothDigests(in.ContentDigest, in.ReprDigest)
	if err != nil {
		return nil, err
	}
	said := transferSaid{in.Name, in.Agreement, in.Subject}
	if s.later(in.Prefer) {
		return s.depositTransferLater(ctx, who, in, said, d)
	}
	body, err := spool.Write(s.spool, d.check(in.body))
	if err != nil {
		return nil, err
	}
	defer body.Close()
	out, err := s.transfer(ctx, who, in.Key, said, body, body.SHA256)
	if out != nil && out.refused != nil {
		p := problemOf(out.refused)
		return out, s.noteRefused(ctx, who, "depositTransfer", p.Code, out.Status, len(p.Faults))
	}
	return out, err
}

// transferSaid is what is said with a package.
type transferSaid struct {
	Name      string `json:"name"`
	Agreement string `json:"archivalAgreement,omitempty"`
	Subject   string `json:"subject,omitempty"`
}

// told is what tells a transfer from others of the same key.
func (t transferSaid) told(add func([]byte), sum [sha256.Size]byte) {
	for _, said := range []string{"depositTransfer", t.Name, t.Agreement, t.Subject} {
		add([]byte(said))
	}
	add(sum[:])
}

// sipBody is a package, as it was received.
type sipBody interface {
	io.ReaderAt
	Size() int64
}

// transfer archives a package, under a key. Requests are worked off by it, at once as later. A refused
// one has an answer, too, when there was a manifest to reply to.
func (s *service) transfer(ctx context.Context, who *Identity, key string, said transferSaid, body sipBody, sum [sha256.Size]byte) (*transferOutput, error) {
	o, err := s.of(who).Once(who.Name, who.Tenant, key)
	if err != nil {
		return nil, err
	}
	defer o.End()
	said.told(o.Add, sum)
	if entry, done, err := o.Done(); err != nil || done {
		if err != nil {
			return nil, err
		}
		return s.replied(ctx, who, entry)
	}
	var findings seda.Findings
	p, err := seda.ReadPackage(said.Name, body, body.Size(), &findings)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, &unreadableError{refusedFor(&findings), &findings}
	}
	outcome, err := s.of(who).DepositTransfer(o.Context(ctx), who.Name, archive.Transfer{Package: p, Tenant: who.Tenant, Agreement: said.Agreement, Subject: said.Subject})
	if err != nil && (outcome == nil || !errors.Is(err, archive.ErrRefused)) {
		return nil, err
	}
	out := &transferOutput{Status: http.StatusCreated}
	if err != nil {
		out.Status, out.refused = http.StatusUnprocessableEntity, refusedFor(&outcome.Findings)
	} else {
		out.entry, out.Location = outcome.Receipt.Index, depositAt(outcome.Receipt.Index)
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

// unreadableError says why a package could not be read. It is a refusal.
type unreadableError struct {
	error
	findings *seda.Findings
}

func (e *unreadableError) Unwrap() error { return e.error }

// refusedFor says why a package is refused.
func refusedFor(findings *seda.Findings) error {
	r := &archive.Refusal{}
	for _, f := range findings.List {
		r.Problems = append(r.Problems, f.Sentence(seda.English))
	}
	return r
}

// replied is the answer that the transfer of a ledger entry had.
func (s *service) replied(ctx context.Context, who *Identity, entry int64) (*transferOutput, error) {
	reply, err := s.saidIn(ctx, who, entry, 1)
	if err != nil {
		return nil, err
	}
	out := &transferOutput{Status: http.StatusCreated, Replayed: repeated, Location: depositAt(entry), entry: entry}
	return out.with(reply), nil
}

// saidIn gives the last object but some among what a transfer archived: the reply is the last, and the
// manifest, as it was received, the one before it.
func (s *service) saidIn(ctx context.Context, who *Identity, entry, fromEnd int64) ([]byte, error) {
	b, err := s.of(who).Entry(entry)
	if err != nil {
		return nil, err
	}
	e, err := integrity.ParseEntry(b)
	if err != nil {
		return nil, err
	}
	for n := int64(1); e.Items != nil && n <= e.Items.Count; n++ {
		it, err := s.of(who).Item(entry, e.Items.Count-n)
		if err != nil {
			return nil, err
		}
		if it.Object == "" {
			continue
		}
		if fromEnd--; fromEnd > 0 {
			continue
		}
		if it.Unit == "" || it.Unit[0] != 'm' {
			break
		}
		var out bytes.Buffer
		_, _, err = s.of(who).Get(ctx, it.Object, &out)
		return out.Bytes(), err
	}
	return nil, fmt.Errorf("what entry %d was told by: %w", entry, archive.ErrNotFound)
}
