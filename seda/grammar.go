package seda

// grammar is the content model of SEDA 2.1, 2.2 and 2.3: which elements and
// attributes, in which order, how often, of which types. Names of types are those of
// the official schemas, since xsi:type can name them.
//
// A definition is a line, or several of which the others begin with a space:
//
//	Name = content                 a type of elements that hold elements
//	Name : Simple                  a type whose elements hold text of type Simple
//	Name < Base = content          an extension of Base: its content comes first
//	Name ! ...                     abstract: only a type derived from it can be used
//	%Name = content                a part of content, used as %Name
//
// Content is made of
//
//	Name:Type                      an element; Type^ when it can be nil, Type=value for what an empty one means
//	x y    x | y    (x)            sequence, choice, grouping
//	x?  x*  x+                     how often, else once
//	&(x y)                         in any order, each at most once
//	~Name                          a place for extensions, of which the schema says nothing but
//	                               an abstract element's name
//	#any                           elements of any other namespace
//	@name:Type  @name:Type!        an attribute; one that must be there
//	[2.2+] x   [2.1] x             x in SEDA 2.2 and later, in 2.1 alone
//	"value"                        of a simple type: one of the values it has
//	a|b  a|  a+                    simple types: a union, a union of one, not empty
const grammar = `
NonEmptyTokenType : token+
CodeType : NonEmptyTokenType @listID:token @listAgencyID:token @listAgencyName:string @listName:string
 @listVersionID:token @name:string @languageID:language @listURI:anyURI @listSchemeURI:anyURI
TextType : string @xml:lang:xmlLang
IdentifierType : [2.1] token [2.2+] NonEmptyTokenType @schemeID:token @schemeName:string @schemeAgencyID:token @schemeAgencyName:string
 @schemeVersionID:token @schemeDataURI:anyURI @schemeURI:anyURI
DateType : date|dateTime|gYear|gYearMonth|gMonth|gMonthDay|gDay
BinaryType : base64Binary|hexBinary
DataObjectIdType : ID
DataObjectRefIdType : IDREF
GroupIdType : ID|
GroupRefIdType : IDREF
ArchiveUnitIdType : ID
ArchiveUnitRefIdType : IDREF
SizeInBytesType : positiveInteger
DigestAlgorithmCodeType : NonEmptyTokenType
MimeTypeType : NonEmptyTokenType
EncodingType : NonEmptyTokenType
FileFormatType : NonEmptyTokenType
CompressionAlgorithmType : NonEmptyTokenType
VersionIdType : NonEmptyTokenType
ReplyCodeType : NonEmptyTokenType

OpenType ! = @xml:id:ID @xlink:href:anyURI #any
OrganizationDescriptiveMetadataType < OpenType =
SignatureMessageType < OpenType =
TextTechnicalMetadataType < OpenType =
DocumentTechnicalMetadataType < OpenType =
ImageTechnicalMetadataType < OpenType =
AudioTechnicalMetadataType < OpenType =
VideoTechnicalMetadataType < OpenType =
DescriptiveTechnicalMetadataType < OpenType =
OrganizationType = Identifier:IdentifierType OrganizationDescriptiveMetadata:OrganizationDescriptiveMetadataType?
OrganizationWithIdType < OrganizationType = @xml:id:ID
DataObjectRefType = @id:ID (DataObjectReferenceId:DataObjectRefIdType | DataObjectGroupReferenceId:GroupRefIdType)
MessageDigestBinaryObjectType : BinaryType @algorithm:DigestAlgorithmCodeType!
BinaryObjectType : base64Binary @filename:string @uri:anyURI
RelationshipType = @target:IDREF! @type:NonEmptyTokenType!

LevelType : token "Fonds" "Subfonds" "Class" "Collection" "Series" "Subseries" "RecordGrp" "SubGrp" "File" "Item" "OtherLevel"
CodeKeywordType : token "corpname" "famname" "geogname" "name" "occupation" "persname" "subject" "genreform" "function"
KeyType : CodeKeywordType @listVersionID:token
KeywordsType = @id:ID KeywordContent:TextType KeywordReference:IdentifierType? KeywordType:KeyType?
CustodialHistoryItemType < TextType : @when:DateType
CustodialHistoryType = CustodialHistoryItem:CustodialHistoryItemType+ CustodialHistoryFile:DataObjectRefType?
CoverageType = Spatial:TextType* Temporal:TextType* Juridictional:TextType*
DataObjectOrArchiveUnitReferenceType = ArchiveUnitRefId:ArchiveUnitRefIdType | DataObjectReference:DataObjectRefType | RepositoryArchiveUnitPID:NonEmptyTokenType |
 RepositoryObjectPID:NonEmptyTokenType | ExternalReference:NonEmptyTokenType
RelatedObjectReferenceType = IsVersionOf:DataObjectOrArchiveUnitReferenceType* Replaces:DataObjectOrArchiveUnitReferenceType* Requires:DataObjectOrArchiveUnitReferenceType*
 IsPartOf:DataObjectOrArchiveUnitReferenceType* References:DataObjectOrArchiveUnitReferenceType*
LinkingAgentIdentifierType = LinkingAgentIdentifierType:NonEmptyTokenType? LinkingAgentIdentifierValue:NonEmptyTokenType? LinkingAgentRole:NonEmptyTokenType?
EventType = EventIdentifier:NonEmptyTokenType? EventTypeCode:NonEmptyTokenType? EventType:NonEmptyTokenType? EventDateTime:DateType EventDetail:TextType?
 Outcome:NonEmptyTokenType? OutcomeDetail:NonEmptyTokenType? OutcomeDetailMessage:NonEmptyTokenType? EventDetailData:NonEmptyTokenType?
 [2.2+] LinkingAgentIdentifier:LinkingAgentIdentifierType* ~EventAbstract
%Location = &(Geogname:string Address:string PostalCode:string City:string Region:string Country:string)
BirthOrDeathPlaceType = %Location
%PersonOrEntity = (FirstName:string? BirthName:string? FullName:string? GivenName:string? Gender:NonEmptyTokenType? BirthDate:date? BirthPlace:BirthOrDeathPlaceType?
 DeathDate:date? DeathPlace:BirthOrDeathPlaceType? Nationality:NonEmptyTokenType* | Corpname:string) Identifier:NonEmptyTokenType*
%Business = Function:TextType* Activity:TextType* Position:TextType* Role:TextType* Mandate:TextType*
AgentType = %PersonOrEntity %Business
SignerType = %PersonOrEntity SigningTime:dateTime %Business
ValidatorType = %PersonOrEntity ValidationTime:dateTime %Business
[2.1..2.2] ReferencedObjectType = SignedObjectId:DataObjectRefIdType SignedObjectDigest:MessageDigestBinaryObjectType
[2.1..2.2] SignatureType = Signer:SignerType+ Validator:ValidatorType Masterdata:CodeType? ReferencedObject:ReferencedObjectType
SigningRoleType : token "SignedDocument" "Timestamp" "Signature" "AdditionalProof"
DetachedSigningRoleType : token "Timestamp" "Signature" "AdditionalProof"
SignatureDescriptionType = Signer:SignerType? Validator:ValidatorType? SigningType:NonEmptyTokenType?
TimestampingInformationType = TimeStamp:dateTime? AdditionalTimestampingInformation:NonEmptyTokenType?
AdditionalProofType = AdditionalProofInformation:NonEmptyTokenType*
SigningInformationType = SigningRole:SigningRoleType+ DetachedSigningRole:DetachedSigningRoleType* SignedDocumentReferenceId:IDREF*
 SignatureDescription:SignatureDescriptionType* TimestampingInformation:TimestampingInformationType* AdditionalProof:AdditionalProofType* Extended:OpenType?
PersistentIdType = PersistentIdentifierType:NonEmptyTokenType PersistentIdentifierOrigin:NonEmptyTokenType? PersistentIdentifierReference:NonEmptyTokenType?
 PersistentIdentifierContent:NonEmptyTokenType
GpsType = GpsVersionID:string? GpsAltitude:integer? GpsAltitudeRef:string? GpsLatitude:string? GpsLatitudeRef:string? GpsLongitude:string? GpsLongitudeRef:string? GpsDateStamp:string?

DescriptiveMetadataContentType = DescriptionLevel:LevelType? Title:TextType*
 FilePlanPosition:NonEmptyTokenType* SystemId:NonEmptyTokenType* OriginatingSystemId:NonEmptyTokenType* ArchivalAgencyArchiveUnitIdentifier:NonEmptyTokenType*
 OriginatingAgencyArchiveUnitIdentifier:NonEmptyTokenType* TransferringAgencyArchiveUnitIdentifier:NonEmptyTokenType*
 Description:TextType* CustodialHistory:CustodialHistoryType? Type:TextType? DocumentType:TextType? Language:language* DescriptionLanguage:language?
 Status:NonEmptyTokenType? Version:string? Tag:NonEmptyTokenType* Keyword:KeywordsType* Coverage:CoverageType?
 OriginatingAgency:OrganizationType? SubmissionAgency:OrganizationType? [2.1] ~AgentAbstract [2.2+] Agent:AgentType* AuthorizedAgent:AgentType* Writer:AgentType*
 Addressee:AgentType* Recipient:AgentType* Transmitter:AgentType* Sender:AgentType* Source:string? RelatedObjectReference:RelatedObjectReferenceType?
 CreatedDate:DateType? TransactedDate:DateType? AcquiredDate:DateType? SentDate:DateType? ReceivedDate:DateType? RegisteredDate:DateType?
 StartDate:DateType? EndDate:DateType? [2.2+] DateLitteral:NonEmptyTokenType? Event:EventType*
 [2.1..2.2] Signature:SignatureType* [2.3+] SigningInformation:SigningInformationType? Gps:GpsType?
 [2.2+] OriginatingSystemIdReplyTo:NonEmptyTokenType? [2.2+] TextContent:NonEmptyTokenType* [2.3+] PersistentIdentifier:PersistentIdType* ~ObjectGroupExtenstionAbstract

ArchiveUnitIdentifierKeyType = MetadataName:NonEmptyTokenType MetadataValue:NonEmptyTokenType
UpdateOperationType = SystemId:NonEmptyTokenType | ArchiveUnitIdentifierKey:ArchiveUnitIdentifierKeyType

RuleIdType : NonEmptyTokenType @id:ID
%Rules = (Rule:RuleIdType StartDate:date^?)*
%Inheritance = (PreventInheritance:boolean=false? | RefNonRuleId:RuleIdType+)?
AccessRuleType = %Rules %Inheritance
DisseminationRuleType = %Rules %Inheritance
ReuseRuleType = %Rules %Inheritance
ClassificationRuleType = %Rules ClassificationAudience:NonEmptyTokenType? %Inheritance ClassificationLevel:NonEmptyTokenType ClassificationOwner:NonEmptyTokenType
 ClassificationReassessingDate:date? NeedReassessingAuthorization:boolean?
FinalActionStorageCodeType : NonEmptyTokenType "RestrictAccess" "Transfer" "Copy"
StorageRuleType = %Rules %Inheritance FinalAction:FinalActionStorageCodeType
FinalActionAppraisalCodeType : NonEmptyTokenType "Keep" "Destroy"
AppraisalRuleType = %Rules %Inheritance FinalAction:FinalActionAppraisalCodeType
[2.2+] HoldRuleType = (Rule:RuleIdType StartDate:date^? HoldEndDate:date^? HoldOwner:NonEmptyTokenType? HoldReassessingDate:date^? HoldReason:NonEmptyTokenType?
 PreventRearrangement:boolean?)* %Inheritance
LogBookType = Event:EventType+
%Management = StorageRule:StorageRuleType? AppraisalRule:AppraisalRuleType? AccessRule:AccessRuleType? DisseminationRule:DisseminationRuleType? ReuseRule:ReuseRuleType?
 ClassificationRule:ClassificationRuleType? LogBook:LogBookType? NeedAuthorization:boolean? [2.2+] HoldRule:HoldRuleType? ~OtherManagementAbstract
ManagementType = %Management
LegalStatusType : token "Public Archive" "Private Archive" "Public and Private Archive"
ManagementMetadataType = @xml:id:ID ArchivalProfile:IdentifierType? ServiceLevel:IdentifierType? AcquisitionInformation:NonEmptyTokenType? LegalStatus:LegalStatusType?
 OriginatingAgencyIdentifier:IdentifierType? SubmissionAgencyIdentifier:IdentifierType? %Management

ArchiveUnitType = @id:ArchiveUnitIdType! (ArchiveUnitRefId:ArchiveUnitRefIdType | ArchiveUnitProfile:IdentifierType? Management:ManagementType? Content:DescriptiveMetadataContentType
 (ArchiveUnit:ArchiveUnitType | ~ArchiveUnitReferenceAbstract | DataObjectReference:DataObjectRefType)*)
DescriptiveMetadataType = ArchiveUnit:ArchiveUnitType*

MinimalDataObjectType ! = @id:DataObjectIdType! [2.2+] DataObjectProfile:IdentifierType? DataObjectSystemId:NonEmptyTokenType? DataObjectGroupSystemId:NonEmptyTokenType?
 Relationship:RelationshipType* (DataObjectGroupReferenceId:GroupRefIdType | DataObjectGroupId:GroupIdType)? DataObjectVersion:VersionIdType?
 [2.3+] PersistentIdentifier:PersistentIdType* [2.3+] DataObjectUse:NonEmptyTokenType? [2.3+] DataObjectNumber:int?
CompressedType : string @algorithm:CompressionAlgorithmType! @uncompressedSize:SizeInBytesType!
FormatIdentificationType = FormatLitteral:string? MimeType:MimeTypeType? FormatId:FileFormatType? Encoding:EncodingType?
FileInfoType = Filename:string CreatingApplicationName:string? CreatingApplicationVersion:string? DateCreatedByApplication:dateTime? CreatingOs:string?
 CreatingOsVersion:string? LastModified:dateTime?
CoreMetadataType = Text:TextTechnicalMetadataType | Document:DocumentTechnicalMetadataType | Image:ImageTechnicalMetadataType | Audio:AudioTechnicalMetadataType |
 Video:VideoTechnicalMetadataType | ~OtherCoreTechnicalMetadataAbstract
BinaryDataObjectType < MinimalDataObjectType = ((Attachment:BinaryObjectType | Uri:anyURI)? MessageDigest:MessageDigestBinaryObjectType)? Size:SizeInBytesType?
 Compressed:CompressedType? FormatIdentification:FormatIdentificationType? FileInfo:FileInfoType? Metadata:CoreMetadataType? OtherMetadata:DescriptiveTechnicalMetadataType?
MeasurementUnitsType : string "micrometre" "4H" "millimetre" "MMT" "centimetre" "CMT" "metre" "inch" "INH" "foot" "FOT"
MeasurementWeightUnitsType : string "microgram" "MC" "milligram" "MGM" "gram" "GRM" "kilogram" "KGM"
MeasurementType : decimal @unit:MeasurementUnitsType!
MeasurementWeightType : decimal @unit:MeasurementWeightUnitsType!
BaseDimensionsType ! =
DimensionsType < BaseDimensionsType = Width:MeasurementType? Height:MeasurementType? Depth:MeasurementType? Shape:string? Diameter:MeasurementType? Length:MeasurementType?
 Thickness:MeasurementType? Weight:MeasurementWeightType? NumberOfPage:int?
PhysicalDataObjectType < MinimalDataObjectType = PhysicalId:IdentifierType? PhysicalDimensions:DimensionsType? ~OtherDimensionsAbstract
EventLogBookOgType < EventType = DataObjectReferenceId:DataObjectRefIdType?
LogBookOgType = Event:EventLogBookOgType*
DataObjectGroupType = @id:GroupIdType! (BinaryDataObject:BinaryDataObjectType | PhysicalDataObject:PhysicalDataObjectType)* LogBook:LogBookOgType?
DataObjectPackageType = @xml:id:ID (DataObjectGroup:DataObjectGroupType | BinaryDataObject:BinaryDataObjectType | PhysicalDataObject:PhysicalDataObjectType)*
 DescriptiveMetadata:DescriptiveMetadataType ManagementMetadata:ManagementMetadataType

CodeListVersionsType = @xml:id:ID ReplyCodeListVersion:CodeType? MessageDigestAlgorithmCodeListVersion:CodeType? MimeTypeCodeListVersion:CodeType?
 EncodingCodeListVersion:CodeType? FileFormatCodeListVersion:CodeType? CompressionAlgorithmCodeListVersion:CodeType? DataObjectVersionCodeListVersion:CodeType?
 StorageRuleCodeListVersion:CodeType? AppraisalRuleCodeListVersion:CodeType? AccessRuleCodeListVersion:CodeType? DisseminationRuleCodeListVersion:CodeType?
 ReuseRuleCodeListVersion:CodeType? ClassificationRuleCodeListVersion:CodeType? [2.2+] HoldRuleCodeListVersion:CodeType? AcquisitionInformationCodeListVersion:CodeType?
 AuthorizationReasonCodeListVersion:CodeType? RelationshipCodeListVersion:CodeType? ~OtherCodeListAbstract
OperationType = Event:EventType*
MessageType ! = @xml:id:ID Comment:TextType* Date:dateTime MessageIdentifier:IdentifierType Signature:SignatureMessageType?
BusinessMessageType ! < MessageType = ArchivalAgreement:IdentifierType? CodeListVersions:CodeListVersionsType DataObjectPackage:DataObjectPackageType?
BusinessRequestMessageType ! < BusinessMessageType =
BusinessReplyMessageType ! < BusinessMessageType = ReplyCode:NonEmptyTokenType? Operation:OperationType? MessageRequestIdentifier:IdentifierType
BusinessNotificationMessageType ! < BusinessMessageType =
BusinessAuthorizationRequestReplyMessageType ! < BusinessReplyMessageType =
AuthorizationRequestContentType = @xml:id:ID AuthorizationReason:token Comment:TextType* RequestDate:date UnitIdentifier:IdentifierType+ Requester:OrganizationType
 AuthorizationRequestReply:BusinessAuthorizationRequestReplyMessageType*
BusinessAuthorizationRequestMessageType ! < BusinessRequestMessageType = AuthorizationRequestContent:AuthorizationRequestContentType
%Transfer = ArchivalAgency:OrganizationWithIdType TransferringAgency:OrganizationWithIdType
%Delivery = ArchivalAgency:OrganizationWithIdType Requester:OrganizationWithIdType
%Origin = ArchivalAgency:OrganizationWithIdType OriginatingAgency:OrganizationWithIdType
%Control = ArchivalAgency:OrganizationWithIdType ControlAuthority:OrganizationWithIdType
AcknowledgementType < MessageType = MessageReceivedIdentifier:IdentifierType Sender:OrganizationWithIdType Receiver:OrganizationWithIdType
ArchiveDeliveryRequestType < BusinessRequestMessageType = Derogation:boolean UnitIdentifier:IdentifierType+ %Delivery
ArchiveDeliveryRequestReplyType < BusinessReplyMessageType = AuthorizationRequestReplyIdentifier:IdentifierType? UnitIdentifier:IdentifierType+ %Delivery
ArchiveRestitutionRequestType < BusinessRequestMessageType = UnitIdentifier:IdentifierType+ %Origin
ArchiveRestitutionRequestReplyType < BusinessReplyMessageType = UnitIdentifier:IdentifierType+ %Origin
ArchiveTransferType < BusinessRequestMessageType = RelatedTransferReference:IdentifierType* TransferRequestReplyIdentifier:IdentifierType? %Transfer
ArchiveTransferReplyType < BusinessReplyMessageType = GrantDate:dateTime? %Transfer
ArchiveTransferRequestType < BusinessRequestMessageType = RelatedTransferReference:IdentifierType* TransferDate:dateTime? %Transfer
ArchiveTransferRequestReplyType < BusinessReplyMessageType = TransferDate:dateTime? %Transfer
ArchiveModificationNotificationType < BusinessNotificationMessageType = UnitIdentifier:IdentifierType+ %Origin
ArchiveDestructionNotificationType < BusinessNotificationMessageType = AuthorizationRequestReplyIdentifier:IdentifierType UnitIdentifier:IdentifierType+ %Origin
AuthorizationControlAuthorityRequestType < BusinessAuthorizationRequestMessageType = %Control
AuthorizationControlAuthorityRequestReplyType < BusinessAuthorizationRequestReplyMessageType = %Control
AuthorizationOriginatingAgencyRequestType < BusinessAuthorizationRequestMessageType = %Origin
AuthorizationOriginatingAgencyRequestReplyType < BusinessAuthorizationRequestReplyMessageType = %Origin
`

// dialect adds to the grammar what is met in practice and no schema has: by type and
// element, the type. It is accepted in tolerant mode, with a warning.
//
// UpdateOperation says that the unit is not new: it is the one in the archive with
// this system identifier, or the only one with this value of a metadata field.
var dialect = map[string]string{"ManagementType/UpdateOperation": "UpdateOperationType"}

// messages are the elements a document can begin with; each has the type of its name
// with "Type" behind it.
var messages = [...]string{
	"Acknowledgement", "ArchiveDeliveryRequest", "ArchiveDeliveryRequestReply", "ArchiveDestructionNotification", "ArchiveModificationNotification",
	"ArchiveRestitutionRequest", "ArchiveRestitutionRequestReply", "ArchiveTransfer", "ArchiveTransferReply", "ArchiveTransferRequest", "ArchiveTransferRequestReply",
	"AuthorizationControlAuthorityRequest", "AuthorizationControlAuthorityRequestReply", "AuthorizationOriginatingAgencyRequest", "AuthorizationOriginatingAgencyRequestReply",
}
