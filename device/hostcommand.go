package device

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"dominion/device/host"
	"dominion/topics"
)

// hostCommand runs a request about the machine itself.
func (a *Agent) hostCommand(work context.Context, req topics.Request) {
	if req.Subject != subjectHost {
		a.refuse(work, req, topics.FaultUnknown, fmt.Sprintf("nothing answers a %s but the subject %s", req.Method, subjectHost), a.cfg.Space.Command(a.cfg.Name, req.Method, subjectHost))
		return
	}
	switch req.Method {
	case methodPing:
		a.reply(work, topics.Reply{ID: req.ID, Status: topics.Done, Result: "pong", Topic: req.Topic})
	case methodPS:
		a.processes(work, req)
	case methodIdentify:
		a.identify(work, req)
	default:
		a.turn(work, req)
	}
}

// psLines is how many processes are told of: an answer has a size.
const psLines = 1000

// processes tells what the services' processes take, a line each.
func (a *Agent) processes(work context.Context, req topics.Request) {
	running := map[topics.Service]instance{}
	for name, u := range a.units {
		if u.running != nil && u.phase.Alive() {
			running[name] = u.running
		}
	}
	a.running.Go(func() {
		var lines []string
		count := 0
		for _, name := range slices.Sorted(maps.Keys(running)) {
			for _, id := range running[name].Processes() {
				if count++; count > psLines {
					continue
				}
				if p, err := host.Running(work, id.PID); err == nil {
					lines = append(lines, fmt.Sprintf("%-20s %7d %8.1f MB %5.1f %% %9s  %s", name, p.PID, float64(p.Memory)/1e6, p.CPU, p.Age.Round(time.Second), p.Name))
				}
			}
		}
		result := many(len(running), "service", "s") + ", " + many(count, "process", "es")
		if count > psLines {
			result += fmt.Sprintf(", of which %d are shown", psLines)
		}
		a.reply(work, topics.Reply{ID: req.ID, Status: topics.Done, Result: result, Lines: lines, Topic: req.Topic})
	})
}

// many is a number of things in words.
func many(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s%s", n, one, more)
}

// How long the board's light blinks.
const (
	identifyFor  = 15 * time.Second
	identifyMost = 5 * time.Minute
)

// identify has the board's light blink, so that a person finds the machine. A
// second request while it blinks is answered, and does not make it blink longer.
func (a *Agent) identify(work context.Context, req topics.Request) {
	led, err := host.FindLED(or(a.cfg.Root, "/"))
	if err != nil {
		a.refuse(work, req, topics.FaultUnknown, err.Error(), "")
		return
	}
	lasts := identifyFor
	if text := req.Arg("seconds"); text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if lasts = seconds(n); err != nil || lasts <= 0 || lasts > identifyMost {
			a.refuse(work, req, topics.FaultBad, fmt.Sprintf("seconds is %.20q (want 1 to %.0f)", text, identifyMost.Seconds()), "")
			return
		}
	}
	if !a.blinks.CompareAndSwap(false, true) {
		a.reply(work, topics.Reply{ID: req.ID, Status: topics.Done, Result: "blinks already", Topic: req.Topic})
		return
	}
	a.reply(work, topics.Reply{ID: req.ID, Status: topics.Accepted, Topic: req.Topic})
	a.running.Go(func() {
		defer a.blinks.Store(false)
		ctx, cancel := context.WithTimeout(work, lasts)
		defer cancel()
		done := topics.Reply{ID: req.ID, Status: topics.Done, Result: fmt.Sprintf("blinked for %v", lasts), Topic: req.Topic}
		if err := led.Blink(ctx); err != nil {
			done.Status, done.Result, done.Why = topics.Failed, "", &topics.Why{Code: topics.FaultUnknown, Text: err.Error()}
		}
		a.reply(work, done)
	})
}

// turn reboots this machine, or shuts it down. It answers before: after it
// nobody may be there to do so.
func (a *Agent) turn(work context.Context, req topics.Request) {
	if !slices.Contains(a.cfg.Allow, req.Method) {
		a.refuse(work, req, topics.FaultAccess, fmt.Sprintf("%s does not let itself be told to %s", a.cfg.Name, req.Method), fmt.Sprintf("put allow = [%q] into its domain.toml", req.Method))
		return
	}
	a.cfg.Log.Warn().Str("what", req.Method).Str("by", req.By()).Msg("this machine was told to")
	a.reply(work, topics.Reply{ID: req.ID, Status: topics.Accepted, Topic: req.Topic})
	turn := a.cfg.Turn
	if turn == nil {
		turn = host.Turn
	}
	a.running.Go(func() {
		done := topics.Reply{ID: req.ID, Status: topics.Done, Result: req.Method + " has begun", Topic: req.Topic}
		if err := turn(work, req.Method); err != nil {
			done.Status, done.Result = topics.Failed, ""
			done.Why = &topics.Why{Code: topics.FaultAccess, Text: fmt.Sprintf("cannot %s: %v", req.Method, err), Next: "run the agent as root, as its package does"}
		}
		a.reply(work, done)
	})
}
