package letter

import (
	"fmt"
	"strings"

	"sae/archive/pdf"
)

// right is what a letter calls the right that an article gives, and says by outcome.
type right struct {
	name, request            string
	granted, partly, refused []string
}

const (
	kept    = "L'original scellé n'est pas modifié : il prouve ce qui a été reçu et à quelle date, et doit pour cela rester tel qu'il a été déposé. C'est pourquoi la rectification prend la forme d'une déclaration complémentaire (RGPD, art. 16)."
	told    = "Chaque destinataire auquel ces données ont été communiquées reçoit notification de la suite donnée à votre demande, à moins que cela ne se révèle impossible ou n'exige des efforts disproportionnés (RGPD, art. 19)."
	erasing = "L'effacement détruit les clés sans lesquelles les pièces ne peuvent plus être lues, puis leurs copies. Le journal d'archivage n'en garde que la trace de l'opération, sans donnée à caractère personnel."
	limited = "Les données dont le traitement est limité sont conservées, mais ne sont plus utilisées ni communiquées, si ce n'est avec votre consentement, pour la constatation, l'exercice ou la défense de droits en justice, pour la protection des droits d'une autre personne, ou pour des motifs importants d'intérêt public (RGPD, art. 18(2)). Une lettre vous avertira avant que la limitation ne soit levée (RGPD, art. 18(3))."
	ported  = "La portabilité n'entraîne pas l'effacement des données (RGPD, art. 20(3)). Vous pouvez transmettre ce qui vous est remis à un autre responsable du traitement."

	toldRights = "Vous avez le droit de demander la rectification ou l'effacement de vos données, ou une limitation de leur traitement, ainsi que le droit de vous opposer à ce traitement, dans les conditions que prévoit le RGPD (art. 15(1)(e)), et celui d'introduire une réclamation auprès de la CNIL (art. 15(1)(f))."
)

var articles = map[Article]right{
	Access: {
		name: "votre droit d'accès aux données à caractère personnel qui vous concernent", request: "Votre demande d'accès à vos données personnelles",
		granted: []string{"Je vous confirme que des données à caractère personnel qui vous concernent sont conservées dans notre système d'archivage électronique. Une copie vous en est remise ; le sommaire qui l'accompagne énumère les pièces et explique comment en vérifier l'authenticité.",
			"Cette copie est gratuite (RGPD, art. 12(5) et 15(3))."},
		partly: []string{"Je vous confirme que des données à caractère personnel qui vous concernent sont conservées dans notre système d'archivage électronique. Une copie vous en est remise, à l'exception de ce qui est indiqué ci-après, avec le motif. Le sommaire qui l'accompagne énumère les pièces et explique comment en vérifier l'authenticité.",
			"Le droit d'obtenir une copie ne porte pas atteinte aux droits et libertés d'autrui (RGPD, art. 15(4)). La copie est gratuite (RGPD, art. 12(5) et 15(3))."},
		refused: []string{"Je ne peux pas donner une suite favorable à votre demande d'accès, pour les motifs exposés ci-après."},
	},
	Rectification: {
		name: "votre droit de rectification", request: "Votre demande de rectification de vos données personnelles",
		granted: []string{"La rectification que vous demandez est faite : une note rectificative est jointe aux pièces concernées. Elle est présentée, avec la pièce, à toute personne qui la consulte.", kept, told},
		partly:  []string{"La rectification que vous demandez est faite en partie : une note rectificative est jointe aux pièces pour lesquelles cela est indiqué ci-après ; elle est présentée, avec la pièce, à toute personne qui la consulte. Pour le reste, le motif du refus est donné.", kept, told},
		refused: []string{"Je ne peux pas donner une suite favorable à votre demande de rectification, pour les motifs exposés ci-après."},
	},
	Erasure: {
		name: "votre droit à l'effacement", request: "Votre demande d'effacement de vos données personnelles",
		granted: []string{"Votre demande est acceptée : les données à caractère personnel sur lesquelles elle porte sont effacées, à la date indiquée pour chaque pièce lorsqu'il y en a une.", erasing, told},
		partly:  []string{"Votre demande est acceptée en partie. Certaines pièces sont effacées ; d'autres restent conservées, pour le motif donné en regard de chacune.", erasing, told},
		refused: []string{"Je ne peux pas donner une suite favorable à votre demande d'effacement, pour les motifs exposés ci-après. Les pièces restent conservées pour la durée que prévoit leur règle de conservation."},
	},
	Restriction: {
		name: "votre droit à la limitation du traitement", request: "Votre demande de limitation du traitement de vos données personnelles",
		granted: []string{"Votre demande est acceptée : le traitement des données sur lesquelles elle porte est limité à compter de ce jour.", limited, told},
		partly:  []string{"Votre demande est acceptée en partie : le traitement est limité, à compter de ce jour, pour les pièces pour lesquelles cela est indiqué ci-après. Pour les autres, le motif du refus est donné.", limited, told},
		refused: []string{"Je ne peux pas donner une suite favorable à votre demande de limitation du traitement, pour les motifs exposés ci-après."},
	},
	Portability: {
		name: "votre droit à la portabilité des données", request: "Votre demande de portabilité de vos données personnelles",
		granted: []string{"Votre demande est acceptée : les données que vous avez fournies vous sont remises dans un format structuré, couramment utilisé et lisible par machine (RGPD, art. 20(1)). Le sommaire qui les accompagne énumère les pièces et explique comment en vérifier l'authenticité.", ported},
		partly:  []string{"Votre demande est acceptée en partie : les données que vous avez fournies vous sont remises dans un format structuré, couramment utilisé et lisible par machine (RGPD, art. 20(1)), à l'exception de ce qui est indiqué ci-après, avec le motif.", ported},
		refused: []string{"Je ne peux pas donner une suite favorable à votre demande de portabilité, pour les motifs exposés ci-après.",
			"Le droit à la portabilité porte sur les données que vous avez fournies, lorsque leur traitement est automatisé et fondé sur votre consentement ou sur un contrat ; il ne s'applique pas au traitement nécessaire à l'exécution d'une mission d'intérêt public ou relevant de l'exercice de l'autorité publique (RGPD, art. 20(1) et 20(3)). Vous pouvez en revanche demander une copie de vos données au titre du droit d'accès (RGPD, art. 15)."},
	},
	Objection: {
		name: "votre droit d'opposition", request: "Votre opposition au traitement de vos données personnelles",
		granted: []string{"Votre demande est acceptée : les données sur lesquelles elle porte ne font plus l'objet du traitement auquel vous vous opposez (RGPD, art. 21(1))."},
		partly:  []string{"Votre demande est acceptée en partie : les pièces pour lesquelles cela est indiqué ci-après ne font plus l'objet du traitement auquel vous vous opposez (RGPD, art. 21(1)). Pour les autres, le motif du refus est donné."},
		refused: []string{"Je ne peux pas donner une suite favorable à votre opposition : le traitement répond à des motifs légitimes et impérieux qui prévalent sur vos intérêts, vos droits et vos libertés, ou il est nécessaire à la constatation, à l'exercice ou à la défense de droits en justice (RGPD, art. 21(1)). Ces motifs sont exposés ci-après."},
	},
}

