package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"sae/archive"
	"sae/seda"
)

// depositSEDA deposits paths that are SEDA transfers, each as an operation of its own;
// handled is false when they are something else.
func (c *cli) depositSEDA(ctx context.Context, d *depositFlags, paths []string) (handled bool, err error) {
	if d.plain {
		return false, nil
	}
	var transfers int
	for _, p := range paths {
		if seda.RecogniseIn(c.files, p) == "ArchiveTransfer" {
			transfers++
		}
	}
	switch {
	case transfers == 0:
		if d.reply != "" || d.ack != "" {
			return true, usagef("--reply and --acknowledgement are for SEDA transfers; no PATH is one")
		}
		return false, nil
	case transfers < len(paths):
		return true, usagef("%d of the %d paths are SEDA transfers; deposit them apart, or all as they are with --plain", transfers, len(paths))
	case len(paths) > 1 && !d.each:
		return true, usagef("%d SEDA transfers: each is a deposit of its own; give --each", len(paths))
	case len(paths) > 1 && (d.reply != "" || d.ack != ""):
		return true, usagef("--reply and --acknowledgement are for one transfer, %d were given", len(paths))
	}
	other := d.flags
	other.Subject = ""
	if !reflect.ValueOf(other).IsZero() || d.metadata != "" || d.deposit.Agency != "" || d.deposit.Parents != nil || d.deposit.File != "" || d.deposit.Person != (archive.FederatedID{}) {
		return true, usagef("a SEDA transfer says itself what it holds: only --tenant, --agreement, --subject, --reply, --receipt and --wait-seal go with it (or --plain)")
	}
	return true, c.open(false, func(a *archive.Archive) error {
		var errs []error
		for _, p := range paths {
			if err := c.depositTransfer(ctx, a, d, p); err != nil {
				errs = append(errs, err)
			}
		}
		if err := errors.Join(errs...); err != nil || !d.waitSeal {
			return err
		}
		return c.seal(ctx, a, false)
	})
}

func (c *cli) depositTransfer(ctx context.Context, a *archive.Archive, d *depositFlags, path string) (err error) {
	var findings seda.Findings
	p, err := seda.OpenPackageIn(c.files, path, &findings)
	if err != nil {
		return fmt.Errorf("depositing %s: %w", path, err)
	}
	if p == nil {
		if err := c.printCheck(path, seda.Tolerant, nil, &findings); err != nil {
			return err
		}
		return errSaid
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	var size int64
	for _, f := range p.Files {
		size += f.Size
	}
	bar := c.newBar(size, "depositing")
	defer bar.finish()
	out, err := a.DepositTransfer(ctx, c.agent, archive.Transfer{
		Package: p, Tenant: d.deposit.Tenant, Agreement: d.deposit.Agreement, Subject: d.flags.Subject, Progress: bar.add})
	if out == nil {
		return fmt.Errorf("depositing %s: %w", path, err)
	}
	if d.ack != "" {
		if err2 := c.acknowledge(d.ack, out); err2 != nil {
			return errors.Join(err, fmt.Errorf("writing the acknowledgement: %w", err2))
		}
	}
	if d.reply != "" {
		if err2 := c.writeNew(d.reply, func(w io.Writer) error { return out.WriteReply(ctx, w) }); err2 != nil {
			return errors.Join(err, fmt.Errorf("writing the reply: %w", err2))
		}
	}
	if err2 := c.printTransfer(a, path, d, out); err2 != nil || err == nil {
		return err2
	}
	return errSaid // the findings have said it
}

// acknowledge writes that a transfer was received, whatever became of it.
func (c *cli) acknowledge(file string, out *archive.TransferOutcome) error {
	h := &out.Header
	id := out.Operation
	if id == "" {
		id = "refused-" + time.Now().UTC().Format("20060102T150405.000Z")
	}
	m := seda.Message{Name: "Acknowledgement", Version: h.Version, Identifier: "ack-" + id, Date: time.Now(), Received: h.Identifier,
		Sender: h.ArchivalAgency, Receiver: h.TransferringAgency}
	return c.writeNew(file, m.Write)
}

// transferJSON is the JSON of a transfer.
type transferJSON struct {
	File       string `json:"file"`
	Acceptable bool   `json:"acceptable"`
	*archive.TransferOutcome
	Findings []findingJSON `json:"findings"`
	Ledger   *ledgerPlace  `json:"ledger,omitempty"`
	Receipt  string        `json:"receipt,omitempty"`
}

type ledgerPlace struct {
	Index int64 `json:"index"`
	Size  int64 `json:"size"`
}

func (c *cli) printTransfer(a *archive.Archive, path string, d *depositFlags, out *archive.TransferOutcome) error {
	accepted := out.Operation != ""
	if accepted && d.receipt != "" {
		if err := c.writeFile(d.receipt, out.Receipt.Marshal()); err != nil {
			return fmt.Errorf("the transfer is archived as %s; writing its receipt: %w", out.Operation, err)
		}
	}
	if c.json {
		j := transferJSON{File: path, Acceptable: accepted, TransferOutcome: out, Findings: findingsJSON(&out.Findings)}
		if accepted {
			j.Ledger = &ledgerPlace{out.Receipt.Index, checkpointSize(out.Receipt.Checkpoint)}
			j.Receipt = string(out.Receipt.Marshal())
			return c.printTransferJSON(a, j)
		}
		return c.printJSON(j)
	}
	for _, f := range out.Findings.List {
		c.printFinding(f)
	}
	errs, warnings := out.Findings.Errors, out.Findings.Warnings
	if !accepted {
		c.printf("%s: refused, nothing was archived: %d errors, %d warnings\n", path, errs, warnings)
		return nil
	}
	const most = 50
	units := 0
	err := a.UnitsOf(out.Receipt.Index, func(u archive.DepositedUnit) error {
		if units++; units > most {
			return errEnough
		}
		c.printArchived(u)
		return nil
	})
	if err == errEnough {
		c.printf("... more units, %d in the transfer: --json or the reply name them all\n", out.Counts.Units)
	} else if err != nil {
		return err
	}
	c.printf("archived: %s as operation %s, %d units, entry %d of a ledger of %d, %d warnings\n", out.Header.Identifier, out.Operation, out.Counts.Units-out.Attached,
		out.Receipt.Index, checkpointSize(out.Receipt.Checkpoint), warnings)
	return nil
}

var errEnough = errors.New("enough were shown")

// printTransferJSON prints j and, as they are read, the units archived: there may be a
// million.
func (c *cli) printTransferJSON(a *archive.Archive, j transferJSON) error {
	b, err := json.Marshal(j)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(c.out)
	fmt.Fprintf(w, `%s,"units":[`, bytes.TrimSuffix(b, []byte("}")))
	comma := ""
	err = a.UnitsOf(j.TransferOutcome.Receipt.Index, func(u archive.DepositedUnit) error {
		b, err := json.Marshal(u)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s%s", comma, b)
		comma = ","
		return err
	})
	if err != nil {
		return err
	}
	w.WriteString("]}\n")
	return w.Flush()
}
