package bundle

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"sae/integrity"
	"sae/integrity/tsp"
)

// report.txt says what the bundle proves, for a person. It says nothing that is
// not in the other members, so that a verifier can write it again and compare.
// Its numbers are identifiers and times: it names nobody.

func reportHead(ledgerKey string) []byte {
	return fmt.Appendf(nil, "PROOF REPORT / RAPPORT DE PREUVE\n\n"+
		"This report is for reading; the proof is in the other files, and sae-verify or\n"+
		"verify.sh checks it. Ce rapport se lit ; la preuve est dans les autres fichiers,\n"+
		"que sae-verify ou verify.sh vérifie.\n\n"+
		"Ledger / registre      : %s\n", Plain(ledgerKey))
}

func reportProof(w io.Writer, p *Proof, item integrity.Item, entry integrity.Entry) {
	fmt.Fprintf(w, "\n%s\n", p.member())
	fmt.Fprintf(w, "  unit, version          : %s, %d\n", Plain(item.Unit), item.Version)
	fmt.Fprintf(w, "  salted commitment      : %s\n", item.Leaf)
	fmt.Fprintf(w, "  archived / versé       : %s, operation %s, entry %d of the ledger\n",
		entry.Time.Format(time.RFC3339), Plain(entry.Operation), p.Receipt.Index)
	if cp, ok := sizeOf(p.Receipt.Checkpoint); ok {
		fmt.Fprintf(w, "  sealed with / scellé   : %s\n", checkpointName(cp))
	}
}

func reportCheckpoint(w io.Writer, size int64, t *tsp.Token) {
	fmt.Fprintf(w, "\nledger/%s.txt\n", checkpointName(size))
	fmt.Fprintf(w, "  time-stamp / horodatage : %s\n", t.Time.UTC().Format(time.RFC3339))
	fmt.Fprintf(w, "  policy / politique      : %s\n", t.Policy)
	for _, c := range t.Certificates {
		fmt.Fprintf(w, "  certificate             : %s, valid until %s\n", Plain(c.Subject.String()), c.NotAfter.UTC().Format(time.DateOnly))
	}
}

// reportText is all of report.txt. What does not parse is left empty in it.
func reportText(b Bundle, tokens []*tsp.Token) []byte {
	w := bytes.NewBuffer(reportHead(b.LedgerKey))
	for i := range b.Proofs {
		p := &b.Proofs[i]
		item, _ := integrity.ParseItem(p.Item.Item)
		entry, _ := integrity.ParseEntry(p.Receipt.Entry)
		reportProof(w, p, item, entry)
	}
	for i := range b.Checkpoints {
		reportCheckpoint(w, b.Checkpoints[i].Size, tokens[i])
	}
	return w.Bytes()
}
