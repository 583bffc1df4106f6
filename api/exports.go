package api

import (
	"archive/zip"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/seda"
)

// What is handed out as packages of SEDA. Each time it is made it is entered into the ledger; nothing
// else changes by it. So it takes no Idempotency-Key: asked for again, it is made again, and the ledger
// says so.

const handedOut = "It is entered into the ledger each time it is made, and takes no Idempotency-Key: asked for again, it is made again. An answer that is cut is no package."

func (s *service) addExports() {
	add(s, huma.Operation{OperationID: "exportUnits", Method: http.MethodPost, Path: "/v1/exports", Summary: "Hand out units with their content as a SEDA package: a DIP, or a transfer to another archive",
		Description: "What came by SEDA goes out as it came. " + handedOut, Responses: binary("application/zip", "the package")}, s.exportUnits)
	add(s, huma.Operation{OperationID: "restitute", Method: http.MethodPost, Path: "/v1/restitutions", Summary: "Give an originating agency all that is hers, with proofs",
		Description: "A zip of SEDA packages (ArchiveRestitutionRequestReply), one for each operation that archived units of the agency. All units must be sealed. " + handedOut, Responses: binary("application/zip", "the packages")}, s.restitute)
	add(s, huma.Operation{OperationID: "sendTransfer", Method: http.MethodPost, Path: "/v1/eliminations/{elimination}/send", Summary: "Packages of a transfer, with proofs, for the other archive",
		Description: "A zip of SEDA packages (ArchiveTransfer), one for each deposit that the units came by. It can be sent again until it is acknowledged; replies are then to the packages sent last. " + handedOut, Responses: binary("application/zip", "the packages")}, s.sendTransfer)
}

// Exporting says what to hand out.
type Exporting struct {
	Units     []string `json:"units" minItems:"1" maxItems:"10000" doc:"units, with all that they hold"`
	Kind      string   `json:"kind,omitempty" enum:"dip,transfer,restitution" default:"dip" doc:"ArchiveDeliveryRequestReply, ArchiveTransfer or ArchiveRestitutionRequestReply"`
	Version   string   `json:"seda,omitempty" enum:"2.1,2.2,2.3" default:"2.1"`
	Usages    []string `json:"usages,omitempty" maxItems:"10" doc:"of the objects to hand out, such as BinaryMaster; all when absent"`
	WithProof bool     `json:"withProof,omitempty" doc:"add a proof bundle of each unit"`
	Comment   string   `json:"comment,omitempty" maxLength:"10000"`
	Agreement string   `json:"archivalAgreement,omitempty" maxLength:"200"`
	Archive   string   `json:"archivalAgency,omitempty" maxLength:"200" doc:"of a transfer: who receives"`
	Requester string   `json:"requester,omitempty" maxLength:"1000" doc:"who asked for the DIP"`
	InReplyTo string   `json:"inReplyTo,omitempty" maxLength:"200" doc:"MessageIdentifier of the request"`
	OpenOnly  bool     `json:"openOnly,omitempty" doc:"leave out units that are not open, instead of refusing"`
}

type exportInput struct {
	Reads
	Body Exporting
}

// exportMessages are the messages of an export, by its kind.
var exportMessages = map[string]string{"dip": "ArchiveDeliveryRequestReply", "transfer": "ArchiveTransfer", "restitution": "ArchiveRestitutionRequestReply"}

func (s *service) exportUnits(ctx context.Context, who *Identity, in *exportInput) (*huma.StreamResponse, error) {
	b := in.Body
	for _, id := range b.Units {
		if err := s.ours(who, id); err != nil {
			return nil, err
		}
	}
	v, err := versionOf(b.Version)
	if err != nil {
		return nil, err
	}
	r := s.reader(who, in.Reads)
	return s.zipped("exportUnits", "export.zip", func(files archive.Files) error {
		_, err := r.Export(ctx, archive.ExportRequest{IDs: b.Units, Message: exportMessages[b.Kind], Version: v, Usages: b.Usages, WithProof: b.WithProof, Comment: b.Comment,
			Agreement: b.Agreement, Archive: b.Archive, Requester: b.Requester, InReplyTo: b.InReplyTo, OpenOnly: b.OpenOnly}, files)
		return err
	}), nil
}

