package joining

// Code is what a person reads off one screen and types at another: nine
// characters of secret (45 bits) and one that finds typing errors, in
// Crockford's base 32, without hyphens.
type Code string

// NewCode makes a code.
func NewCode() Code { return "" }

// ParseCode reads a code as a person types it: in any case, with hyphens and
// spaces anywhere, O for 0, I and L for 1. It finds every single wrong
// character and every swap of two neighbours; the error then says so, before
// anything was sent.
func ParseCode(s string) (Code, error) { return "", nil }

// String is the code as it is shown: "4F7K-9QXM-2C".
func (c Code) String() string { return "" }
