package device

import (
	"os"
	"path/filepath"
	"time"

	"dominion/device/process"
	"dominion/topics"
)

// past is ended.json: what ended by itself and is not started again by
// itself, and when schedules were last attended to.
type past struct {
	Over map[topics.Service]over         `json:"over,omitempty"`
	Ran  map[topics.Service]topics.Stamp `json:"ran,omitempty"`

	unkept bool // it is not on the disk as it is here
}

// over is how a service ended. It counts while the machine runs; that of a
// scheduled one also after.
type over struct {
	Boot      string       `json:"boot"`
	Scheduled bool         `json:"scheduled,omitempty"`
	Rev       string       `json:"rev"`
	Version   string       `json:"version,omitempty"`
	Phase     topics.Phase `json:"phase"`
	Ready     bool         `json:"ready"`
	Why       *topics.Why  `json:"why,omitempty"`
	Exit      *topics.Exit `json:"exit,omitempty"`
	Since     topics.Stamp `json:"since"`
	Restarts  int          `json:"restarts,omitempty"`
}

func (a *Agent) pastPath() string { return filepath.Join(a.cfg.DataDir, "ended.json") }

// recallPast takes up what had ended before this agent began.
func (a *Agent) recallPast() {
	for name, o := range a.past.Over {
		if _, wanted := a.wanted[name]; !wanted || o.Boot != bootID() && !o.Scheduled {
			delete(a.past.Over, name)
			continue
		}
		u := a.unit(name)
		u.phase, u.ready, u.why, u.exit, u.version, u.restarts = o.Phase, o.Ready, o.Why, o.Exit, o.Version, o.Restarts
		u.since = o.Since.Time()
	}
}

// keepPast writes what has ended. A power cut may take the last of it: then
// something is run once more.
func (a *Agent) keepPast() {
	for name := range a.past.Ran {
		if a.units[name] == nil {
			delete(a.past.Ran, name)
		}
	}
	err := writeFile(a.pastPath(), mustJSON(a.past), false)
	if err != nil && !a.past.unkept {
		a.cfg.Log.Error().Err(err).Msg("what has ended cannot be stored: until there is room, the next agent would run it again")
	}
	a.past.unkept = err != nil
}

// over is how a service ended that is not started again by itself, or nil.
func (a *Agent) over(u *unit) *over {
	o, ok := a.past.Over[u.name]
	if !ok || !o.Ready && u.terms.RestartPolicy() == topics.RestartAlways {
		return nil
	}
	return &o
}

// forgetOver has a service that ended be started again.
func (a *Agent) forgetOver(name topics.Service) {
	if _, ok := a.past.Over[name]; ok {
		delete(a.past.Over, name)
		a.keepPast()
	}
}

// isOver puts a unit to rest for good: until its revision changes, its
// schedule comes, or a person says so.
func (a *Agent) isOver(u *unit, phase topics.Phase, ready bool, why *topics.Why, now time.Time) {
	rev, restarts := u.entry.Rev, u.restarts
	u.rest(phase, why, now)
	u.ready, u.since, u.failed, u.history = ready, now, false, History{}
	if !a.wanted[u.name].Run {
		return // when it is wanted again, it runs again
	}
	if a.past.Over == nil {
		a.past.Over = map[topics.Service]over{}
	}
	a.past.Over[u.name] = over{
		Boot: bootID(), Scheduled: u.terms.Schedule != "", Rev: rev, Version: u.version, Phase: phase, Ready: ready, Why: why,
		Exit: u.exit, Since: topics.At(now), Restarts: restarts,
	}
	a.keepPast()
}

// bootID names this run of the machine, "" where nothing does.
func bootID() string {
	id, err := process.Identify(os.Getpid())
	if err != nil {
		return ""
	}
	return id.Boot
}
