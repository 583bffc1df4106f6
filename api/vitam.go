package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/seda"
)

// The door for those who deposit by the ingest of VITAM's external API: a client of that system deposits
// here unchanged. It says what its documentation and its own clients say: headers, states, the form of
// answers and errors. A deposit is an operation as of Prefer: respond-async, under another identifier.
// Who may, and bounds, are those of every operation.

// vitamOperation begins the names of the operations of the door.
const vitamOperation = "vitam"

// vitamDoors are where operations are told of: the second is the older one.
var vitamDoors = []struct{ path, name string }{{"/admin-external/v1", ""}, {"/ingest-external/v1", "Ingest"}}

func (s *service) addVitam() {
	if len(s.config.Vitam.Tenants) == 0 {
		return
	}
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: vitamOperation + id, Method: method, Path: path, Summary: summary, Tags: []string{"vitam"}}
	}
	ingest := op("Ingest", http.MethodPost, "/ingest-external/v1/ingests", "Deposit a SEDA transfer, as a client of VITAM does")
	ingest.DefaultStatus = http.StatusAccepted
	add(s, ingest, noting(s, "vitamIngest", s.vitamIngest))
	// It is told of afterwards: the framework reads bodies that it knows of whole.
	s.api.OpenAPI().Paths[ingest.Path].Post.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}
	download := op("Download", http.MethodGet, "/ingest-external/v1/ingests/{id}/{type}", "The ArchiveTransferReply, or the manifest, of an ingest")
	download.Responses = binary("application/octet-stream", "XML")
	add(s, download, s.vitamDownload)
	for _, d := range vitamDoors {
		add(s, op("Status"+d.name, http.MethodGet, d.path+"/status", "Whether the service is there"), s.vitamStatus)
		add(s, op("List"+d.name, http.MethodGet, d.path+"/operations", "The ingests of a tenant, the newest last"), s.vitamList)
		add(s, op("ListPost"+d.name, http.MethodPost, d.path+"/operations", "The same, with X-Http-Method-Override: GET"), s.vitamListPost)
		s.api.OpenAPI().Paths[d.path+"/operations"].Post.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(typeOf[VitamQuery](), true, "VitamQuery")}}}
		add(s, op("Show"+d.name, http.MethodGet, d.path+"/operations/{id}", "What became of an ingest; HEAD gives the headers alone"), s.vitamShow)
		add(s, op("Act"+d.name, http.MethodPut, d.path+"/operations/{id}", "Steps of a workflow: there are none"), s.vitamAct)
		add(s, op("Cancel"+d.name, http.MethodDelete, d.path+"/operations/{id}", "Cancel an ingest that was not begun"), s.vitamCancel)
	}
}

// VitamTenant is the tenant that a request of the door names.
type VitamTenant struct {
	Tenant string `header:"X-Tenant-Id" doc:"number of the tenant"`
}

// vitamTenant holds the tenant of a request against that of who asks, and gives its number.
func (s *service) vitamTenant(who *Identity, in VitamTenant) (uint32, error) {
	if in.Tenant == "" {
		return 0, fmt.Errorf("the header X-Tenant-Id is missing: %w", errNoTenant)
	}
	n, err := strconv.ParseUint(in.Tenant, 10, 31)
	if err != nil || s.config.Vitam.Tenants[int(n)] != who.Tenant {
		return 0, fmt.Errorf("X-Tenant-Id is not that of a tenant of who asks: %w", errOtherTenant)
	}
	return uint32(n), nil
}

type vitamIngestInput struct {
	VitamTenant
	ContentType     string `header:"Content-Type"`
	Context         string `header:"X-Context-Id" doc:"DEFAULT_WORKFLOW"`
	Action          string `header:"X-Action" doc:"RESUME"`
	DigestAlgorithm string `header:"X-Manifest-Digest-Algorithm"`
	DigestValue     string `header:"X-Manifest-Digest-Value" doc:"of the manifest; held against what is received"`
	Key             string `header:"Idempotency-Key" maxLength:"255" pattern:"^[!-~]+$" doc:"not of VITAM: a retry with the same one is the same ingest"`
	body            io.Reader
}

// Resolve takes the body before anything reads it.
func (in *vitamIngestInput) Resolve(ctx huma.Context) []error {
	in.body = ctx.BodyReader()
	return nil
}

