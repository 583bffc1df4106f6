package seda

// The codes of findings.
const (
	XMLSyntax         Code = "XML_SYNTAX"
	RootUnknown       Code = "ROOT_UNKNOWN"
	VersionUnknown    Code = "VERSION_UNKNOWN"
	VersionReadAs     Code = "VERSION_READ_AS"
	MessageOther      Code = "MESSAGE_OTHER"
	ElementUnexpected Code = "ELEMENT_UNEXPECTED"
	ElementOrder      Code = "ELEMENT_ORDER"
	ElementMissing    Code = "ELEMENT_MISSING"
	ElementExtension  Code = "ELEMENT_EXTENSION"
	ElementLater      Code = "ELEMENT_LATER"
	AttributeUnknown  Code = "ATTRIBUTE_UNKNOWN"
	AttributeMissing  Code = "ATTRIBUTE_MISSING"
	ValueInvalid      Code = "VALUE_INVALID"
	ValueTooLong      Code = "VALUE_TOO_LONG"
	TextUnexpected    Code = "TEXT_UNEXPECTED"
	TypeInvalid       Code = "TYPE_INVALID"
	NilInvalid        Code = "NIL_INVALID"
	IDDuplicate       Code = "ID_DUPLICATE"
	RefUnresolved     Code = "REF_UNRESOLVED"
	RefKind           Code = "REF_KIND"
	UnitCycle         Code = "UNIT_CYCLE"
	GroupOrphan       Code = "GROUP_ORPHAN"
	GroupEmpty        Code = "GROUP_EMPTY"
	UsageInvalid      Code = "USAGE_INVALID"
	UsageKind         Code = "USAGE_KIND"
	UsageDuplicate    Code = "USAGE_DUPLICATE"
	FileMissing       Code = "FILE_MISSING"
	FileUndeclared    Code = "FILE_UNDECLARED"
	FileShared        Code = "FILE_SHARED"
	URIMissing        Code = "URI_MISSING"
	URIUnsafe         Code = "URI_UNSAFE"
	DigestMissing     Code = "DIGEST_MISSING"
	DigestAlgorithm   Code = "DIGEST_ALGORITHM"
	DigestWeak        Code = "DIGEST_WEAK"
	DigestMismatch    Code = "DIGEST_MISMATCH"
	SizeMissing       Code = "SIZE_MISSING"
	SizeMismatch      Code = "SIZE_MISMATCH"
	FormatMissing     Code = "FORMAT_MISSING"
	FormatMismatch    Code = "FORMAT_MISMATCH"
	PhysicalIDEmpty   Code = "PHYSICAL_ID_EMPTY"
	TitleMissing      Code = "TITLE_MISSING"
	DateOrder         Code = "DATE_ORDER"
	DateRange         Code = "DATE_RANGE"
	RuleUnknown       Code = "RULE_UNKNOWN"
	AgreementMissing  Code = "AGREEMENT_MISSING"
	AgreementUnknown  Code = "AGREEMENT_UNKNOWN"
	AgencyUnknown     Code = "AGENCY_UNKNOWN"
	HoldDates         Code = "HOLD_DATES"
	HoldEnd           Code = "HOLD_END"
	AttachmentInvalid Code = "ATTACHMENT_INVALID"
	CustodyInvalid    Code = "CUSTODY_INVALID"
	PackageUnreadable Code = "PACKAGE_UNREADABLE"
	PackageManifest   Code = "PACKAGE_MANIFEST"
	PackageName       Code = "PACKAGE_NAME"
	PackageEntry      Code = "PACKAGE_ENTRY"
	PackageTooLarge   Code = "PACKAGE_TOO_LARGE"
	SchemaInvalid     Code = "SCHEMA_INVALID"
)

