// Package process runs programs in process groups of their own, and keeps
// hold of them across a restart of whoever started them.
//
// A run is known by the identity of its first process (pid, when that began,
// which boot it was) and by the word START_ID in its environment. Together
// they find all of a run's processes, also those that put themselves in the
// background or left the group, and never a stranger that was given an old
// pid again.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"dominion/device/cgroup"
)

// StartVariable is the environment variable that marks every process of a run.
const StartVariable = "START_ID"

// poll is how often what cannot be waited for is looked at.
const poll = 200 * time.Millisecond

// ErrGone is returned for a process that does not exist (any more).
var ErrGone = errors.New("no such process")

// Identity names one process for ever: a pid alone is given again. Began is
// in the kernel's own unit since the boot, so no clock change moves it.
type Identity struct {
	PID   int    `json:"pid"`
	Began uint64 `json:"began"`
	Boot  string `json:"boot"`
	// Group is the control group that holds the process and all that comes of
	// it; empty: it has none of its own.
	Group string `json:"group,omitempty"`
}

// Identify is the identity of the process that has the pid now, ErrGone if
// none has.
func Identify(pid int) (Identity, error) {
	p, err := look(pid)
	if err != nil {
		return Identity{}, err
	}
	boot, err := bootID()
	if err != nil {
		return Identity{}, err
	}
	return Identity{PID: pid, Began: p.began, Boot: boot}, nil
}

// Alive tells whether that very process still runs. One that has ended and
// was not waited for yet does not run.
func (i Identity) Alive() bool {
	p, err := look(i.PID)
	if err != nil || p.zombie || p.began != i.Began {
		return false
	}
	boot, err := bootID()
	return err == nil && boot == i.Boot
}

// of is the identity as that of a start. A group that does not bear its name is
// another's, whatever was written down: all that is in it would be killed.
func (i Identity) of(start string) Identity {
	if !strings.HasSuffix(strings.TrimSuffix(i.Group, ".scope"), "-"+start) {
		i.Group = ""
	}
	return i
}

// Exit is how the first process of a run ended: its code, or the signal. It
// is not Known when nobody could wait for it.
type Exit struct {
	Known  bool
	Code   int
	Signal syscall.Signal
}

func (e Exit) ok() bool { return e.Known && e.Code == 0 && e.Signal == 0 }

// Command is a program to start. Nothing of it passes a shell.
type Command struct {
	Dir    string
	Argv   []string
	Env    []string // whole; StartVariable is added
	Start  string   // the run's START_ID
	Output *os.File // for stdout and stderr, written by the program itself
	// Grace is what leftovers are given between TERM and KILL when the first
	// process has failed.
	Grace time.Duration
	// Place, if not nil, is called with the first process before it runs
	// anything of the program, and puts it into a control group: Identity.Group.
	Place func(pid int) (group string)
}

// Run is a started program with all its processes.
type Run struct {
	Identity
	start string
	grace time.Duration
	done  chan struct{}
	exit  Exit

	starved bool // the kernel killed something of it because memory had run out

	mu   sync.Mutex // guards seen
	seen []proc     // its members when it was last looked at
}

// Start starts a program in a process group of its own, with no input. The
// caller keeps and may close Output. The run outlives ctx.
func Start(ctx context.Context, c Command) (*Run, error) {
	cmd, release, err := c.prepare()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Argv[0], err)
	}
	defer release()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Argv[0], err)
	}
	// Not waited for yet, so the pid cannot be anybody else's.
	id, err := Identify(cmd.Process.Pid)
	if err != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		return nil, fmt.Errorf("identify %s: %w", c.Argv[0], err)
	}
	if c.Place != nil {
		id.Group = c.Place(id.PID)
	}
	r := &Run{Identity: id, start: c.Start, grace: c.Grace, done: make(chan struct{})}
	// It waits as long as the program lives, also when its starter has lost
	// interest: a child that nobody waits for stays a zombie.
	go func() {
		awaitChild(id.PID)
		_ = cmd.Wait()
		r.finish(context.WithoutCancel(ctx), exitOf(cmd.ProcessState))
	}()
	return r, nil
}

func exitOf(s *os.ProcessState) Exit {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return Exit{Known: true, Signal: w.Signal()}
	}
	return Exit{Known: true, Code: s.ExitCode()}
}

// Adopt takes over a run that a former self started. recorded says how the
// first process ended, if that was written down somewhere. What cannot be
// adopted (false) may have left processes behind: see End.
//
// A run whose first process is gone is adopted if that ended well and left
// others behind: it had put itself in the background.
func Adopt(ctx context.Context, id Identity, start string, grace time.Duration, recorded func() Exit) (*Run, bool) {
	id = id.of(start)
	r := &Run{Identity: id, start: start, grace: grace, done: make(chan struct{})}
	alive := id.Alive()
	if !alive && !(recorded().ok() && len(r.left()) > 0) {
		return nil, false
	}
	go func() {
		awaitGone(id.PID, id.Alive)
		r.finish(context.WithoutCancel(ctx), recorded())
	}()
	return r, true
}

// End ends whatever a run left behind: TERM, and KILL after the grace. It
// returns when none of it is left, or with the context's error. id may be
// zero for a run whose pid was never learned.
func End(ctx context.Context, id Identity, start string, grace time.Duration) error {
	r := &Run{Identity: id.of(start), start: start, grace: grace}
	return r.end(ctx)
}

// finish waits until nothing of the run is left, and ends what is, if the
// first process failed: what works in the background has a parent that ended
// well.
func (r *Run) finish(ctx context.Context, e Exit) {
	r.exit = e
	if e.ok() {
		r.outlive()
	} else {
		_ = r.end(ctx)
	}
	if r.Group != "" {
		r.starved = cgroup.Group(r.Group).Starved() > 0
		_ = cgroup.Group(r.Group).Remove() // else the next agent does
	}
	close(r.done)
}

