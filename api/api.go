// Package api serves an archive over HTTP. It translates and decides nothing but who may ask: what is
// done is done by the archive, in the name of who asks.
package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sae/archive"
	"sae/archive/serving"
)

// Config is what a service is made of beside its archive.
type Config struct {
	Version string
	Serving serving.Config // filled in: see serving.Config.With
	Sealer  *Sealer        // for who waits for the seal; nobody waits when it is nil
	Queue   *Queue         // for what is worked off later; all is done at once when it is nil
	Spool   string         // folder for bodies that are read at random, enciphered
	// Executions are stopped before the archive is closed.
	Executions *Executions
	Metrics    *Metrics     // nil: nothing is counted
	Traces     *Traces      // nil: nothing is traced
	Log        *slog.Logger // of requests and of what fails; names nobody
	Run        RunCommand   // runs verbs for who is elsewhere; none are run when it is nil
}

// service is the handlers and what they share.
type service struct {
	a          *archive.Archive
	views      map[string]*archive.Archive // by tenant: see of
	config     serving.Config
	log        *slog.Logger
	sealer     *Sealer
	queue      *Queue
	metrics    *Metrics
	traces     *Traces
	spool      string
	providers  []*provider
	executions *Executions
	outcomes   *outcomes
	limiter    *limiter
	mux        *http.ServeMux
	api        huma.API
	run        RunCommand
	commands   chan struct{} // verbs at a time
	seals      *verbSeals
	uploads    *uploads
	whole      bool // verbs concern the archive as a whole
}

// Service is the handler of the service, and beside it that of those who run it.
type Service struct {
	http.Handler
	Admin http.Handler
}

// New gives the handlers of the service.
func New(a *archive.Archive, c Config) (*Service, error) {
	s := &service{a: a, config: c.Serving, log: c.Log, sealer: c.Sealer, queue: c.Queue, metrics: c.Metrics, traces: c.Traces, spool: c.Spool, executions: c.Executions, outcomes: &outcomes{converted: map[string]converted{}}, limiter: newLimiter(c.Serving.Limits), mux: http.NewServeMux(), views: map[string]*archive.Archive{}, run: c.Run, commands: make(chan struct{}, c.Serving.Limits.Commands), seals: &verbSeals{}}
	for _, t := range a.Config().Tenants {
		view, err := a.Within(t.ID)
		if err != nil {
			return nil, fmt.Errorf("serving: %w", err)
		}
		s.views[t.ID] = view
	}
	if s.executions == nil {
		s.executions = NewExecutions()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.newProviders(c.Serving.Issuers); err != nil {
		return nil, fmt.Errorf("serving: %w", err)
	}
	if s.queue != nil {
		s.queue.work, s.queue.note = s.work, s.noteJob
		if c.Metrics != nil {
			c.Metrics.queue = s.queue
		}
	}
	var err error
	if s.uploads, err = s.newUploads(); err != nil {
		return nil, fmt.Errorf("serving: %w", err)
	}
	admin := *s // it shares all but where it listens
	admin.mux, admin.whole = http.NewServeMux(), true
	// Who uses the service up does not keep those out who run it.
	admin.limiter, admin.commands = newLimiter(c.Serving.Limits), make(chan struct{}, c.Serving.Limits.Commands)
	main, err := s.handler(c.Version, s.addDeposits, s.addTransfers, s.addOperations, s.addUploads, s.addUnits, s.addObjects, s.addFiles, s.addSubjects, s.addSubjectChanges, s.addRequests, s.addRequestExecution, s.addActs, s.addGDPR,
		s.addRetention, s.addRules, s.addReports, s.addConversions, s.addEliminations, s.addExports, s.addLedger, s.addEvents, s.addHooks, s.addVitam, s.addCommands)
	if err != nil {
		return nil, err
	}
	beside, err := admin.handler(c.Version, admin.addKeys, admin.addStatus, admin.addAdministration, admin.addCommands)
	if err != nil {
		return nil, err
	}
	return &Service{Handler: main, Admin: admin.withHealth(beside)}, nil
}

// handler gives the handler of some operations.
func (s *service) handler(version string, operations ...func()) (http.Handler, error) {
	s.api = humago.New(s.mux, s.interfaceConfig(version))
	s.api.UseMiddleware(s.authorise)
	for _, add := range operations {
		add()
	}
	if err := s.addDocs(); err != nil {
		return nil, fmt.Errorf("serving: %w", err)
	}
	s.mux.HandleFunc("/", s.nothingHere)
	return s.around(s.mux), nil
}

// interfaceConfig is the interface before its operations.
func (s *service) interfaceConfig(version string) huma.Config {
	c := huma.DefaultConfig("sae", version)
	c.Info.Description = "Electronic archive with evidence that anyone can verify."
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "an API key, or a token of an OpenID Connect provider"},
		"mutual": {Type: "mutualTLS", Description: "a certificate of a known client"},
	}
	c.Security = []map[string][]string{{"bearer": {}}, {"mutual": {}}}
	c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", nil // the page is ours: see docs.go
	c.Formats = map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat}
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{translate}
	return c
}