func (l *Letter) salutation() string {
	if l.Salutation == "" {
		return "Madame, Monsieur"
	}
	return l.Salutation
}

func (l *Letter) subject() string {
	s := fmt.Sprintf("%s (article %d du RGPD)", articles[l.Article].request, l.Article)
	switch l.Outcome {
	case Extended:
		s += " – prolongation du délai de réponse"
	case Unidentified:
		s += " – demande d'informations complémentaires"
	}
	return s
}

func (l *Letter) opening() string {
	return fmt.Sprintf("J'ai reçu le %s votre demande, enregistrée sous le n° %s, par laquelle vous exercez %s, prévu à l'article %d du règlement (UE) 2016/679 du 27 avril 2016, règlement général sur la protection des données (RGPD).",
		pdf.Day(l.Received), l.Request, articles[l.Article].name, l.Article)
}

// extended recalls a letter that announced that the answer takes longer.
func (l *Letter) extended() string {
	s := fmt.Sprintf("Une lettre précédente vous a annoncé que le délai de réponse était prolongé jusqu'au %s (RGPD, art. 12(3))", pdf.Day(l.Extension.Until))
	if l.Extension.Why != "" {
		s += ", pour le motif suivant : " + l.Extension.Why
	}
	return sentence(s)
}

// sentence ends with a full stop.
func sentence(s string) string { return strings.TrimRight(s, ". \n") + "." }

// outcome is what the letter is about.
func (l *Letter) outcome() []string {
	r := articles[l.Article]
	switch l.Outcome {
	case Granted:
		return r.granted
	case Partly:
		return r.partly
	case Refused:
		return r.refused
	case Nothing:
		return []string{"Les recherches faites dans notre système d'archivage électronique n'ont révélé aucune donnée à caractère personnel qui vous concerne. Votre demande est donc sans objet.",
			"Si vous pensez qu'un dossier à votre nom y est conservé, vous pouvez m'indiquer ce qui permettrait de le retrouver : un numéro de dossier, un nom d'usage ou de naissance, le service auquel vous vous êtes adressé."}
	case Extended:
		return []string{"Le RGPD prévoit qu'il est répondu dans un délai d'un mois à compter de la réception de la demande. Ce délai peut être prolongé de deux mois, compte tenu de la complexité et du nombre de demandes ; la personne en est informée, avec les motifs, dans le mois qui suit la réception (RGPD, art. 12(3)).",
			fmt.Sprintf("Je vous informe que ce délai est prolongé : une réponse vous sera adressée au plus tard le %s.", pdf.Day(l.Extension.Until)),
			"Les motifs de cette prolongation sont les suivants : " + sentence(l.Extension.Why)}
	}
	return []string{"Je ne peux pas donner suite à cette demande en l'état : il existe un doute raisonnable quant à l'identité de la personne qui la présente, et des données ne peuvent être communiquées, modifiées ou effacées qu'à la demande de la personne qu'elles concernent.",
		"Conformément à l'article 12(6) du RGPD, je vous demande de fournir les informations supplémentaires suivantes, qui ne serviront qu'à confirmer votre identité ; le délai de réponse est suspendu jusqu'à leur réception :"}
}

