package codes

// Codes that rules decide by. A constant begins with the name of its list; a test holds that each
// is in it. All other codes are data: they pass through the program and are shown by Label.

// Genders (HTCDS).
const (
	GenderFeminine            = "Feminine"
	GenderMasculine           = "Masculine"
	GenderNonSpecifiedUnknown = "NonSpecifiedUnknown"
)

// ServiceShelter is a place to stay: the service a placement asks for.
const ServiceShelter = "SHELTER"

// Reasons to decline that a service writes by itself, or that ask for more.
const (
	DeclineNoCapacity = "NO_CAPACITY"
	DeclineHoldEnded  = "HOLD_ENDED" // the bed was not held long enough; written with an acceptance withdrawn
	DeclineOther      = "OTHER"      // needs a note
)

// Reasons to take an offer back that a service writes by itself.
const (
	WithdrawalOtherChosen     = "OTHER_CHOSEN"
	WithdrawalNotNeeded       = "NOT_NEEDED"
	WithdrawalReleased        = "RELEASED" // granted to a unit that asked to be let go
	WithdrawalTogether        = "TOGETHER"
	WithdrawalPersonElsewhere = "PERSON_ELSEWHERE"
	WithdrawalConsentEnded    = "CONSENT_ENDED"
	WithdrawalRecordLost      = "RECORD_LOST" // a restored owner's chain does not hold the offer
	WithdrawalOther           = "OTHER"       // needs a note
)

// Reasons that need a note, or follow from something else.
const (
	CancellationConsentEnded = "CONSENT_ENDED"
	CancellationOther        = "OTHER"
	QuestionOther            = "OTHER"
	ReleaseRefusalOther      = "OTHER"
	ReturnOther              = "OTHER"
	SafetyOther              = "OTHER"
	SafetyFoundSafe          = "FOUND_SAFE"
)

// Who consented, by age.
const (
	ConsentBasisCaregiver     = "CAREGIVER_CONSENT"            // 0 to 5 years
	ConsentBasisOralAssent    = "ORAL_ASSENT_AND_CAREGIVER"    // 6 to 11
	ConsentBasisWrittenAssent = "WRITTEN_ASSENT_AND_CAREGIVER" // 12 to 14
	ConsentBasisOlderChild    = "OWN_CONSENT_OLDER_CHILD"      // 15 to 17
	ConsentBasisAdult         = "OWN_CONSENT_ADULT"            // from 18
	ConsentBasisTrustedAdult  = "TRUSTED_ADULT"                // any age below 18, with a reason
)

// What a dossier may hold.
const (
	ConsentScopeIdentity  = "IDENTITY"   // names, identity numbers
	ConsentScopeBirth     = "BIRTH"      // birth, age, sex, languages
	ConsentScopeHomePlace = "HOME_PLACE" // contact, where the family lives
	ConsentScopeHealth    = "HEALTH"
	ConsentScopeNarrative = "NARRATIVE"
)

// Why reading of a dossier ends.
const (
	DossierClosingOfferEnded   = "OFFER_ENDED" // the person did not come
	DossierClosingMovedOn      = "MOVED_ON"
	DossierClosingConsentEnded = "CONSENT_ENDED"
	DossierClosingCompleted    = "COMPLETED" // the service was given
)

// Roles that policies name.
const (
	RoleCaseWorker     = "case-worker"
	RoleSupervisor     = "supervisor"
	RoleShelterManager = "shelter-manager"
	RoleFocalPoint     = "focal-point"
	RoleFederalAnalyst = "federal-analyst"
	RoleOperator       = "operator"
)

// DocumentCourtOrder travels with the person where the law demands a court's order.
const DocumentCourtOrder = "COURT_ORDER"

// SpecialNeedWheelchair is met by a shelter that is free of steps.
const SpecialNeedWheelchair = "WHEELCHAIR"
