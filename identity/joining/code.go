package joining

import (
	"crypto/rand"
	"fmt"
	"strings"
	"unicode"
)

// Code is what a person reads off one screen and types at another: nine
// characters of secret (45 bits) and one that finds typing errors, in
// Crockford's base 32, without hyphens.
type Code string

const (
	codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's: no I, L, O, U
	codeSecret   = 9
	codeLength   = codeSecret + 1
	codeExample  = "4F7K-9QXM-2C"
)

// codeGroups are the lengths of the groups that a code is shown in.
func codeGroups() []int { return []int{4, 4, 2} }

// NewCode makes a code.
func NewCode() Code {
	random := make([]byte, codeSecret)
	rand.Read(random)
	code := make([]byte, codeSecret, codeLength)
	for i, b := range random {
		code[i] = codeAlphabet[b&31]
	}
	return Code(append(code, codeAlphabet[checkDigit(code)]))
}

// ParseCode reads a code as a person types it: in any case, with hyphens and
// spaces anywhere, O for 0, I and L for 1. It finds every single wrong
// character and every swap of two; the error then says so, before anything was
// sent.
func ParseCode(s string) (Code, error) {
	var groups []string
	var code []byte
	for group := range strings.FieldsFuncSeq(s, separates) {
		groups = append(groups, group)
		for _, r := range group {
			c, ok := crockford(r)
			if !ok {
				return "", fmt.Errorf("code: %q in the %s cannot be: a code has digits and letters, none of them U (it looks like %s)",
					r, place(len(groups)), codeExample)
			}
			code = append(code, c)
			if len(code) > codeLength {
				return "", fmt.Errorf("code: it has more than %d characters (it looks like %s)", codeLength, codeExample)
			}
		}
	}
	if len(code) < codeLength {
		return "", tooShort(groups, len(code))
	}
	if codeAlphabet[checkDigit(code[:codeSecret])] != code[codeSecret] {
		return "", fmt.Errorf("code: %s has a typing error: compare each character", Code(code))
	}
	return Code(code), nil
}

// String is the code as it is shown: "4F7K-9QXM-2C".
func (c Code) String() string {
	var shown []string
	rest := string(c)
	for _, n := range codeGroups() {
		if len(rest) < n {
			return string(c) // no code
		}
		shown = append(shown, rest[:n])
		rest = rest[n:]
	}
	return strings.Join(shown, "-") + rest
}

// tooShort names the group that is too short, where the groups tell.
func tooShort(groups []string, have int) error {
	if lengths := codeGroups(); len(groups) == len(lengths) {
		for i, want := range lengths {
			if got := len(groups[i]); got < want {
				return fmt.Errorf("code: the %s, %s, has %d of %d characters (a code looks like %s)",
					place(i+1), strings.ToUpper(groups[i]), got, want, codeExample)
			}
		}
	}
	return fmt.Errorf("code: it has %d of %d characters (it looks like %s)", have, codeLength, codeExample)
}

func place(group int) string {
	switch group {
	case 1:
		return "first group"
	case 2:
		return "second group"
	default:
		return "last group"
	}
}

func separates(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Dash, r) || r == '_' || r == '.'
}

// crockford is the character that was meant.
func crockford(r rune) (c byte, ok bool) {
	switch r = unicode.ToUpper(r); r {
	case 'O':
		return '0', true
	case 'I', 'L':
		return '1', true
	}
	if r < 128 && strings.IndexByte(codeAlphabet, byte(r)) >= 0 {
		return byte(r), true
	}
	return 0, false
}

// checkDigit is the value of the last character: the sum of the others, each
// times a power of its place, in the field of 32 elements. Since the powers are
// different and none is zero, no change of one character and no swap of two
// keeps the sum. The last character's own factor is one, which is the power
// that no other place has.
func checkDigit(code []byte) byte {
	var sum byte
	for _, c := range code {
		sum = double(sum ^ byte(strings.IndexByte(codeAlphabet, c)))
	}
	return sum
}

// double multiplies by x modulo x^5 + x^2 + 1, whose powers of x are all 31
// elements but zero.
func double(v byte) byte {
	v <<= 1
	if v&32 != 0 {
		v ^= 0b100101
	}
	return v
}