// check says what is asked for that is not done here.
func (in *vitamIngestInput) check() error {
	bad := func(header, value, why string) error {
		return fmt.Errorf("%s: %.40q %s: %w", header, value, why, errMalformed)
	}
	switch in.Context {
	case "DEFAULT_WORKFLOW":
	case "":
		return bad("X-Context-Id", "", "is missing: want DEFAULT_WORKFLOW")
	case "BLANK_TEST":
		return bad("X-Context-Id", in.Context, "is not done here: to check a transfer without depositing it, use sae seda check")
	case "HOLDING_SCHEME", "FILING_SCHEME":
		return bad("X-Context-Id", in.Context, "is not done here: holding and filing schemes are units like others, deposited with DEFAULT_WORKFLOW")
	default:
		return bad("X-Context-Id", in.Context, "is not known: want DEFAULT_WORKFLOW")
	}
	if !strings.EqualFold(in.Action, "RESUME") {
		return bad("X-Action", in.Action, "is not done here: want RESUME, the whole ingest at once")
	}
	if media, _, err := mime.ParseMediaType(in.ContentType); err == nil && media == "application/json" {
		return fmt.Errorf("files of the server are not deposited by their path: send the package as application/octet-stream: %w", errMediaType)
	}
	return nil
}

type vitamIngestOutput struct {
	Request   string `header:"X-Request-Id" doc:"GUID of the operation"`
	State     string `header:"X-Global-Execution-State"`
	Execution string `header:"X-Global-Execution-Status"`
}

func (s *service) vitamIngest(_ context.Context, who *Identity, in *vitamIngestInput) (*vitamIngestOutput, error) {
	tenant, err := s.vitamTenant(who, in.VitamTenant)
	if err == nil {
		err = in.check()
	}
	if err == nil && s.queue == nil {
		err = archive.ErrReadOnly
	}
	if err != nil {
		return nil, err
	}
	said := transferSaid{Name: "sip"}
	n := archive.NewJob{ID: archive.NewJobID(), Tenant: who.Tenant, Kind: kindTransfer, JobRequest: archive.JobRequest{Agent: who.Name}}
	if n.Key = "operation " + n.ID; in.Key != "" { // no client's key has a space
		n = s.newJob(who, in.Key, kindTransfer, nil)
	}
	j, _, err := s.queue.accept(n, in.body, func(b *archive.JobBody, n *archive.NewJob) error {
		print := fingerprint{}
		said.told(print.add, b.SHA256)
		n.Fingerprint = print.b
		n.Said = mustJSON(jobTransfer{said, b.SHA256[:]})
		return in.checkManifest(b)
	})
	if err != nil {
		return nil, err
	}
	state, status := vitamOf(j)
	return &vitamIngestOutput{guidOf(tenant, j.ID), state, status}, nil
}

// checkManifest holds the manifest against the digest that was declared. A package that cannot be read
// is refused later, with a reply.
func (in *vitamIngestInput) checkManifest(b *archive.JobBody) error {
	if in.DigestValue == "" && in.DigestAlgorithm == "" {
		return nil
	}
	body, err := b.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	var findings seda.Findings
	p, err := seda.ReadPackage("sip", body, body.Size(), &findings)
	if err != nil || p == nil {
		return err
	}
	defer p.Close()
	m, err := p.Open(p.Manifest)
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, m); err != nil {
		return errors.Join(err, m.Close())
	}
	if err := m.Close(); err != nil {
		return err
	}
	same, err := seda.SameDigest(in.DigestAlgorithm, in.DigestValue, sum.Sum(nil), func() (io.ReadCloser, error) { return p.Open(p.Manifest) })
	if err == nil && !same {
		err = fmt.Errorf("the manifest does not have the digest of X-Manifest-Digest-Value: %w", errDigest)
	}
	return err
}

// VitamOperationPath names an operation by its GUID.
type VitamOperationPath struct {
	VitamTenant
	ID string `path:"id"`
}

type vitamShowOutput struct {
	Status    int    // 202 until it has ended
	Request   string `header:"X-Request-Id"`
	State     string `header:"X-Global-Execution-State"`
	Execution string `header:"X-Global-Execution-Status"`
	Context   string `header:"X-Context-Id"`
	Body      VitamResponse[VitamItemStatus]
}

// vitamJob is the operation that a request names.
func (s *service) vitamJob(who *Identity, in VitamOperationPath) (*archive.Job, error) {
	tenant, err := s.vitamTenant(who, in.VitamTenant)
	if err != nil {
		return nil, err
	}
	id, err := ofGUID(tenant, in.ID)
	if err != nil {
		return nil, err
	}
	return s.jobOf(who, id)
}

func (s *service) vitamShow(ctx context.Context, who *Identity, in *VitamOperationPath) (*vitamShowOutput, error) {
	j, err := s.vitamJob(who, *in)
	if err != nil {
		return nil, err
	}
	return s.vitamShown(ctx, who, in.ID, j)
}

// vitamProcess is the kind of all operations of the door.
const vitamProcess = "INGEST"