func versionOf(s string) (seda.Version, error) {
	v, err := seda.ParseVersion(s)
	if err != nil {
		err = &archive.Refusal{Problems: []string{err.Error()}}
	}
	return v, err
}

// Restituting says whose units go back.
type Restituting struct {
	Agency    string `json:"originatingAgency" minLength:"1" maxLength:"200"`
	Version   string `json:"seda,omitempty" enum:"2.1,2.2,2.3" default:"2.2"`
	InReplyTo string `json:"inReplyTo,omitempty" maxLength:"200" doc:"MessageIdentifier of the ArchiveRestitutionRequest"`
}

type restituteInput struct {
	Reads
	Body Restituting
}

func (s *service) restitute(ctx context.Context, who *Identity, in *restituteInput) (*huma.StreamResponse, error) {
	v, err := versionOf(in.Body.Version)
	if err != nil {
		return nil, err
	}
	operations, units, err := s.of(who).HoldingsOf(who.Tenant, in.Body.Agency)
	if err != nil {
		return nil, err
	}
	r := s.reader(who, in.Reads)
	for _, op := range operations { // all, before a package of any is in the ledger
		if err := r.MayHandOver(units[op]); err != nil {
			return nil, fmt.Errorf("restituting operation %s: %w", op, err)
		}
	}
	return s.zipped("restitute", "restitution.zip", func(files archive.Files) error {
		for _, op := range operations {
			err := zipIn(files, op, func(inner archive.Files) error {
				_, err := r.Export(ctx, archive.ExportRequest{IDs: units[op], Exact: true, Message: exportMessages["restitution"], Version: v, WithProof: true, InReplyTo: in.Body.InReplyTo}, inner)
				return err
			})
			if err != nil {
				return fmt.Errorf("restituting operation %s: %w", op, err)
			}
		}
		return nil
	}), nil
}

// zipIn writes a package as a member of a zip.
func zipIn(files archive.Files, name string, write func(archive.Files) error) error {
	w, err := files.File(name + ".zip")
	if err != nil {
		return err
	}
	z := zip.NewWriter(w)
	if err := write(archive.ZipFiles{Writer: z, Modified: time.Now()}); err != nil {
		return err
	}
	return z.Close()
}

// Sending says how a transfer is sent.
type Sending struct {
	Version   string `json:"seda,omitempty" enum:"2.1,2.2,2.3" default:"2.2"`
	Agreement string `json:"archivalAgreement,omitempty" maxLength:"200" doc:"of the other archive; the one each came under when absent"`
}

type sendInput struct {
	IfMatch
	EliminationPath
	Body Sending
}

func (s *service) sendTransfer(ctx context.Context, who *Identity, in *sendInput) (*huma.StreamResponse, error) {
	e, err := s.eliminated(who, in.Elimination)
	if err != nil {
		return nil, err
	}
	v, err := versionOf(in.Body.Version)
	if err != nil {
		return nil, err
	}
	if ctx, err = s.expecting(ctx, e.ID, in.IfMatch, false); err != nil {
		return nil, err
	}
	return s.zipped("sendTransfer", e.ID+".zip", func(files archive.Files) error {
		_, err := s.of(who).SendTransfer(ctx, who.Name, e.ID, archive.ExportRequest{Version: v, Agreement: in.Body.Agreement}, func(name string, write func(archive.Files) (*archive.ExportOutcome, error)) error {
			return zipIn(files, name, func(inner archive.Files) error {
				_, err := write(inner)
				return err
			})
		})
		return err
	}), nil
}
