//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// fault is one that was drawn. All of it comes from the seed.
type fault struct {
	kind    string
	service string
	pick    int            // among processes
	signal  syscall.Signal // that kills
	lasts   int            // faults, of one that is undone
	pause   time.Duration  // after it
}

// kinds are the faults, each as often as it is to be drawn.
var kinds = []string{
	"kill first", "kill first", "kill first", "kill first",
	"kill one", "kill one", "kill one",
	"kill all", "kill all", "kill all",
	"halt", "halt", "halt",
	"kill agent", "kill agent", "kill agent", "kill agent",
	"end agent",
	"halt agent", "halt agent",
	"kill leader", "end leader",
	"fill disk", "fill disk",
	"restart", "restart",
	"stop", "stop",
}

// mood are the faults of one run: it has some more often than others, so that
// each seed looks into another corner.
func mood(r *rand.Rand) []string {
	all := slices.Clone(kinds)
	for range 2 {
		all = append(all, slices.Repeat([]string{kinds[r.IntN(len(kinds))]}, 6)...)
	}
	return all
}

func draw(r *rand.Rand, kinds []string) fault {
	names := slices.Sorted(maps.Keys(chaosServices))
	return fault{
		kind:    kinds[r.IntN(len(kinds))],
		service: names[r.IntN(len(names))],
		pick:    r.IntN(1 << 16),
		signal:  []syscall.Signal{syscall.SIGKILL, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGSEGV}[r.IntN(4)],
		lasts:   1 + r.IntN(6),
		// Most come in quick succession, some find the house at rest.
		pause: time.Duration(r.IntN(1+[]int{20, 300, 1200}[r.IntN(3)])) * time.Millisecond,
	}
}

// strike does one fault, after undoing those that have lasted long enough.
func (c *chaos) strike(n int, f fault) {
	c.t.Helper()
	for _, u := range c.pending {
		if u.at <= n {
			c.note("%s: over", u.what)
			u.do()
		}
	}
	c.pending = slices.DeleteFunc(c.pending, func(u undo) bool { return u.at <= n })
	c.tend()
	c.note("%d %s", n, c.do(n, f))
	time.Sleep(f.pause)
}

func (c *chaos) note(format string, args ...any) {
	c.struck = append(c.struck, fmt.Sprintf("%8v ", time.Since(c.began).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// later has something undone after so many faults.
func (c *chaos) later(n int, f fault, what string, do func()) {
	c.pending = append(c.pending, undo{at: n + f.lasts, what: what, do: do})
}

// planned tells whether something is to be undone.
func (c *chaos) planned(what string) bool {
	return slices.ContainsFunc(c.pending, func(u undo) bool { return u.what == what })
}

func (c *chaos) undoAll() {
	for _, u := range c.pending {
		c.note("%s: over", u.what)
		u.do()
	}
	c.pending = nil
}

// do does one fault and says what it was.
func (c *chaos) do(n int, f fault) string {
	switch f.kind {
	case "kill agent", "end agent", "halt agent":
		return c.strikeAgent(n, f)
	case "kill leader", "end leader":
		return c.strikeLeader(n, f)
	case "fill disk":
		return c.fillDisk(n, f)
	case "restart", "stop":
		return c.ask(n, f)
	}
	pids := c.of(f.service)
	if len(pids) == 0 {
		return c.reset(f.service)
	}
	switch f.kind {
	case "kill first":
		syscall.Kill(pids[0], f.signal)
		return fmt.Sprintf("%s: its first process %d gets %v", f.service, pids[0], f.signal)
	case "kill one":
		pid := pids[f.pick%len(pids)]
		syscall.Kill(pid, f.signal)
		return fmt.Sprintf("%s: process %d of %d gets %v", f.service, pid, len(pids), f.signal)
	case "halt":
		pid := pids[f.pick%len(pids)]
		syscall.Kill(pid, syscall.SIGSTOP)
		c.later(n, f, fmt.Sprintf("%s: process %d is halted", f.service, pid), func() { syscall.Kill(pid, syscall.SIGCONT) })
		return fmt.Sprintf("%s: process %d is halted", f.service, pid)
	}
	for _, pid := range pids {
		syscall.Kill(pid, f.signal)
	}
	return fmt.Sprintf("%s: all %d get %v", f.service, len(pids), f.signal)
}

// strikeAgent ends the agent, which is started again, or halts it.
func (c *chaos) strikeAgent(n int, f fault) string {
	if c.planned("agent") || !c.agent.alive() {
		return "agent: is down already"
	}
	agent := c.agent
	if f.kind == "halt agent" {
		agent.cmd.Process.Signal(syscall.SIGSTOP)
		c.later(n, f, "agent is halted", func() { agent.cmd.Process.Signal(syscall.SIGCONT) })
		return "agent: halted"
	}
	if f.kind == "end agent" && !c.planned("agent is halted") {
		agent.stop(20 * time.Second)
	} else {
		agent.cmd.Process.Kill()
		<-agent.ended
	}
	if f.pick%3 == 0 {
		c.later(n, f, "agent", c.startAgent)
		return f.kind + ", for a while"
	}
	c.startAgent()
	return f.kind + ", at once again"
}

func (c *chaos) strikeLeader(n int, f fault) string {
	if c.planned("leader") {
		return "leader: is down already"
	}
	if f.kind == "kill leader" {
		c.leader.cmd.Process.Kill()
		<-c.leader.ended
	} else {
		c.leader.stop(20 * time.Second)
	}
	c.later(n, f, "leader", c.startLeader)
	return f.kind + ", and the broker with it"
}

// fillDisk leaves no byte on the agent's disk.
func (c *chaos) fillDisk(n int, f fault) string {
	if c.planned("disk") {
		return "disk: is full already"
	}
	path := filepath.Join(c.room, "filling")
	file, err := os.Create(path)
	if err != nil {
		c.t.Error(err)
		return err.Error()
	}
	defer file.Close()
	chunk := make([]byte, 1<<16)
	for size := len(chunk); size > 0; {
		if _, err := file.Write(chunk[:size]); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			c.t.Error(err)
			break
		}
	}
	c.later(n, f, "disk", func() {
		if err := os.Remove(path); err != nil {
			c.t.Error(err)
		}
	})
	return "disk: full"
}

// ask has a person restart or stop a service; what was stopped is wanted again
// later.
func (c *chaos) ask(n int, f fault) string {
	if c.planned("leader") {
		return "nobody can be asked"
	}
	if f.kind == "restart" {
		return c.command("restart", f.service, "now")
	}
	c.later(n, f, f.service+" is stopped", func() { c.command("run", f.service, "auto") })
	return c.command("run", f.service, "off")
}

// reset has a person look after a service that is down.
func (c *chaos) reset(service string) string {
	if c.planned("leader") {
		return service + " is down, and nobody can be asked"
	}
	return c.command("reset", service, "now")
}