// sentences say each code for people. {expected}, {found}, {id}, {file} are those of
// the finding.
var sentences = map[Code]struct{ fr, en string }{
	XMLSyntax:         {"Le document n'est pas du XML bien formé : {found}.", "The document is not well-formed XML: {found}."},
	RootUnknown:       {"L'élément racine {found} n'est pas un message SEDA.", "The root element {found} is no SEDA message."},
	VersionUnknown:    {"L'espace de noms « {found} » n'est pas celui d'une version connue de SEDA ({expected}).", "The namespace \"{found}\" is not that of a known version of SEDA ({expected})."},
	VersionReadAs:     {"Le document est en SEDA {found} ; il est lu comme du SEDA {expected}.", "The document is SEDA {found}; it is read as SEDA {expected}."},
	MessageOther:      {"Le message est un {found}, on attendait {expected}.", "The message is a {found}, where {expected} is expected."},
	ElementUnexpected: {"L'élément {found} n'est pas permis ici ; attendu : {expected}.", "Element {found} is not allowed here; expected: {expected}."},
	ElementOrder:      {"L'élément {found} est hors de sa place ou de trop ; attendu : {expected}.", "Element {found} is out of its place, or one too many; expected: {expected}."},
	ElementMissing:    {"L'élément {found} n'est pas complet ; il manque : {expected}.", "Element {found} is not complete; missing: {expected}."},
	ElementExtension:  {"L'élément {found} n'est pas défini par SEDA ; il est conservé comme extension.", "Element {found} is not defined by SEDA; it is kept as an extension."},
	ElementLater:      {"L'élément {found} n'existe qu'à partir de SEDA {expected} ; il est accepté.", "Element {found} exists from SEDA {expected} on only; it is accepted."},
	AttributeUnknown:  {"L'attribut {found} n'est pas défini ici.", "Attribute {found} is not defined here."},
	AttributeMissing:  {"Il manque l'attribut {expected}.", "Attribute {expected} is missing."},
	ValueInvalid:      {"La valeur « {found} » n'est pas valide ; attendu : {expected}.", "The value \"{found}\" is not valid; expected: {expected}."},
	ValueTooLong:      {"La valeur est trop longue : plus de {expected} octets.", "The value is too long: more than {expected} bytes."},
	TextUnexpected:    {"Le texte « {found} » n'est pas permis ici.", "The text \"{found}\" is not allowed here."},
	TypeInvalid:       {"Le type {found} n'est pas utilisable ici ; attendu : {expected}.", "The type {found} cannot be used here; expected: {expected}."},
	NilInvalid:        {"xsi:nil n'est pas permis ici, ou l'élément n'est pas vide.", "xsi:nil is not allowed here, or the element is not empty."},
	IDDuplicate:       {"L'identifiant {id} est déjà utilisé, ligne {expected}.", "The identifier {id} is used already, on line {expected}."},
	RefUnresolved:     {"La référence {found} ne désigne rien dans le document.", "The reference {found} points to nothing in the document."},
	RefKind:           {"La référence {found} doit désigner {expected}.", "The reference {found} must point to {expected}."},
	UnitCycle:         {"L'unité d'archives {id} se contient elle-même : {found}.", "The archive unit {id} contains itself: {found}."},
	GroupOrphan:       {"L'objet ou le groupe d'objets {id} n'est rattaché à aucune unité d'archives.", "The data object or group {id} belongs to no archive unit."},
	GroupEmpty:        {"Le groupe d'objets {id} ne contient aucun objet.", "The object group {id} holds no data object."},
	UsageInvalid:      {"L'usage « {found} » n'est pas connu ; attendu : {expected}.", "The usage \"{found}\" is not known; expected: {expected}."},
	UsageKind:         {"L'usage {found} ne convient pas à un objet de ce genre ({id}).", "The usage {found} does not suit a data object of this kind ({id})."},
	UsageDuplicate:    {"L'usage {found} est présent deux fois dans le groupe d'objets {expected}.", "The usage {found} is there twice in object group {expected}."},
	FileMissing:       {"Le fichier {found} de l'objet {id} n'est pas dans le paquet.", "The file {found} of data object {id} is not in the package."},
	FileUndeclared:    {"Le fichier {file} n'est déclaré par aucun objet du bordereau.", "The file {file} is declared by no data object of the manifest."},
	FileShared:        {"Le fichier {found} est déclaré par plusieurs objets, dont {id}.", "The file {found} is declared by several data objects, {id} among them."},
	URIMissing:        {"L'objet binaire {id} n'a ni Uri ni Attachment.", "The binary data object {id} has neither Uri nor Attachment."},
	URIUnsafe:         {"L'Uri « {found} » de l'objet {id} n'est pas un chemin relatif sûr.", "The Uri \"{found}\" of data object {id} is no safe relative path."},
	DigestMissing:     {"L'objet binaire {id} n'a pas d'empreinte.", "The binary data object {id} has no digest."},
	DigestAlgorithm:   {"L'algorithme d'empreinte « {found} » n'est pas connu ; attendu : {expected}.", "The digest algorithm \"{found}\" is not known; expected: {expected}."},
	DigestWeak:        {"L'empreinte de l'objet {id} est en {found}, qui n'est plus sûr ; elle est vérifiée, et recalculée en SHA-256.", "The digest of data object {id} is {found}, which is not secure any more; it is verified, and made again with SHA-256."},
	DigestMismatch:    {"L'empreinte de l'objet {id} est {found}, et non {expected} comme déclaré.", "The digest of data object {id} is {found}, not {expected} as declared."},
	SizeMissing:       {"La taille de l'objet {id} n'est pas déclarée.", "The size of data object {id} is not declared."},
	SizeMismatch:      {"L'objet {id} a {found} octets, et non {expected} comme déclaré.", "The data object {id} has {found} bytes, not {expected} as declared."},
	FormatMissing:     {"Le format de l'objet {id} n'est pas déclaré.", "The format of data object {id} is not declared."},
	FormatMismatch:    {"Le format de l'objet {id} est {found}, et non {expected} comme déclaré.", "The format of data object {id} is {found}, not {expected} as declared."},
	PhysicalIDEmpty:   {"L'objet physique {id} n'a pas d'identifiant (PhysicalId).", "The physical data object {id} has no PhysicalId."},
	TitleMissing:      {"L'unité d'archives {id} n'a pas de titre.", "The archive unit {id} has no title."},
	DateOrder:         {"La date de fin {found} est antérieure à la date de début {expected}.", "The end date {found} is before the start date {expected}."},
	DateRange:         {"La date {found} n'est pas vraisemblable ; attendu : {expected}.", "The date {found} is not plausible; expected: {expected}."},
	RuleUnknown:       {"La règle {found} n'est pas connue du service d'archives.", "The rule {found} is not known to the archive."},
	AgreementMissing:  {"Le bordereau ne nomme pas d'accord de versement (ArchivalAgreement).", "The manifest names no ArchivalAgreement."},
	AgreementUnknown:  {"L'accord de versement « {found} » n'est pas connu ; connus : {expected}.", "The archival agreement \"{found}\" is not known; known: {expected}."},
	AgencyUnknown:     {"Le service « {found} » n'est pas connu ; connus : {expected}.", "The agency \"{found}\" is not known; known: {expected}."},
	HoldDates:         {"La date de fin du gel {found} est antérieure à sa date de début {expected}.", "The end date {found} of the hold is before its start date {expected}."},
	HoldEnd:           {"La règle de gel {found} a une durée : HoldEndDate n'est pas permis.", "The hold rule {found} has a duration: HoldEndDate is not allowed."},
	CustodyInvalid:    {"La chaîne de conservation jointe ({file}) n'est pas valable : {found}.", "The chain of custody that is enclosed ({file}) does not hold: {found}."},
	AttachmentInvalid: {"Le rattachement de l'unité {id} n'est pas possible : {found}.", "The unit {id} cannot be attached: {found}."},
	PackageUnreadable: {"Le paquet ne peut pas être lu : {found}.", "The package cannot be read: {found}."},
	PackageManifest:   {"Le paquet doit avoir un bordereau, et un seul, à sa racine ; trouvé : {found}.", "The package must have one manifest, and only one, at its root; found: {found}."},
	PackageName:       {"Le nom {found} n'est pas permis dans un paquet : {expected}.", "The name {found} is not allowed in a package: {expected}."},
	PackageEntry:      {"L'entrée {file} du paquet n'est pas permise : {found}.", "The entry {file} of the package is not allowed: {found}."},
	PackageTooLarge:   {"Le paquet dépasse une limite : {found}, au plus {expected}.", "The package is beyond a limit: {found}, at most {expected}."},
	SchemaInvalid:     {"Le schéma fourni par l'exploitant refuse le document : {found}.", "The schema given by the operator refuses the document: {found}."},
}
