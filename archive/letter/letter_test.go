package letter

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// required are sentences of each article by outcome: the first of each is in no other. Those by "" stand in all.
var required = map[Article]map[Outcome][]string{
	Access: {
		"":      {"votre droit d'accès aux données à caractère personnel qui vous concernent, prévu à l'article 15 du règlement (UE) 2016/679", "Votre demande d'accès à vos données personnelles (article 15 du RGPD)"},
		Granted: {"Une copie vous en est remise ;", "Je vous confirme que des données à caractère personnel qui vous concernent sont conservées", "art. 12(5) et 15(3)"},
		Partly:  {"Une copie vous en est remise, à l'exception de ce qui est indiqué ci-après", "art. 15(4)"},
		Refused: {"Je ne peux pas donner une suite favorable à votre demande d'accès, pour les motifs exposés ci-après."},
	},
	Rectification: {
		"":      {"votre droit de rectification, prévu à l'article 16 du"},
		Granted: {"une note rectificative est jointe aux pièces concernées", "L'original scellé n'est pas modifié : il prouve ce qui a été reçu", "déclaration complémentaire (RGPD, art. 16)", "Chaque destinataire auquel ces données ont été communiquées reçoit notification"},
		Partly:  {"est faite en partie : une note rectificative", "L'original scellé n'est pas modifié", "le motif du refus est donné"},
		Refused: {"une suite favorable à votre demande de rectification"},
	},
	Erasure: {
		"":      {"votre droit à l'effacement, prévu à l'article 17 du"},
		Granted: {"Votre demande est acceptée : les données à caractère personnel sur lesquelles elle porte sont effacées", "L'effacement détruit les clés", "sans donnée à caractère personnel", "reçoit notification de la suite donnée à votre demande"},
		Partly:  {"Certaines pièces sont effacées ; d'autres restent conservées", "L'effacement détruit les clés"},
		Refused: {"une suite favorable à votre demande d'effacement", "Les pièces restent conservées pour la durée que prévoit leur règle de conservation."},
	},
	Restriction: {
		"":      {"votre droit à la limitation du traitement, prévu à l'article 18 du"},
		Granted: {"est limité à compter de ce jour", "ne sont plus utilisées ni communiquées, si ce n'est avec votre consentement", "art. 18(2)", "Une lettre vous avertira avant que la limitation ne soit levée"},
		Partly:  {"acceptée en partie : le traitement est limité", "art. 18(3)", "le motif du refus est donné"},
		Refused: {"une suite favorable à votre demande de limitation du traitement"},
	},
	Portability: {
		"":      {"votre droit à la portabilité des données, prévu à l'article 20 du"},
		Granted: {"dans un format structuré, couramment utilisé et lisible par machine (RGPD, art. 20(1)). Le sommaire", "La portabilité n'entraîne pas l'effacement", "à un autre responsable du traitement"},
		Partly:  {"lisible par machine (RGPD, art. 20(1)), à l'exception de ce qui est indiqué", "La portabilité n'entraîne pas l'effacement"},
		Refused: {"une suite favorable à votre demande de portabilité", "il ne s'applique pas au traitement nécessaire à l'exécution d'une mission d'intérêt public", "au titre du droit d'accès (RGPD, art. 15)"},
	},
	Objection: {
		"":      {"votre droit d'opposition, prévu à l'article 21 du"},
		Granted: {"les données sur lesquelles elle porte ne font plus l'objet du traitement auquel vous vous opposez (RGPD, art. 21(1))"},
		Partly:  {"acceptée en partie", "ne font plus l'objet du traitement", "le motif du refus est donné"},
		Refused: {"des motifs légitimes et impérieux qui prévalent sur vos intérêts, vos droits et vos libertés"},
	},
}

// waiting are sentences of the outcomes that are the same for all articles.
var waiting = map[Outcome][]string{
	Nothing: {"n'ont révélé aucune donnée à caractère personnel qui vous concerne. Votre demande est donc sans objet.", "un numéro de dossier"},
	Extended: {"– prolongation du délai de réponse", "dans un délai d'un mois à compter de la réception de la demande", "peut être prolongé de deux mois", "RGPD, art. 12(3)", "une réponse vous sera adressée au plus tard le 3 juin 2026.",
		"Les motifs de cette prolongation sont les suivants : le dossier compte"},
	Unidentified: {"– demande d'informations complémentaires", "un doute raisonnable quant à l'identité", "Conformément à l'article 12(6) du RGPD", "le délai de réponse est suspendu jusqu'à leur réception", "la copie d'un titre d'identité"},
}

