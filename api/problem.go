package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/text/language"

	"sae/archive"
	"sae/seda"
)

// Problem is what is told when something is not done (RFC 9457). A client decides by its code, which
// does not change; title and detail are for people, in French or English.
type Problem struct {
	Type   string  `json:"type" doc:"where the code is explained" example:"/docs#refused"`
	Title  string  `json:"title"`
	Status int     `json:"status" example:"422"`
	Detail string  `json:"detail"`
	Code   string  `json:"code" doc:"stable: what a client decides by" example:"refused"`
	Reply  string  `json:"replyCode,omitempty" doc:"of an ArchiveTransferReply (SEDA) that says the same"`
	ID     string  `json:"instance,omitempty" doc:"identifier of the request, as in the log of the service"`
	Faults []Fault `json:"errors,omitempty" doc:"all that is wrong with the request"`
}

// Fault is one thing that is wrong with a request.
type Fault struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty" doc:"where, such as body.units[0].title"`
}

func (p *Problem) Error() string  { return p.Code }
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of RFC 9457 section 3.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// The errors of the service itself.
var (
	errAnonymous   = errors.New("nobody is named by a key, a token or a certificate")
	errDenied      = errors.New("not for the roles of who asks")
	errTooMany     = errors.New("too many requests")
	errBusy        = errors.New("too many requests of all clients")
	errMalformed   = errors.New("the request cannot be read")
	errIncomplete  = errors.New("the request ended before it was whole")
	errDigest      = errors.New("the digest is not that of what was received")
	errMediaType   = errors.New("the media type is not one that the operation takes")
	errNoMethod    = errors.New("the method is not one of the resource")
	errQueueFull   = errors.New("too much of the tenant waits to be worked off")
	errNoSpace     = errors.New("no space left to receive it")
	errTooLarge    = errors.New("larger than all that may wait")
	errNotEnded    = errors.New("the operation has not ended")
	errNoTenant    = errors.New("no tenant is named")
	errOtherTenant = errors.New("the tenant is not that of who asks")
	errUpgrade     = errors.New("the request is not one for a WebSocket")
	errInternal    = errors.New("it failed")

	errOffset      = errors.New("the offset is not how much there is of the upload")
	errChecksum    = errors.New("the checksum is not that of what was received")
	errTusVersion  = errors.New("want the header Tus-Resumable: 1.0.0")
	errUploads     = errors.New("too much of who asks is uploaded, and not whole")
	errUploadSpace = errors.New("no space left for the upload")
	errUploadCut   = errors.New("the request ended before all of it came")
	errUploadHeld  = errors.New("another request holds the upload")
)

// kind is a kind of problem.
type kind struct {
	code   string
	status int
	reply  string // of SEDA
	fr, en words
}

// words are a title and what it means.
type words struct{ title, detail string }

// The reply codes of an ArchiveTransferReply: those of the archive's own replies, and one for what is
// not the request's fault.
const (
	replyKO    = seda.OutcomeKO
	replyFatal = "FATAL"
)

func is(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }

