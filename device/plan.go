package device

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"dominion/topics"
)

// Have is what is known of one service on this machine.
type Have struct {
	Phase topics.Phase
	Ready bool
	Why   *topics.Why

	Host string // where services of this machine are reached

	// With what it was started.
	Rev          string
	Endpoints    map[topics.Service]topics.Target
	Dependencies []topics.Service

	// Over: it ended by itself, as its terms have it. It is not started again
	// for the same Rev, but by its schedule.
	Over bool
	Due  time.Time // when its schedule runs it next; zero: it has none

	Retry    bool      // it failed, and is tried again without its schedule
	Next     time.Time // no start before; zero: at once
	Deadline time.Time // it must be ready by then, or built; zero: no haste
	Again    bool      // a person asked for a restart
	Missing  bool      // there is nothing on the disk to start
}

// Input is all that Plan looks at.
type Input struct {
	Now    time.Time
	Wanted map[topics.Service]topics.Wanted // what the domain should run, as it was last told
	Have   map[topics.Service]Have
	Pause  *topics.Why // why nothing is started yet; nil: start
	Alone  *Alone      // nil: a leader was heard
	Ending bool        // stop everything, dependents first
}

// Alone is what a machine knows that boots while no leader is heard: the
// document has it run what could run before, and it looks itself whether what
// that depends on is there.
type Alone struct {
	Long   bool // it has waited long for what need not be waited for
	Echoes map[topics.Target]Echo
}

// Verb is what to do with one service.
type Verb string

// The verbs.
const (
	Start Verb = "start"
	Stop  Verb = "stop"
	// Rest is for what does not run and shall not now: only its phase and why change.
	Rest Verb = "rest"
)

// Action is one thing to do, with its reason. Phase is of Rest alone.
type Action struct {
	Do      Verb
	Service topics.Service
	Phase   topics.Phase
	Why     *topics.Why
}

// Plan decides what to do now. It is pure: the same input gives the same plan,
// in the order of the services' names, and at most one action for each. A
// service that is wanted by nobody and runs is left alone; only run:false
// stops it.
func Plan(in Input) []Action {
	var plan []Action
	for _, name := range slices.Sorted(maps.Keys(in.Have)) {
		have := in.Have[name]
		want, wanted := in.Wanted[name]
		var next *Action
		switch {
		case have.Phase == topics.PhaseStopping:
		case have.Phase.Alive() && in.Ending:
			if !needed(name, in.Have) {
				next = &Action{Do: Stop, Why: &topics.Why{Code: topics.DomainStopped, Text: "the agent ends, and its services with it"}}
			}
		case have.Phase.Alive():
			next = whileAlive(want, wanted, have, in.Now)
		case wanted && !in.Ending:
			next = whileAtRest(name, want, in)
		}
		if next != nil {
			next.Service = name
			plan = append(plan, *next)
		}
	}
	return plan
}

// needed tells whether something that runs was started as a dependent of it.
func needed(name topics.Service, all map[topics.Service]Have) bool {
	for other, have := range all {
		if other != name && have.Phase.Alive() && slices.Contains(have.Dependencies, name) {
			return true
		}
	}
	return false
}

// whileAlive decides on a service with processes: whether to stop it. If it is
// wanted, it is started again once it has stopped.
func whileAlive(want topics.Wanted, wanted bool, have Have, now time.Time) *Action {
	stop := func(code, text string) *Action {
		return &Action{Do: Stop, Why: &topics.Why{Code: code, Text: text}}
	}
	switch {
	case wanted && !want.Run:
		return &Action{Do: Stop, Why: reasonToRest(want)}
	case have.Again:
		return stop(topics.Starting, "restarts: somebody asked for it")
	case wanted && want.Rev != have.Rev:
		return stop(topics.Starting, "restarts: its configuration changed")
	case wanted && !want.Follows && moved(have.Endpoints, want.Endpoints) != "":
		return stop(topics.Starting, fmt.Sprintf("restarts: %s is found elsewhere now", moved(have.Endpoints, want.Endpoints)))
	case have.Ready || have.Deadline.IsZero() || now.Before(have.Deadline):
		return nil
	case have.Phase == topics.PhaseBuilding:
		return stop(topics.BuildFailed, "was not built in time")
	default:
		return stop(topics.StartTimeout, "was not ready in time")
	}
}

// moved is the first dependency that is found at another address than the one
// the service was given. One that is found nowhere now is no reason for anything.
func moved(given, now map[topics.Service]topics.Target) topics.Service {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if at, ok := now[name]; ok && at != given[name] {
			return name
		}
	}
	return ""
}

