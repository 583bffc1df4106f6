package tsp

import (
	"encoding/asn1"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// FailInfo is a PKIFailureInfo: the number of its bit (RFC 3161 section 2.4.2).
type FailInfo int

// The reasons for which an authority may refuse.
const (
	BadAlgorithm        FailInfo = 0
	BadRequest          FailInfo = 2
	BadDataFormat       FailInfo = 5
	TimeNotAvailable    FailInfo = 14
	UnacceptedPolicy    FailInfo = 15
	UnacceptedExtension FailInfo = 16
	AddInfoNotAvailable FailInfo = 17
	SystemFailure       FailInfo = 25
	NoFailInfo          FailInfo = -1
)

var failTexts = map[FailInfo]string{
	BadAlgorithm:        "badAlg",
	BadRequest:          "badRequest",
	BadDataFormat:       "badDataFormat",
	TimeNotAvailable:    "timeNotAvailable",
	UnacceptedPolicy:    "unacceptedPolicy",
	UnacceptedExtension: "unacceptedExtension",
	AddInfoNotAvailable: "addInfoNotAvailable",
	SystemFailure:       "systemFailure",
	NoFailInfo:          "no reason given",
}

func (f FailInfo) String() string {
	if text, ok := failTexts[f]; ok {
		return text
	}
	return fmt.Sprintf("failure %d", int(f))
}

// The states of a response (PKIStatus, RFC 3161 section 2.4.2).
const (
	statusGranted         = 0
	statusGrantedWithMods = 1
	statusRejection       = 2
)

var statusTexts = [...]string{"granted", "grantedWithMods", "rejection", "waiting", "revocationWarning", "revocationNotification"}

// RefusedError is an authority's refusal to stamp.
type RefusedError struct {
	Status int      // PKIStatus
	Fail   FailInfo // NoFailInfo when the authority gives none
	Text   string   // what the authority says, cut and without control characters
}

func (e *RefusedError) Error() string {
	status := fmt.Sprintf("status %d", e.Status)
	if e.Status >= 0 && e.Status < len(statusTexts) {
		status = statusTexts[e.Status]
	}
	if e.Text == "" {
		return fmt.Sprintf("authority refused: %s, %v", status, e.Fail)
	}
	return fmt.Sprintf("authority refused: %s, %v: %q", status, e.Fail, e.Text)
}

// ParseResponse reads a TimeStampResp (RFC 3161 section 2.4.2), and gives its
// token if one was granted. The error is a *ParseError or a *RefusedError.
func ParseResponse(der []byte) (*Token, error) {
	if len(der) > MaxToken+1<<12 {
		return nil, unacceptable("TimeStampResp", "too large")
	}
	if err := checkDER(der); err != nil {
		return nil, unacceptable("TimeStampResp", err.Error())
	}
	s := cryptobyte.String(der)
	var body, info cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !s.Empty() || !body.ReadASN1(&info, cbasn1.SEQUENCE) {
		return nil, malformed("TimeStampResp")
	}
	refused, ok := readStatus(info)
	if !ok {
		return nil, malformed("PKIStatusInfo")
	}
	if refused.Status == statusGranted || refused.Status == statusGrantedWithMods {
		if body.Empty() {
			return nil, unacceptable("TimeStampResp", "granted without a token")
		}
		return Parse(body)
	}
	if !body.Empty() {
		return nil, unacceptable("TimeStampResp", "refused with a token")
	}
	return nil, refused
}

// readStatus reads a PKIStatusInfo.
func readStatus(s cryptobyte.String) (e *RefusedError, ok bool) {
	e = &RefusedError{Fail: NoFailInfo}
	if !s.ReadASN1Integer(&e.Status) {
		return nil, false
	}
	var texts cryptobyte.String
	var has bool
	if !s.ReadOptionalASN1(&texts, &has, cbasn1.SEQUENCE) {
		return nil, false
	}
	for !texts.Empty() {
		var text cryptobyte.String
		if !texts.ReadASN1(&text, cbasn1.UTF8String) {
			return nil, false
		}
		e.Text = strings.TrimSpace(e.Text + " " + printable(text))
	}
	e.Text = e.Text[:min(len(e.Text), maxStatusText)]
	if s.Empty() {
		return e, true
	}
	var bits asn1.BitString
	if !s.ReadASN1BitString(&bits) || !s.Empty() {
		return nil, false
	}
	for i := bits.BitLength - 1; i >= 0; i-- {
		if bits.At(i) == 1 {
			e.Fail = FailInfo(i)
		}
	}
	return e, true
}

const maxStatusText = 200

func printable(text []byte) string {
	text = text[:min(len(text), maxStatusText)]
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return -1
	}, string(text))
}

// marshalGranted wraps a token.
func marshalGranted(token []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1Int64(statusGranted) })
		b.AddBytes(token)
	})
	return b.Bytes()
}

// marshal writes a refusal.
func (e *RefusedError) marshal() []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(int64(e.Status))
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(e.Text)) })
			})
			b.AddASN1(cbasn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes(failBits(e.Fail)) })
		})
	})
	return b.BytesOrPanic()
}

// failBits is the content of a BIT STRING with the one bit set, and no bits
// behind it (X.690 section 11.2.2).
func failBits(f FailInfo) []byte {
	out := make([]byte, 2+f/8)
	out[0] = byte(7 - f%8)
	out[1+f/8] = 0x80 >> (f % 8)
	return out
}
