package topics

import "time"

// Why is the reason that everything not as wanted carries: a code for
// programs, a sentence for people, and the next thing to type.
type Why struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Next string `json:"next,omitempty"`
}

// Codes of a Why.
const (
	WaitDependency  = "WAIT_DEPENDENCY"  // a dependency is not ready
	WaitDomain      = "WAIT_DOMAIN"      // the domain settles, or its judgement is unknown
	WaitMove        = "WAIT_MOVE"        // the old instance has not been reported stopped
	WaitHoldOff     = "WAIT_HOLD_OFF"    // its domain is lost, the hold-off runs
	WaitApply       = "WAIT_APPLY"       // the domain has not taken its document up yet
	NoDomain        = "NO_DOMAIN"        // no domain has all traits
	NotNeeded       = "NOT_NEEDED"       // a dependency nobody needs now
	NotWanted       = "NOT_WANTED"       // the catalogue does not ask for it (manual)
	StoppedByPerson = "STOPPED_BY_WORD"  // an operator's word says off
	Orphaned        = "ORPHANED"         // runs, but left the catalogue
	DomainLost      = "DOMAIN_LOST"      // its domain is lost
	DomainUnknown   = "DOMAIN_UNKNOWN"   // not heard since the leader's start
	DomainStopped   = "DOMAIN_STOPPED"   // its agent was stopped
	VersionMismatch = "VERSION_MISMATCH" // the versions on disk are out of range
	Starting        = "STARTING"         // on its way to ready
	NotReady        = "NOT_READY"        // runs, its readiness rule is not met
	NoDirectory     = "NO_DIRECTORY"     // the service's directory is missing
	NoMakefile      = "NO_MAKEFILE"      // neither Makefile nor service.toml
	BadValue        = "BAD_VALUE"        // a value from the bus that must not reach make
	BuildFailed     = "BUILD_FAILED"
	StartFailed     = "START_FAILED"
	StartTimeout    = "START_TIMEOUT"
	Exited          = "EXITED"
	OutOfMemory     = "OUT_OF_MEMORY" // the kernel killed it
	CrashLoop       = "CRASH_LOOP"
	NotLive         = "LIVENESS"  // it ran, and failed its liveness rule too often in a row
	Scheduled       = "SCHEDULED" // it runs when its schedule says so
	PortTaken       = "PORT_TAKEN"
	DiskFull        = "DISK_FULL" // there is no room on its machine's disk
	Observed        = "OBSERVED"  // it runs without the house, which only looks at it
	NotThere        = "NOT_THERE" // the unit, container or process that it names is not on its machine
	Duplicate       = "DUPLICATE" // runs on a domain that should not have it
)

// Stamp is a time for people: RFC 3339, UTC, whole seconds. No program
// compares it; order comes from term and gen, seq, rev and sids.
type Stamp string

// At makes a Stamp.
func At(t time.Time) Stamp { return Stamp(t.UTC().Format(time.RFC3339)) }

// Time reads a Stamp; the zero time when it is absent or unreadable.
func (s Stamp) Time() time.Time {
	t, _ := time.Parse(time.RFC3339, string(s))
	return t
}
