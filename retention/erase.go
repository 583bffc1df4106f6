package retention

// What the GDPR (Regulation (EU) 2016/679) says of erasing a unit for the person whom it concerns:
// art. 17(3)(b) keeps it while a law, or a public task, does; (d) when it is archived in the public
// interest, of which archives are for definitive ones alone, under the safeguards of art. 89; (e) when
// it is needed for legal claims.

// ErasureVerdict is what becomes of a unit of which the person asks that it be erased.
type ErasureVerdict string

// The verdicts.
const (
	EraseNow  ErasureVerdict = "ERASE_NOW"
	EraseAt   ErasureVerdict = "ERASE_AT" // kept by law until a day, and to be destroyed then
	DontErase ErasureVerdict = "REFUSE"
)

// ErasureReason is a code of why a unit is not erased now.
type ErasureReason string

// The reasons that follow from rules.
const (
	ErasureHeld       ErasureReason = "HOLD"         // a hold is in force
	ErasureRuns       ErasureReason = "RETENTION"    // its retention runs until a known day
	ErasureOpenEnded  ErasureReason = "NO_KNOWN_END" // it runs, and nobody knows until when
	ErasureDefinitive ErasureReason = "DEFINITIVE"   // it is over, and the unit is kept for ever
	ErasureUnsorted   ErasureReason = "TO_BE_SORTED" // it is over, and what is kept for ever is not chosen yet (Code du patrimoine art. L212-3)
	ErasureUnclear    ErasureReason = "UNCLEAR"      // its rules contradict each other
)

// Erasure is what becomes of a unit by its rules.
type Erasure struct {
	Verdict ErasureVerdict
	Ground  string // such as "17(3)(b)"; "" of EraseNow
	Why     ErasureReason
	Date    string // first day on which every retention is over, when it is known
}

// Erasable says whether what applies to a unit lets it be erased on a day, YYYY-MM-DD. What no rule
// keeps can be.
func Erasable(in *Inheritance, at string) Erasure {
	rules := in.Categories[Appraisal].Rules
	due := dueOf(rules)
	switch {
	case HeldOn(in, at):
		return Erasure{DontErase, "17(3)(e)", ErasureHeld, ""}
	case len(rules) == 0:
		return Erasure{Verdict: EraseNow}
	case due == "":
		return Erasure{DontErase, "17(3)(b)", ErasureOpenEnded, ""}
	}
	runs := due > at
	verdict := Appraise(in, max(due, at)).Verdict // when it is over
	switch {
	case runs && verdict == Eliminable:
		return Erasure{EraseAt, "17(3)(b)", ErasureRuns, due}
	case runs:
		return Erasure{DontErase, "17(3)(b)", ErasureRuns, due}
	case verdict == Eliminable:
		return Erasure{Verdict: EraseNow}
	case verdict == ToKeep:
		return Erasure{DontErase, "17(3)(d)", ErasureDefinitive, ""}
	case verdict == ToSort:
		return Erasure{DontErase, "17(3)(b)", ErasureUnsorted, ""}
	}
	return Erasure{DontErase, "17(3)(b)", ErasureUnclear, ""}
}