// asked is what shows who asks.
func (l *Letter) asked() []string {
	if len(l.Asked) > 0 {
		return l.Asked
	}
	return []string{"un élément que seuls vous et nos services connaissez : numéro de dossier, référence d'un courrier, identifiant de votre compte", "si cela ne suffit pas, la copie d'un titre d'identité, où vous pouvez masquer ce qui n'est pas nécessaire"}
}

// remedies are where to complain. What is not a decision yet cannot be brought to court.
func (l *Letter) remedies() []string {
	all := []string{"Si vous estimez que vos droits ne sont pas respectés, vous pouvez adresser une réclamation à la Commission nationale de l'informatique et des libertés (CNIL), 3 place de Fontenoy, TSA 80715, 75334 Paris Cedex 07, www.cnil.fr (RGPD, art. 77)."}
	if l.Outcome == Extended {
		return all
	}
	court := "le tribunal administratif"
	if l.Court != "" {
		court += " (" + l.Court + ")"
	}
	return append(all, fmt.Sprintf("Vous pouvez également former un recours devant %s dans un délai de deux mois à compter de la notification de la présente lettre (code de justice administrative, art. R. 421-1), par courrier ou sur www.telerecours.fr.", court))
}

func (l *Letter) regards() string {
	return fmt.Sprintf("Je vous prie d'agréer, %s, l'expression de ma considération distinguée.", l.salutation())
}

var decisions = map[Decision]string{
	EraseNow: "effacée", EraseAt: "effacée à son échéance", Keep: "demande refusée", Held: "conservée : un gel en interdit l'effacement", Restricted: "traitement limité", Noted: "note rectificative jointe",
	Given: "copie remise", Redacted: "copie remise, passages occultés", Withheld: "non communiquée", Stopped: "traitement arrêté",
}

// words are what becomes of the document.
func (f *Finding) words(a Article) string {
	date := pdf.Date(f.Date)
	switch {
	case f.Decision == Keep && a == Erasure:
		return "conservée"
	case date == "":
		return decisions[f.Decision]
	case f.Decision == EraseNow, f.Decision == EraseAt:
		return "effacée le " + date
	}
	return decisions[f.Decision] + "\n" + date
}

func (x *Export) words() string {
	s := x.Recipient
	if x.Date != "" {
		s += ", le " + pdf.Date(x.Date)
	}
	if x.What != "" {
		s += " : " + x.What
	}
	return s
}

// field is a name and what it has.
type field struct {
	name   string
	values []string
}

// filled are the fields that have something.
func filled(all []field) (some []field) {
	for _, f := range all {
		if strings.Join(f.values, "") != "" {
			some = append(some, f)
		}
	}
	return some
}

// told is what art. 15(1) has told of a processing.
func (p *Processing) told() []field {
	return filled([]field{
		{"Finalités", []string{p.Purpose}}, {"Base juridique", []string{p.Basis}}, {"Catégories particulières", []string{p.Special}}, {"Catégories de données", []string{strings.Join(p.Data, ", ")}},
		{"Destinataires", []string{strings.Join(p.Recipients, ", ")}}, {"Durée de conservation", p.retention()}, {"Source des données", []string{p.Source}}, {"Transferts hors de l'UE", []string{p.Transfers}},
		{"Décision automatisée", []string{p.Automated}},
	})
}

func (p *Processing) retention() (texts []string) {
	for _, r := range p.Retention {
		texts = append(texts, r.words())
	}
	return texts
}

// words are a rule: what is kept, for how long, from when, and what happens then.
func (r *Retention) words() string {
	s := r.Name
	switch {
	case s == "":
		s = r.Rule
	case r.Rule != "":
		s += " (" + r.Rule + ")"
	}
	s += " : " + pdf.Duration(r.Duration)
	if r.Trigger != "" {
		s += " à compter de : " + r.Trigger
	}
	if r.Action != "" {
		s += " ; sort final : " + strings.ToLower(pdf.Action(r.Action))
	}
	if r.Basis != "" {
		s += " ; " + r.Basis
	}
	return s
}