const court = "un recours devant le tribunal administratif (22 rue d'Assas, 21000 Dijon) dans un délai de deux mois à compter de la notification"

// always stands in every letter.
var always = []string{"Conseil départemental de l'Yonne", "Madame Éloïse Lefèvre", "Auxerre, le 1er avril 2026", "J'ai reçu le 3 mars 2026 votre demande, enregistrée sous le n° DR-2026-17", "Madame, Monsieur,", "dpo@yonne.example",
	"une réclamation à la Commission nationale de l'informatique et des libertés (CNIL), 3 place de Fontenoy, TSA 80715, 75334 Paris Cedex 07, www.cnil.fr (RGPD, art. 77)", "Je vous prie d'agréer, Madame, Monsieur,", "La directrice des archives départementales", "Camille Moreau", "page 1 /"}

func TestSentences(t *testing.T) {
	if len(required) != len(articles) {
		t.Fatalf("sentences of %d articles, of %d", len(required), len(articles))
	}
	for a, by := range required {
		for _, o := range []Outcome{Granted, Partly, Refused, Nothing, Extended, Unidentified} {
			l := bare(a, o)
			if a == Access {
				l.Processing = []Processing{mdph}
			}
			if o == Extended {
				l.Extension = answer(a, o).Extension
			}
			text := textOf(t, pdfOf(t, l))
			want := append(append(append([]string{}, always...), by[""]...), append(by[o], waiting[o]...)...)
			if len(by[o])+len(waiting[o]) == 0 {
				t.Errorf("article %d, %s: no sentences are asked for", a, o)
			}
			if o != Extended {
				want = append(want, court)
			} else if strings.Contains(text, "tribunal") {
				t.Errorf("article %d: an extension is no decision to bring to court", a)
			}
			for _, s := range want {
				if !strings.Contains(text, s) {
					t.Errorf("article %d, %s: %q is not in %q", a, o, s, text)
				}
			}
			for other, sentences := range by {
				if other != "" && other != o && strings.Contains(text, sentences[0]) {
					t.Errorf("article %d, %s: says %q", a, o, sentences[0])
				}
			}
		}
	}
}

// TestErasure says what goes, what stays and why, who has copies, and from when it is beyond recovery.
func TestErasure(t *testing.T) {
	text := textOf(t, pdfOf(t, answer(Erasure, Partly)))
	at := -1
	for _, want := range []string{"prolongé jusqu'au 3 juin 2026", "Ce qui est effacé", "Certificat médical du 3 février 2019", "La pièce n'est plus nécessaire.", "pièce n° 2", "Ce qui est conservé, et pourquoi", "RGPD art. 17(3)(b)", "Recours",
		"À compter du 1er mai 2026, ce qui est effacé ne peut plus être reconstitué par quiconque, y compris à partir des sauvegardes et des clés placées sous séquestre.", "Copies remises auparavant",
		"Caisse d'allocations familiales de l'Yonne, le 2 novembre 2025 : notification de décision"} {
		i := strings.Index(text, want)
		if i <= at {
			t.Errorf("%q is not in its place in %q", want, text)
		}
		at = i
	}
}

// TestSignature does not stand alone on a page, wherever the text before it ends.
func TestSignature(t *testing.T) {
	for n := range 24 {
		l := bare(Erasure, Refused)
		l.Function = strings.Repeat("Fonction longue ", 8)
		for range n {
			l.Paragraphs = append(l.Paragraphs, "Un paragraphe.")
		}
		pages := strings.Split(strings.TrimSuffix(peer(t, pdfOf(t, l), "pdftotext", "-layout", "-", "-"), "\f"), "\f")
		last := pages[len(pages)-1]
		for _, want := range []string{"Vous pouvez également former un recours", "Je vous prie d'agréer", "Fonction longue", "Camille Moreau"} {
			if !strings.Contains(last, want) {
				t.Errorf("%d paragraphs: %q is not on the last page: %s", n, want, last)
			}
		}
	}
}