func as[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

// kinds is the one table of errors. The first that matches is told: what says more stands before what
// it matches, too. Of what is damaged, and of what nobody foresaw, the details are for the log alone.
var kinds = []struct {
	is func(error) bool
	kind
}{
	{as[*archive.DamagedError], kind{"damaged", 500, replyFatal,
		words{"Archive endommagée", "Un contrôle d'intégrité a échoué ; l'exploitant du service doit consulter son journal."},
		words{"The archive is damaged", "A check of integrity failed; who runs the service must look at its log."}}},
	{as[*archive.RollbackError], kind{"damaged", 500, replyFatal,
		words{"Archive endommagée", "Un contrôle d'intégrité a échoué ; l'exploitant du service doit consulter son journal."},
		words{"The archive is damaged", "A check of integrity failed; who runs the service must look at its log."}}},
	{as[*archive.DestroyedError], kind{"destroyed", 410, replyKO,
		words{"Éliminé", "Cette archive a été détruite ; son certificat de destruction subsiste."},
		words{"Destroyed", "This was destroyed; the certificate of its destruction stays."}}},
	{as[*archive.NotOpenError], kind{"not-open", 403, replyKO,
		words{"Non communicable", "Une règle d'accès s'oppose à la lecture par ce demandeur ou pour cette finalité."},
		words{"Not open", "A rule stands against reading by who asks, or for this purpose."}}},
	{is(archive.ErrNotFound), kind{"not-found", 404, replyKO,
		words{"Introuvable", "Rien ne porte cet identifiant dans l'archive du demandeur."},
		words{"Not found", "Nothing has this identifier in the archive of who asks."}}},
	{is(archive.ErrUnderWay), kind{"under-way", 409, "",
		words{"En cours", "La requête de cette clé d'idempotence n'est pas terminée ; réessayez."},
		words{"Under way", "The request of this idempotency key has not ended; try again."}}},
	{is(archive.ErrOtherRequest), kind{"key-reused", 422, "",
		words{"Clé réutilisée", "Cette clé d'idempotence a servi à une autre requête."},
		words{"Key reused", "This idempotency key was used for another request."}}},
	{is(archive.ErrOutdated), kind{"changed", 412, replyKO,
		words{"Modifié entre-temps", "La ressource a changé depuis sa lecture ; relisez-la avant de décider."},
		words{"Changed meanwhile", "The resource changed since it was read; read it again before you decide."}}},
	{is(errNoMatch), kind{"if-match-required", 428, replyKO,
		words{"If-Match obligatoire", "Cette opération exige l'en-tête If-Match, avec l'ETag de ce qui a été lu."},
		words{"If-Match required", "This operation wants the header If-Match, with the ETag of what was read."}}},
	{is(archive.ErrNotSealed), kind{"not-sealed", 409, "",
		words{"Pas encore scellé", "Le scellement est en attente ; réessayez plus tard."},
		words{"Not sealed yet", "It waits for its time-stamp; try again later."}}},
	{is(archive.ErrBadKey), kind{"unauthenticated", 401, "", anonymousFR, anonymousEN}},
	{is(errAnonymous), kind{"unauthenticated", 401, "", anonymousFR, anonymousEN}},
	{is(errDenied), kind{"denied", 403, replyKO,
		words{"Interdit", "Les rôles du demandeur ne permettent pas cette opération."},
		words{"Denied", "The roles of who asks do not allow this operation."}}},
	{is(archive.ErrRefused), kind{"refused", 422, replyKO,
		words{"Refusé", "La demande n'est pas acceptable ; tous les motifs sont listés."},
		words{"Refused", "The request is not acceptable; all that is wrong is listed."}}},
	{is(archive.ErrLocked), kind{"locked", 503, replyFatal,
		words{"Indisponible", "Un autre processus tient l'archive ; réessayez."},
		words{"Unavailable", "Another process holds the archive; try again."}}},
	{is(archive.ErrReadOnly), kind{"read-only", 503, replyFatal,
		words{"Lecture seule", "Le service n'accepte que des lectures."},
		words{"Read only", "The service is for reading only."}}},
	{is(archive.ErrNoAuthority), kind{"no-authority", 503, replyFatal,
		words{"Pas d'horodatage", "Aucune autorité d'horodatage n'a répondu ; ce qui attend attend encore."},
		words{"No time-stamp", "No time-stamping authority answered; what waited waits on."}}},
	{is(errTooMany), kind{"too-many-requests", 429, "",
		words{"Trop de requêtes", "Ce client dépasse ses limites ; réessayez après le délai indiqué."},
		words{"Too many requests", "This client is above its limits; try again after the time given."}}},
	{is(errBusy), kind{"busy", 503, "",
		words{"Service occupé", "Le service est à sa limite ; réessayez après le délai indiqué."},
		words{"Busy", "The service is at its limit; try again after the time given."}}},
	{is(errQueueFull), kind{"queue-full", 503, "",
		words{"File d'attente pleine", "Trop de versements de ce service attendent leur traitement ; réessayez plus tard."},
		words{"Queue full", "Too much of this tenant waits to be worked off; try again later."}}},
	{is(errNoSpace), kind{"no-space", 503, replyFatal,
		words{"Espace insuffisant", "Le service n'a plus de place pour recevoir ; rien n'a été conservé."},
		words{"No space", "The service has no space left to receive it; nothing was kept."}}},
	{is(archive.ErrBegun), kind{"begun", 409, "",
		words{"Déjà commencé", "L'opération est commencée ou terminée ; elle ne peut plus être annulée."},
		words{"Begun already", "The operation was begun, or has ended; it cannot be cancelled any more."}}},
	{is(errOffset), kind{"offset-mismatch", 409, "",
		words{"Position différente", "Upload-Offset n'est pas ce qui a été reçu jusqu'ici ; demandez-le par HEAD."},
		words{"Offset mismatch", "Upload-Offset is not how much was received so far; ask for that by HEAD."}}},
	{is(errChecksum), kind{"checksum-mismatch", 460, "",
		words{"Somme de contrôle différente", "Ce qui a été reçu n'a pas la somme annoncée par Upload-Checksum ; rien n'en a été conservé."},
		words{"Checksum mismatch", "What was received does not have the checksum that Upload-Checksum declares; nothing of it was kept."}}},
	{is(errTusVersion), kind{"tus-version", 412, "",
		words{"Version du protocole", "Les envois suivent tus 1.0.0 ; la requête doit le dire par Tus-Resumable."},
		words{"Version of the protocol", "Uploads are by tus 1.0.0; the request must say so by Tus-Resumable."}}},
	{is(errUploads), kind{"too-many-uploads", 429, "",
		words{"Trop d'envois inachevés", "Ce client a trop d'envois inachevés ; achevez-en ou supprimez-en."},
		words{"Too many unfinished uploads", "This client has too many uploads that are not whole; finish or delete some."}}},
	{is(errUploadSpace), kind{"upload-no-space", 503, "",
		words{"Espace insuffisant", "Le service n'a plus de place ; ce qui a été confirmé reste, reprenez plus tard à la position que donne HEAD."},
		words{"No space", "The service has no space left; what was acknowledged stays, go on later from the offset that HEAD gives."}}},
	{is(errUploadCut), kind{"upload-interrupted", 409, "",
		words{"Envoi interrompu", "La requête s'est arrêtée avant sa fin ; reprenez à la position que donne HEAD."},
		words{"Upload interrupted", "The request ended before all of it came; go on from the offset that HEAD gives."}}},
	{is(errUploadHeld), kind{"upload-locked", 423, "",
		words{"Envoi occupé", "Une autre requête tient cet envoi ; réessayez."},
		words{"Upload locked", "Another request holds this upload; try again."}}},
	{is(errNotEnded), kind{"not-ended", 409, "",
		words{"Pas encore terminée", "L'opération n'est pas terminée ; réessayez plus tard."},
		words{"Not ended yet", "The operation has not ended; try again later."}}},
	{is(archive.ErrBodyLost), kind{"body-lost", 410, replyFatal,
		words{"Contenu perdu", "Le contenu reçu n'est plus là, par exemple après la reconstruction de l'archive ; versez-le à nouveau."},
		words{"Body lost", "What was received is not there any more, such as after the archive was rebuilt; deposit it again."}}},
	{is(errNoTenant), kind{"tenant-missing", 412, replyKO,
		words{"Tenant non précisé", "La requête doit nommer le tenant par l'en-tête X-Tenant-Id."},
		words{"No tenant", "The request must name the tenant by the header X-Tenant-Id."}}},
	{is(errOtherTenant), kind{"tenant-unknown", 401, replyKO,
		words{"Tenant non autorisé", "Le tenant nommé n'est pas connu, ou n'est pas celui du demandeur."},
		words{"Tenant not allowed", "The tenant that is named is not known, or not that of who asks."}}},
	{is(errDigest), kind{"digest-mismatch", 400, replyKO,
		words{"Empreinte différente", "Ce qui a été reçu n'a pas l'empreinte annoncée."},
		words{"Digest mismatch", "What was received does not have the digest that was declared."}}},
	{as[*http.MaxBytesError], kind{"too-large", 413, replyKO, largeFR, largeEN}},
	{is(errTooLarge), kind{"too-large", 413, replyKO, largeFR, largeEN}},
	{is(errIncomplete), kind{"incomplete", 400, replyKO,
		words{"Incomplet", "La requête s'est arrêtée avant sa fin ; rien n'a été conservé."},
		words{"Incomplete", "The request ended before it was whole; nothing was kept."}}},
	{is(errMediaType), kind{"media-type", 415, replyKO, mediaFR, mediaEN}},
	{is(errNoMethod), kind{"method", 405, "",
		words{"Méthode non admise", "La ressource n'admet pas cette méthode."},
		words{"Method not allowed", "The resource does not have this method."}}},
	{is(errUpgrade), kind{"upgrade", 426, "",
		words{"WebSocket attendu", "Cette ressource est celle du programme : sae --server."},
		words{"WebSocket wanted", "This resource is for the program: sae --server."}}},
	{is(errMalformed), malformed},
	{is(context.Canceled), kind{"incomplete", 400, replyKO,
		words{"Incomplet", "La requête a été abandonnée ; rien n'a été conservé."},
		words{"Incomplete", "The request was given up; nothing was kept."}}},
}

var (
	anonymousFR = words{"Non authentifié", "Présentez une clé d'API, un jeton ou un certificat en cours de validité."}
	anonymousEN = words{"Not authenticated", "Present an API key, a token or a certificate that is good."}
	largeFR     = words{"Trop grand", "La requête dépasse la taille admise."}
	largeEN     = words{"Too large", "The request is larger than what is taken."}
	mediaFR     = words{"Type de média non admis", "L'opération n'accepte pas ce type de média."}
	mediaEN     = words{"Unsupported media type", "The operation does not take this media type."}

	malformed = kind{"malformed", 400, replyKO,
		words{"Illisible", "La requête n'est pas de la forme que décrit l'interface."},
		words{"Malformed", "The request is not of the form that the interface describes."}}
	internal = kind{"internal", 500, replyFatal,
		words{"Erreur interne", "L'exploitant du service trouvera la cause dans son journal, sous l'identifiant de la requête."},
		words{"Internal error", "Who runs the service finds the cause in its log, by the identifier of the request."}}
)

// framework are the problems that are found before a handler runs, by status.
var framework = map[int]kind{
	400: malformed,
	406: {"not-acceptable", 406, "",
		words{"Non acceptable", "Le service répond en JSON."}, words{"Not acceptable", "The service answers in JSON."}},
	408: {"incomplete", 408, replyKO,
		words{"Délai dépassé", "La requête n'est pas arrivée à temps."}, words{"Timeout", "The request did not come in time."}},
	413: {"too-large", 413, replyKO, largeFR, largeEN},
	415: {"media-type", 415, replyKO, mediaFR, mediaEN},
	422: {"invalid", 422, replyKO,
		words{"Invalide", "Des champs de la requête ne sont pas valables ; tous sont listés."},
		words{"Invalid", "Fields of the request are not valid; all of them are listed."}},
}

// kindOf is the kind of an error.
func kindOf(err error) kind {
	for _, k := range kinds {
		if k.is(err) {
			return k.kind
		}
	}
	return internal
}

// problemOf is what is told of an error.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	k := kindOf(err)
	p = &Problem{Status: k.status, Code: k.code, Reply: k.reply}
	var refusal *archive.Refusal
	switch {
	case errors.As(err, &refusal):
		for _, s := range refusal.Problems {
			p.Faults = append(p.Faults, Fault{Message: s})
		}
	case k.status < 500 && k.status != 401:
		p.Faults = []Fault{{Message: err.Error()}}
	}
	return p
}