// schemaName names the schema of a type: those of other packages after these, too.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if from := path.Base(t.PkgPath()); t.Name() != "" && from != "api" && from != "." {
		return strings.ToUpper(from[:1]) + from[1:] + name
	}
	return name
}

// add adds an operation. Its name must be in the table of roles.
func add[I, O any](s *service, op huma.Operation, handle func(ctx context.Context, who *Identity, in *I) (*O, error)) {
	problem := s.api.OpenAPI().Components.Schemas.Schema(typeOf[Problem](), true, "Problem")
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = &huma.Response{Description: "Problem (RFC 9457)", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: problem}}}
	if len(op.Tags) == 0 {
		op.Tags = []string{strings.Split(strings.Trim(op.Path, "/"), "/")[1]}
	}
	var named []string
	for _, r := range roles[op.OperationID] {
		named = append(named, string(r))
	}
	op.Description = strings.TrimSpace(op.Description + "\n\nRoles: " + strings.Join(named, ", ") + ".")
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, identityOf(ctx), in)
		if err != nil {
			return nil, s.fail(ctx, op.OperationID, err)
		}
		return out, nil
	})
}

// fail gives the problem of an error. What is ours to look at is logged, here alone.
func (s *service) fail(ctx context.Context, operation string, err error) error {
	p := problemOf(err)
	if p.Status >= 500 {
		s.log.Error("request failed", "request", requestOf(ctx).id, "operation", operation, "code", p.Code, "error", err)
	}
	return p
}

// authorise lets an operation be reached by those whom it is for. Every operation goes through it.
func (s *service) authorise(ctx huma.Context, next func(huma.Context)) {
	operation := ctx.Operation().OperationID
	of := requestOf(ctx.Context())
	of.operation = operation
	if s.config.PublicLedger && slices.Contains(public, operation) {
		next(ctx)
		return
	}
	who, err := s.identify(ctx.Context(), ctx.Header(bearer), ctx.TLS())
	if err == nil {
		of.by = who.By
		err = who.may(operation)
	}
	if err == nil && s.of(who) == nil { // the key outlived its tenant
		err = fmt.Errorf("its tenant is not configured any more: %w", errAnonymous)
	}
	release := func() {}
	if err == nil {
		release, err = s.limiter.take(who.By+"\x00"+who.Name, time.Now())
	}
	if err != nil {
		s.write(ctx, s.fail(ctx.Context(), operation, err))
		return
	}
	defer release()
	next(huma.WithValue(ctx, identityKey{}, who))
}

// write answers with a problem.
func (s *service) write(ctx huma.Context, err error) {
	p := problemOf(err)
	ctx.SetHeader("Content-Type", p.ContentType(""))
	said, _ := translate(ctx, "", p) // it gives no error
	ctx.SetStatus(p.Status)
	huma.DefaultJSONFormat.Marshal(ctx.BodyWriter(), said) // who asked may be gone
}

// nothingHere answers what no operation does.
func (s *service) nothingHere(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	err := error(archive.ErrNotFound)
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		err = errNoMethod
	}
	s.write(humago.NewContext(&huma.Operation{}, r, w), err)
}

// ours gives archive.ErrNotFound for what there is not, or another tenant has.
func (s *service) ours(who *Identity, id string) error {
	_, err := s.of(who).TenantOf(id)
	return err
}

// of is the archive as the tenant of who asks has it: what another has is not there.
func (s *service) of(who *Identity) *archive.Archive { return s.views[who.Tenant] }