func whileAtRest(name topics.Service, want topics.Wanted, in Input) *Action {
	have := in.Have[name]
	rest := func(phase topics.Phase, why *topics.Why) *Action {
		if have.Phase == phase && sameWhy(have.Why, why) {
			return nil
		}
		return &Action{Do: Rest, Phase: phase, Why: why}
	}
	if !want.Run {
		why := reasonToRest(want)
		if waits(why.Code) {
			return rest(topics.PhaseWaiting, why)
		}
		return rest(topics.PhaseStopped, why)
	}
	switch {
	case have.Missing || in.Now.Before(have.Next):
		return nil
	case have.Again || have.Retry:
	case have.Due.IsZero() && have.Over && have.Rev == want.Rev:
		return nil
	case in.Now.Before(have.Due) && have.Over:
		return nil
	case in.Now.Before(have.Due):
		return rest(topics.PhaseWaiting, scheduled(have.Due))
	}
	if in.Pause != nil {
		return rest(topics.PhaseWaiting, in.Pause)
	}
	for _, dependency := range want.Dependencies {
		if why := in.gate(name, want, dependency); why != nil {
			return rest(topics.PhaseWaiting, why)
		}
	}
	return &Action{Do: Start, Why: &topics.Why{Code: topics.Starting, Text: "starts"}}
}

// scheduled is why a service waits for its hour.
func scheduled(due time.Time) *topics.Why {
	return &topics.Why{Code: topics.Scheduled, Text: "runs next at " + shown(due)}
}

// shown is a time as the clock on the wall shows it.
func shown(at time.Time) string { return at.Local().Format("15:04 on Mon 2 Jan") }

// gate is why a dependency keeps a service from starting, nil if it does not.
// One that should run here too is waited for; the coordinator gates the others,
// if there is one. If the document finds it elsewhere, it is there that it is
// used.
func (in Input) gate(name topics.Service, want topics.Wanted, dependency topics.Service) *topics.Why {
	there, known := in.Have[dependency]
	if dependency == name {
		return nil
	}
	if !known || !in.Wanted[dependency].Run {
		return in.gateElsewhere(want, dependency)
	}
	if at, ok := want.Endpoints[dependency]; ok && there.Host != "" && at.Host != there.Host {
		return in.gateElsewhere(want, dependency)
	}
	if there.Ready || slices.Contains(want.Soft, dependency) && !there.comes() {
		return nil
	}
	return &topics.Why{
		Code: topics.WaitDependency,
		Text: fmt.Sprintf("waits for %s, which is not ready here yet", dependency),
		Next: "dominion why " + string(dependency),
	}
}

// comes tells whether a service that is not ready is on its way to be.
func (h Have) comes() bool {
	switch h.Phase {
	case topics.PhaseBackoff, topics.PhaseCrashloop, topics.PhaseStopped, topics.PhaseDone:
		return h.Phase == topics.PhaseStopped && h.Next.IsZero() && !h.Missing && !h.Over // it is about to be started
	}
	return true
}

// gateElsewhere is gate for what runs on another machine. Without a leader its
// last known endpoint is waited for: until it answers; if its machine does but
// nothing listens, which proves little, or if it can be done without, for a
// while; and if its machine is not there, until it is, or a leader says where
// else to find it.
func (in Input) gateElsewhere(want topics.Wanted, dependency topics.Service) *topics.Why {
	at, known := want.Endpoints[dependency]
	if in.Alone == nil || !known || at.Port == 0 {
		return nil
	}
	echo := in.Alone.Echoes[at]
	if echo == Welcome || in.Alone.Long && (echo == Refusal || slices.Contains(want.Soft, dependency)) {
		return nil
	}
	return &topics.Why{
		Code: topics.WaitDependency,
		Text: fmt.Sprintf("waits for %s, which was at %s and does not answer there; no leader is heard", dependency, net.JoinHostPort(at.Host, strconv.Itoa(at.Port))),
		Next: "look whether that machine, and the leader, have power and network",
	}
}

// reasonToRest is the document's why of a service that should not run here.
func reasonToRest(want topics.Wanted) *topics.Why {
	if want.Why != nil {
		return want.Why
	}
	return &topics.Why{Code: topics.NotWanted, Text: "is not wanted here"}
}

// waits tells whether a code means that it shall run once something is so.
func waits(code string) bool {
	switch code {
	case topics.WaitDependency, topics.WaitDomain, topics.WaitMove, topics.WaitHoldOff, topics.WaitApply:
		return true
	}
	return false
}

func sameWhy(a, b *topics.Why) bool {
	return a == b || a != nil && b != nil && *a == *b
}