// invalid are faults of a request at places of it.
func invalid(faults ...Fault) *Problem {
	k := framework[http.StatusUnprocessableEntity]
	return &Problem{Status: k.status, Code: k.code, Reply: k.reply, Faults: faults}
}

// ofFramework is a problem that the framework found. What it quotes of the request is left out.
func ofFramework(e *huma.ErrorModel) *Problem {
	k, known := framework[e.Status]
	if !known {
		k = internal
	}
	p := &Problem{Status: k.status, Code: k.code, Reply: k.reply}
	for _, d := range e.Errors {
		if d != nil {
			p.Faults = append(p.Faults, Fault{d.Message, d.Location})
		}
	}
	return p
}

// in gives a problem in the language that a request prefers.
func (p *Problem) in(accept, id string) *Problem {
	out := *p
	w := wordsOf(p.Code, p.Status, french(accept))
	out.Type, out.Title, out.Detail, out.ID = "/docs#"+p.Code, w.title, w.detail, id
	return &out
}

func wordsOf(code string, status int, fr bool) words {
	of := func(k kind) words {
		if fr {
			return k.fr
		}
		return k.en
	}
	if k, ok := framework[status]; ok && k.code == code {
		return of(k)
	}
	for _, k := range kinds {
		if k.code == code {
			return of(k.kind)
		}
	}
	return of(internal)
}