func (s *service) vitamShown(ctx context.Context, who *Identity, guid string, j *archive.Job) (*vitamShowOutput, error) {
	out := &vitamShowOutput{Status: http.StatusAccepted, Request: guid, Context: vitamProcess}
	out.State, out.Execution = vitamOf(j)
	item := VitamItemStatus{Items: map[string]any{}, ID: guid, Message: string(j.State), Meter: make([]int, len(vitamLevels)), Data: map[string]any{}, State: out.State}
	switch j.State {
	case archive.JobRefused:
		answer, err := s.answerTo(j)
		if err != nil {
			return nil, err
		}
		item.Message = answer.Problem.sentence()
	case archive.JobArchived:
		warned, err := s.warned(ctx, who, j)
		if err != nil {
			return nil, err
		}
		if warned {
			out.Execution = "WARNING"
		}
	}
	if hasEnded(j) {
		out.Status = http.StatusOK
	}
	item.Status = out.Execution
	item.Meter[slices.Index(vitamLevels, item.Status)]++
	out.Body = vitamResponse(out.Status, item)
	return out, nil
}

// warned reports whether the reply to a transfer that was archived has warnings. Of one that was
// destroyed since nothing is said any more.
func (s *service) warned(ctx context.Context, who *Identity, j *archive.Job) (bool, error) {
	if !s.own(who, j) {
		return false, nil
	}
	reply, err := s.saidIn(ctx, who, *j.Entry, 1)
	if errors.Is(err, archive.ErrNotFound) {
		return false, nil
	}
	return bytes.Contains(reply, []byte("<ReplyCode>"+seda.OutcomeWarning+"</ReplyCode>")), err
}

// sentence is all that is wrong, in one.
func (p *Problem) sentence() string {
	var all []string
	for _, f := range p.Faults {
		all = append(all, f.Message)
	}
	if len(all) == 0 {
		return p.Code
	}
	return strings.Join(all, " ")
}

func (s *service) vitamCancel(ctx context.Context, who *Identity, in *VitamOperationPath) (*vitamShowOutput, error) {
	j, err := s.vitamJob(who, *in)
	if err == nil && j.State != archive.JobCancelled {
		if s.queue == nil {
			err = archive.ErrReadOnly
		} else {
			j, err = s.queue.cancel(j.ID)
		}
	}
	if err != nil {
		return nil, err
	}
	return s.vitamShown(ctx, who, in.ID, j)
}

type vitamActInput struct {
	VitamOperationPath
	Action string `header:"X-Action"`
}

func (s *service) vitamAct(_ context.Context, who *Identity, in *vitamActInput) (*struct{}, error) {
	if _, err := s.vitamJob(who, in.VitamOperationPath); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("X-Action: %.40q is not done here: an ingest is one step, which is tried again by itself: %w", in.Action, errMalformed)
}

type vitamDownloadInput struct {
	VitamOperationPath
	Type string `path:"type" doc:"archivetransferreply, or reports as it was called; manifests"`
}

type vitamDownloadOutput struct {
	ContentType string `header:"Content-Type"`
	Request     string `header:"X-Request-Id"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

// vitamDownload gives reply and manifest to who deposited them.
func (s *service) vitamDownload(ctx context.Context, who *Identity, in *vitamDownloadInput) (*vitamDownloadOutput, error) {
	j, err := s.vitamJob(who, in.VitamOperationPath)
	if err == nil && !s.own(who, j) {
		err = fmt.Errorf("it is for who deposited: %w", archive.ErrNotFound)
	}
	if err == nil && (!hasEnded(j) || j.Kind != kindTransfer) { // VITAM's clients ask again
		err = fmt.Errorf("the operation has none yet: %w", archive.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	out := &vitamDownloadOutput{ContentType: "application/octet-stream", Request: in.ID}
	switch in.Type {
	case "archivetransferreply", "reports":
		reply, err := s.replyOf(ctx, who, j)
		if err != nil {
			return nil, err
		}
		out.Body, out.Disposition = reply.Body, `attachment; filename="ATR_`+in.ID+`.xml"`
	case "manifests":
		if j.State != archive.JobArchived {
			return nil, fmt.Errorf("the manifest of what was not archived is not kept: %w", archive.ErrNotFound)
		}
		out.Disposition = `attachment; filename="` + in.ID + `.xml"`
		if out.Body, err = s.saidIn(ctx, who, *j.Entry, 2); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("want archivetransferreply or manifests: %w", archive.ErrNotFound)
	}
	return out, nil
}

func (s *service) vitamStatus(context.Context, *Identity, *struct{}) (*struct{}, error) {
	return nil, nil
}