// TestDecisions words every decision.
func TestDecisions(t *testing.T) {
	l := answer(Restriction, Partly)
	l.Findings = nil
	for d := range decisions {
		l.Findings = append(l.Findings, Finding{Number: 1, Document: "pièce", Decision: d})
	}
	text := strings.ReplaceAll(textOf(t, pdfOf(t, l)), " ", "")
	for _, words := range decisions {
		if !strings.Contains(text, strings.ReplaceAll(words, " ", "")) {
			t.Errorf("%q is not in %q", words, text)
		}
	}
	for f, want := range map[Finding]string{
		{Decision: EraseAt, Date: "2027-12-31"}: "effacée le 31 décembre 2027", {Decision: EraseAt}: "effacée à son échéance", {Decision: Keep}: "demande refusée", {Decision: Given, Date: "2026-04-01"}: "copie remise\n1er avril 2026",
	} {
		if got := f.words(Access); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestChecks refuses what a letter may not leave out, and what is too large, all of it at once.
func TestChecks(t *testing.T) {
	for name, c := range map[string]struct {
		change func(l *Letter)
		want   string
	}{
		"empty":               {func(l *Letter) { *l = Letter{} }, "sender: missing\nplace: missing\naddressee: missing\nrequest: missing\nsignatory: missing\nfunction of the signatory: missing\narticle 0: it is 15, 16, 17, 18, 20 or 21\ndate: missing\nday of receipt: missing"},
		"outcome":             {func(l *Letter) { l.Outcome = "maybe" }, `outcome "maybe" is not known`},
		"decision":            {func(l *Letter) { l.Findings[1].Decision = "ERASE" }, `finding 2: decision "ERASE" is not known`},
		"no end":              {func(l *Letter) { l.Outcome, l.Extension = Extended, nil }, "until when and why"},
		"no reason for it":    {func(l *Letter) { l.Outcome, l.Extension.Why = Extended, " " }, "until when and why"},
		"end before receipt":  {func(l *Letter) { l.Extension.Until = l.Received }, "before the request was received"},
		"refusal, no reasons": {func(l *Letter) { l.Outcome, l.Basis, l.Findings, l.Paragraphs = Refused, "", nil, nil }, "gives its reasons"},
		"access, untold":      {func(l *Letter) { l.Article, l.Processing = Access, nil }, "told of the processing"},
		"erased, no day":      {func(l *Letter) { l.Effective = time.Time{} }, "beyond recovery"},
		"findings too early":  {func(l *Letter) { l.Outcome = Extended }, "decides nothing on documents"},
		"long name":           {func(l *Letter) { l.From.Name = strings.Repeat("x", maxBlock+1) }, "sender: 101 bytes, at most 100"},
		"long address":        {func(l *Letter) { l.To = make([]string, maxLines+1) }, "addressee: 9, at most 8"},
		"long paragraph":      {func(l *Letter) { l.Paragraphs = []string{strings.Repeat("x", maxText+1)} }, "paragraphs: 20001 bytes"},
		"many findings":       {func(l *Letter) { l.Findings = make([]Finding, maxRows+1) }, "findings: 50001, at most 50000"},
		"large in all": {func(l *Letter) {
			f := Finding{Decision: Keep, Explanation: strings.Repeat("x", maxText)}
			for range maxTotal/maxText + 1 {
				l.Findings = append(l.Findings, f)
			}
		}, "bytes of text in all, at most 33554432"},
		"many new lines": {func(l *Letter) {
			for range 100 {
				l.Paragraphs = append(l.Paragraphs, strings.Repeat("x\n", maxText/2))
			}
		}, "bytes of text in all"},
	} {
		l := answer(Erasure, Partly)
		c.change(l)
		var out bytes.Buffer
		if err := l.PDF(&out); err == nil || !strings.Contains(err.Error(), c.want) || out.Len() > 0 {
			t.Errorf("%s: %v, %d bytes", name, err, out.Len())
		}
	}
}

// TestProperties: a letter's file says its title and time, nothing of the person but the number.
func TestProperties(t *testing.T) {
	b := pdfOf(t, answer(Access, Granted))
	if again := pdfOf(t, answer(Access, Granted)); !bytes.Equal(b, again) {
		t.Error("the same letter is not the same bytes")
	}
	info := peer(t, b, "pdfinfo", "-")
	for _, want := range []string{"Réponse à la demande n° DR-2026-17", "CreationDate:    Wed Apr  1 10:00:00 2026"} {
		if !strings.Contains(info, want) {
			t.Errorf("%q is not in %s", want, info)
		}
	}
	for _, never := range []string{"Author", "Subject", "Keywords", "Creator", "Lefèvre"} {
		if strings.Contains(info, never) {
			t.Errorf("%q is in %s", never, info)
		}
	}
	if !bytes.Contains(b, []byte("/Lang (fr-FR)")) {
		t.Error("the language is not said")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestFull says so when the document cannot be written.
func TestFull(t *testing.T) {
	for _, err := range []error{answer(Erasure, Partly).PDF(full{}), folder(3).PDF(full{}), record().PDF(full{}), record().Text(full{})} {
		if err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Error(err)
		}
	}
}
