package coordinator

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"dominion/topics"
)

// Timing is when silence and absence mean something.
type Timing struct {
	LostAfter    time.Duration // a lost domain's services move after this
	KeptAfter    time.Duration // those of a domain stopped with its services kept
	JoinSettle   time.Duration // a joining domain gets nothing new before
	SettleAtMost time.Duration // a leader waits so long for those that are online to speak
	Suspect      time.Duration
	Lost         time.Duration
	BootGrace    time.Duration
}

// DefaultTiming is what a house has that says nothing else.
func DefaultTiming() Timing {
	return Timing{
		LostAfter: time.Minute, KeptAfter: 10 * time.Minute, JoinSettle: 2 * time.Second, SettleAtMost: 30 * time.Second,
		Suspect: 12 * time.Second, Lost: 20 * time.Second, BootGrace: 5 * time.Minute,
	}
}

// View is all that Plan decides from: plain values, taken at one moment.
type View struct {
	Now       time.Time    // on the planner's monotonic clock
	Stamp     topics.Stamp // the same moment, for people
	Timing    Timing
	Catalogue *Catalogue // nil: no configuration file was given
	Domains   []Domain   // by name
	Words     map[topics.Service]topics.ServiceWord
	Removed   map[topics.Service]bool           // by an operator, after they had left the catalogue
	Before    map[topics.Service]topics.Summary // as published last, for what stays the same
}

// Domain is one domain or microdomain of a View.
type Domain struct {
	Name     topics.Node
	State    topics.JudgementState
	Since    time.Time // when the judgement began, on the planner's clock
	First    time.Time // when this leader first heard of it
	Micro    bool
	Kept     bool // stopped with its services kept
	Settled  bool // this session lasts for JoinSettle already
	Joining  bool // it joined first within the last JoinSettle: others wait for it
	Acked    bool // it has applied the Document
	Known    bool // it has said what it is
	Drain    bool
	Sid      topics.Sid
	Address  string // a microdomain's own, for services it says nothing else of
	Traits   []topics.Trait
	OnDisk   map[topics.Service]string        // services found there, with their versions
	Memory   uint64                           // bytes
	Document map[topics.Service]topics.Wanted // what stands as desired; nil: no document is known
	Reports  map[topics.Service]topics.ServiceState
}

// free tells when what the domain held may be started elsewhere because it is
// lost or stopped, and whether that moment is known at all.
func (d *Domain) free(t Timing) (time.Time, bool) {
	switch d.State {
	case topics.JudgedLost:
		return d.Since.Add(t.LostAfter), true
	case topics.JudgedStopped:
		if d.Kept {
			return d.Since.Add(t.KeptAfter), true
		}
		return d.Since, true
	}
	return time.Time{}, false
}

// given tells that the domain's services may be started elsewhere now.
func (d *Domain) given(v *View) bool {
	at, known := d.free(v.Timing)
	return known && !v.Now.Before(at)
}

// rev names what a person can see of a Wanted; only its change restarts a
// running service. What else is new counts from its next start, or its end.
func rev(w topics.Wanted) string {
	sum := sha256.Sum256(topics.Encode(struct {
		Port   int
		Env    map[string]string
		Ends   bool    `json:",omitempty"`
		Memory uint64  `json:",omitempty"`
		CPU    float64 `json:",omitempty"`
	}{w.Port, w.Env, w.Ends(), w.Memory, w.CPU}))
	return hex.EncodeToString(sum[:4])
}