var languages = language.NewMatcher([]language.Tag{language.English, language.French})

func french(accept string) bool {
	tags, _, err := language.ParseAcceptLanguage(accept)
	if err != nil || len(tags) == 0 {
		return false
	}
	_, i, _ := languages.Match(tags...)
	return i == 1
}

// translate is the last step of every answer: a problem gets its words.
func translate(ctx huma.Context, _ string, v any) (any, error) {
	p, ok := v.(*Problem)
	if e, is := v.(*huma.ErrorModel); is {
		p, ok = ofFramework(e), true
	}
	if !ok {
		return v, nil
	}
	said := p.in(ctx.Header("Accept-Language"), requestOf(ctx.Context()).id)
	lang := "en"
	if french(ctx.Header("Accept-Language")) {
		lang = "fr"
	}
	ctx.SetHeader("Content-Language", lang)
	ctx.SetHeader("Cache-Control", "no-store")
	switch p.Status {
	case http.StatusUnauthorized:
		ctx.SetHeader("WWW-Authenticate", `Bearer realm="sae"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusConflict:
		ctx.SetHeader("Retry-After", strconv.Itoa(retryAfter))
	}
	requestOf(ctx.Context()).code = p.Code
	if op := ctx.Operation(); strings.HasPrefix(op.OperationID, vitamOperation) {
		ctx.SetHeader("Content-Type", "application/json")
		return said.asVitam(op.Path), nil
	}
	return said, nil
}

// retryAfter is how many seconds a client is asked to wait.
const retryAfter = 2
