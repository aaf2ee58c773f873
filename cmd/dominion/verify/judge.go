package verify

import (
	"fmt"

	"dominion/topics"
)

// Result is what came of a check.
type Result string

// The results.
const (
	Right  Result = "right"
	Wrong  Result = "wrong"
	Unseen Result = "unseen" // it did not come to that
)

// Finding is a check and what came of it.
type Finding struct {
	Check     string `json:"check"`
	Paragraph string `json:"paragraph"` // of docs/protocol.md
	Result    Result `json:"result"`
	Wanted    string `json:"wanted"`
	Seen      string `json:"seen,omitempty"`
}

// Check is something that the protocol demands of a node.
type Check struct {
	Name      string
	Paragraph string
	Wanted    string

	step   Step // in which it is seen; empty: in all
	domain bool // it is demanded of domains alone
	wire   bool // it is seen only where every packet is
	guest  bool // it is seen only where not
	judge  func(Seen, []Event) (Result, string)
}

// Checks are all, in the order in which they are told.
func Checks() (all []Check) {
	for _, some := range [][]Check{sayingChecks(), birthChecks(), commandChecks(), lifeChecks(), documentChecks()} {
		all = append(all, some...)
	}
	return all
}

// Judge makes findings of what was seen: one for each check that is demanded
// of such a node.
func Judge(s Seen) (all []Finding) {
	domain := s.Domain()
	for _, c := range Checks() {
		if c.domain && !domain || c.wire && !s.Wire || c.guest && s.Wire {
			continue
		}
		f := Finding{Check: c.Name, Paragraph: c.Paragraph, Wanted: c.Wanted, Result: Unseen}
		seen, taken := s.Events, true
		if c.step != "" {
			seen, taken = s.during(c.step)
		}
		if taken {
			f.Result, f.Seen = c.judge(s, seen)
		}
		all = append(all, f)
	}
	return all
}

// verdict is right, or wrong with what was seen.
func verdict(right bool, format string, args ...any) (Result, string) {
	if right {
		return Right, ""
	}
	return Wrong, fmt.Sprintf(format, args...)
}

// brief is a payload as far as a line has room for it.
func brief(payload []byte) string {
	if len(payload) == 0 {
		return "an empty payload"
	}
	if len(payload) > 60 {
		return fmt.Sprintf("%.57q…", payload)
	}
	return fmt.Sprintf("%q", payload)
}

// below is a topic without the node's own beginning.
func (s Seen) below(topic string) string {
	if own := s.own(); len(topic) > len(own) && topic[:len(own)] == own {
		return topic[len(own):]
	}
	return topic
}

// address takes a topic of the node apart.
func (s Seen) address(m topics.Message) (topics.Address, bool) {
	at, err := s.Space.Parse(m.Topic)
	return at, err == nil && at.Node == s.Node
}