// outlive waits until no process of the run is left. Those once seen are waited
// for; the search for all is made again when they are gone.
func (r *Run) outlive() {
	for left := r.left(); len(left) > 0; left = r.left() {
		for _, p := range left {
			awaitGone(p.pid, p.lives)
		}
	}
}

// awaitChild returns when a child of this process has ended, so that to wait(2)
// for it then takes no time, or at once where only that can be done: a thread
// for each service would be most of what the agent costs.
func awaitChild(pid int) {
	if e, err := endOf(pid); err == nil {
		_ = e.wait()
		e.close()
	}
}

// awaitGone returns when a process lives no more. lives tells whether that is
// still the one which has the pid.
func awaitGone(pid int, lives func() bool) {
	if e, err := endOf(pid); err == nil {
		defer e.close()
		if !lives() || e.wait() == nil {
			return
		}
	}
	t := time.NewTicker(poll)
	defer t.Stop()
	for lives() {
		<-t.C
	}
}

// Done is closed when no process of the run is left.
func (r *Run) Done() <-chan struct{} { return r.done }

// Exit is how the first process ended; valid once Done is closed.
func (r *Run) Exit() Exit { return r.exit }

// Members are the identities of the run's live processes.
func (r *Run) Members() []Identity {
	var all []Identity
	for _, p := range r.members() {
		all = append(all, Identity{PID: p.pid, Began: p.began, Boot: r.Boot, Group: r.Group})
	}
	return all
}

// Starved tells whether the kernel killed something of the run because memory
// had run out; valid once Done is closed, and known of a run in a group alone.
func (r *Run) Starved() bool { return r.starved }

// Stop ends the run: TERM to all of it, KILL to what is left after the grace.
// It returns when nothing is left, or with the context's error.
func (r *Run) Stop(ctx context.Context, grace time.Duration) error {
	r.signal(syscall.SIGTERM)
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
	}
	again := time.NewTicker(poll)
	defer again.Stop()
	for {
		r.signal(syscall.SIGKILL)
		select {
		case <-r.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}

// end is Stop for a run that nobody watches.
func (r *Run) end(ctx context.Context) error {
	if len(r.members()) == 0 {
		return nil
	}
	r.signal(syscall.SIGTERM)
	began := time.Now()
	t := time.NewTicker(poll / 4)
	defer t.Stop()
	for len(r.members()) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if time.Since(began) > r.grace {
			r.signal(syscall.SIGKILL)
		}
	}
	return nil
}

// signal reaches all of the run: the whole group at once, so that none forks
// away in between, and those who left it.
func (r *Run) signal(sig syscall.Signal) {
	if r.Group != "" && sig == syscall.SIGKILL {
		cgroup.Group(r.Group).Kill()
		return
	}
	group := false
	for _, p := range r.members() {
		if r.PID != 0 && p.group == r.PID { // to signal group 0 is to signal one's own
			group = true
			continue
		}
		if p.lives() {
			_ = syscall.Kill(p.pid, sig)
		}
	}
	if group {
		_ = syscall.Kill(-r.PID, sig)
	}
}

// members are the live processes of the run: all in its control group. Without
// one they are those in its process group, those that carry its START_ID, and
// all that descends of them or did when it was last looked. The number of a process group is believed only
// while its first process is the known one or a member carries the START_ID: the
// number may have been given again.
func (r *Run) members() []proc {
	if r.Group != "" {
		return r.held()
	}
	all, err := list()
	if err != nil {
		return nil
	}
	var found, group []proc
	ours := r.PID != 0 && r.Alive()
	mark := StartVariable + "=" + r.start
	for _, p := range all {
		inGroup := r.PID != 0 && p.group == r.PID
		switch {
		case p.zombie:
		case p.began < r.Began: // older than the run
		case inGroup:
			group = append(group, p)
			ours = ours || carries(p.pid, mark)
		case carries(p.pid, mark):
			found = append(found, p)
		}
	}
	if ours {
		found = append(found, group...)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, was := range r.seen {
		for _, p := range all {
			if p.pid == was.pid && p.began == was.began && !p.zombie && !slices.ContainsFunc(found, p.is) {
				found = append(found, p)
			}
		}
	}
	r.seen = withDescendants(found, all)
	return slices.Clone(r.seen)
}

// held are the live processes in the run's control group.
func (r *Run) held() []proc {
	var found []proc
	for _, pid := range cgroup.Group(r.Group).Processes() {
		if p, err := look(pid); err == nil && !p.zombie {
			found = append(found, p)
		}
	}
	return found
}

// withDescendants adds the processes that came of others, however they have
// hidden since, as long as those that started them live.
func withDescendants(found, all []proc) []proc {
	known := map[int]bool{}
	for _, p := range found {
		known[p.pid] = true
	}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if !known[p.pid] && known[p.parent] && !p.zombie {
				known[p.pid], grown = true, true
				found = append(found, p)
			}
		}
	}
	return found
}

// left are the members, looked for twice before there are none: a process that
// has just called exec(2) has no environment to be known by, for a moment.
func (r *Run) left() []proc {
	if all := r.members(); len(all) > 0 || r.Group != "" {
		return all
	}
	<-time.After(poll)
	return r.members()
}

// proc is what is seen of one process.
type proc struct {
	pid, group int
	parent     int // 0: not known
	began      uint64
	zombie     bool
	stopped    bool // by SIGSTOP or its like
}

func (p proc) is(other proc) bool { return p.pid == other.pid }

func (p proc) lives() bool {
	now, err := look(p.pid)
	return err == nil && now.began == p.began && !now.zombie
}
