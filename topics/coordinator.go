package topics

import "fmt"

// JudgementState is what the coordinator makes of a domain.
type JudgementState string

// The judgements.
const (
	JudgedOnline   JudgementState = "online"
	JudgedSuspect  JudgementState = "suspect"
	JudgedLost     JudgementState = "lost"
	JudgedStopped  JudgementState = "stopped"
	JudgedSleeping JudgementState = "sleeping"
	JudgedUnknown  JudgementState = "unknown"
	JudgedConflict JudgementState = "conflict"
)

// Reachable tells whether what the domain reported last may be believed.
func (j JudgementState) Reachable() bool { return j == JudgedOnline || j == JudgedSuspect }

// Judgement is coordinator/state/domain/<domain>, retained, QoS 1. Wanted
// counts the services with run:true, Ready those of them that are ready.
type Judgement struct {
	V      V              `json:"v"`
	State  JudgementState `json:"state"`
	Since  Stamp          `json:"since,omitempty"`
	Why    *Why           `json:"why,omitempty"`
	Wanted int            `json:"wanted"`
	Ready  int            `json:"ready"`
	Drain  bool           `json:"drain,omitempty"`
}

func (j Judgement) check() error {
	if j.State == "" {
		return missing("state")
	}
	return nil
}

// SummaryPhase is where a service of the house is, over all its instances.
type SummaryPhase string

// Phases of a service in its summary.
const (
	SummaryReady    SummaryPhase = "ready"
	SummaryDone     SummaryPhase = "done" // a oneshot that has succeeded
	SummaryDegraded SummaryPhase = "degraded"
	SummaryStarting SummaryPhase = "starting"
	SummaryWaiting  SummaryPhase = "waiting"
	SummaryStopping SummaryPhase = "stopping"
	SummaryStopped  SummaryPhase = "stopped"
	SummaryFailing  SummaryPhase = "failing"
	SummaryLost     SummaryPhase = "lost"
	SummaryUnknown  SummaryPhase = "unknown"
	SummaryOrphaned SummaryPhase = "orphaned"
)

// Met tells that a service is as a person who wants it to run would have it.
func (p SummaryPhase) Met() bool { return p == SummaryReady || p == SummaryDone }

// SummaryPhases are all of them, in the order above.
func SummaryPhases() []SummaryPhase {
	return []SummaryPhase{
		SummaryReady, SummaryDone, SummaryDegraded, SummaryStarting, SummaryWaiting, SummaryStopping,
		SummaryStopped, SummaryFailing, SummaryLost, SummaryUnknown, SummaryOrphaned,
	}
}

// Summary is coordinator/state/summary/<service>, retained, QoS 1: the house's
// view of a service. Run is what the house wants now (on or off), Where the
// domains it is or should be on. Because says why the house wants it, Why why
// it is not as wanted.
type Summary struct {
	V       V            `json:"v"`
	Service Service      `json:"service"`
	Phase   SummaryPhase `json:"phase"`
	Run     RunWord      `json:"run"`
	Wanted  int          `json:"wanted"`
	Ready   int          `json:"ready"`
	Where   []Node       `json:"where,omitempty"`
	Version string       `json:"version,omitempty"`
	Since   Stamp        `json:"since,omitempty"`
	Because string       `json:"because,omitempty"`
	Why     *Why         `json:"why,omitempty"`

	Observed bool `json:"observed,omitempty"` // it runs without the house, which only looks at it
}

func (s Summary) check() error {
	switch {
	case s.Phase == "":
		return missing("phase")
	case s.Service == "":
		return missing("service")
	}
	return nil
}

// Endpoint is one ready instance of a service.
type Endpoint struct {
	Domain  Node   `json:"domain"`
	Sid     Sid    `json:"sid,omitempty"`
	Host    string `json:"host"`
	Port    int    `json:"port,omitempty"`
	Version string `json:"version,omitempty"`
}

// Lookup is coordinator/state/lookup/<service>, retained, QoS 1: where the
// service is found. Ready 0 is a known service with no ready instance; no
// message is an unknown service. Host and Port repeat the first endpoint. It
// is valid only while the coordinator's presence is online and its role active.
type Lookup struct {
	V         V          `json:"v"`
	Service   Service    `json:"service"`
	Ready     int        `json:"ready"`
	Host      string     `json:"host,omitempty"`
	Port      int        `json:"port,omitempty"`
	Endpoints []Endpoint `json:"endpoints,omitempty"`
}

func (l Lookup) check() error {
	if l.Service == "" {
		return missing("service")
	}
	return nil
}

// Severities of an Alert.
const (
	SeverityInfo    = "info"
	SeverityWarning = "warning"
	SeverityError   = "error"
)

// Alert is coordinator/state/alert/<id>, retained, QoS 1: an open problem,
// emptied when it is solved.
type Alert struct {
	V        V      `json:"v"`
	Severity string `json:"severity"`
	Text     string `json:"text"`
	Next     string `json:"next,omitempty"`
	Since    Stamp  `json:"since,omitempty"`
	About    string `json:"about,omitempty"` // the node or service
}

func (a Alert) check() error {
	if a.Text == "" {
		return missing("text")
	}
	return nil
}

// Alerts is coordinator/state/alerts, retained, QoS 1: the open alerts counted,
// for readers that follow one topic. Texts and Next are those of the worst, in
// one order; at most MaxAlertTexts of them.
type Alerts struct {
	V     V        `json:"v"`
	Open  int      `json:"open"`
	Worst string   `json:"worst,omitempty"` // severity
	Texts []string `json:"texts,omitempty"`
	Next  []string `json:"next,omitempty"`
}

// MaxAlertTexts is how many texts an Alerts has at most.
const MaxAlertTexts = 15

// RunWord is an operator's wish for a service.
type RunWord string

// The wishes; an empty word is auto: the catalogue decides.
const (
	RunOn   RunWord = "on"
	RunOff  RunWord = "off"
	RunAuto RunWord = "auto"
)

// ServiceWord is coordinator/desired/service/<service>, retained, QoS 1: the
// operator's word on a service. Of two, the higher Rev holds.
type ServiceWord struct {
	V         V       `json:"v"`
	Run       RunWord `json:"run,omitempty"`
	Instances int     `json:"instances,omitempty"`
	Pin       Node    `json:"pin,omitempty"`
	By        string  `json:"by,omitempty"`
	Since     Stamp   `json:"since,omitempty"`
	Rev       uint64  `json:"rev"`
}

func (w ServiceWord) check() error {
	switch w.Run {
	case "", RunOn, RunOff, RunAuto:
		return nil
	}
	return &FieldError{"run", fmt.Sprintf("is %.40q (want on, off or auto)", w.Run)}
}

// DomainWord is coordinator/desired/domain/<domain>, retained, QoS 1: the
// operator's word on a domain. Of two, the higher Rev holds.
type DomainWord struct {
	V     V      `json:"v"`
	Drain bool   `json:"drain"`
	By    string `json:"by,omitempty"`
	Since Stamp  `json:"since,omitempty"`
	Rev   uint64 `json:"rev"`
}

// Happening is any other event, <node>/event/<what>/<subject>: something that
// happened, told once. Text is the sentence for people.
type Happening struct {
	V       V        `json:"v"`
	Text    string   `json:"text,omitempty"`
	Service Service  `json:"service,omitempty"`
	Domain  Node     `json:"domain,omitempty"`
	From    Node     `json:"from,omitempty"`
	Exit    *Exit    `json:"exit,omitempty"`
	Lines   []string `json:"lines,omitempty"` // the last lines of output
	Why     *Why     `json:"why,omitempty"`
}
