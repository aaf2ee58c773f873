package screen

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"dominion/topics"
)

// Lasting is a duration as people say it, in one unit: "4 s", "12 min",
// "5 h", "3 d". Less than nothing is said as nothing.
func Lasting(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// lasting is how long ago a stamp was, "" when there is none. Clocks of two
// machines are compared here, for people only.
func lasting(since topics.Stamp, now time.Time) string {
	t := since.Time()
	if t.IsZero() {
		return ""
	}
	return Lasting(now.Sub(t))
}

// places joins names of domains, the first few in full.
func places(where []topics.Node) string {
	const most = 3
	names := make([]string, 0, most+1)
	for i, n := range where {
		if i == most {
			names = append(names, fmt.Sprintf("+%d", len(where)-most))
			break
		}
		names = append(names, string(n))
	}
	return strings.Join(names, ", ")
}

// phase is a summary's phase, with the count of instances when there are to be several.
func phase(s topics.Summary) string {
	if s.Wanted > 1 || s.Ready > 1 {
		return fmt.Sprintf("%s %d/%d", s.Phase, s.Ready, s.Wanted)
	}
	return string(s.Phase)
}

func phaseColour(p topics.SummaryPhase) colour {
	switch p {
	case topics.SummaryReady, topics.SummaryDone:
		return green
	case topics.SummaryDegraded, topics.SummaryStarting, topics.SummaryWaiting, topics.SummaryStopping:
		return yellow
	case topics.SummaryStopped:
		return dim
	}
	return red
}

func judgementColour(j topics.JudgementState) colour {
	switch j {
	case topics.JudgedOnline:
		return green
	case topics.JudgedSuspect:
		return yellow
	case topics.JudgedStopped, topics.JudgedSleeping:
		return dim
	}
	return red
}

// address is host:port, or the host alone when there is no port.
func address(host string, port int) string {
	if port == 0 {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// ended says how a process ended.
func ended(e topics.Exit) string {
	if e.Signal != "" {
		return "ended by " + e.Signal
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// instance is a domain's report on a service, as part of a sentence:
// "running, ready, port 8080, pid 4711, for 3 h".
func instance(s topics.ServiceState, now time.Time) string {
	words := []string{string(s.Phase)}
	if s.Observed {
		words = append(words, "observed")
	}
	switch {
	case s.Ready && s.Phase != topics.PhaseDone:
		words = append(words, "ready")
	case s.Phase == topics.PhaseRunning:
		words = append(words, "not ready")
	}
	if s.Port != 0 {
		words = append(words, "port "+strconv.Itoa(s.Port))
	}
	if s.PID != 0 {
		words = append(words, "pid "+strconv.Itoa(s.PID))
	}
	if s.Version != "" {
		words = append(words, "version "+s.Version)
	}
	switch {
	case s.Restarts == 1:
		words = append(words, "restarted once")
	case s.Restarts > 1:
		words = append(words, fmt.Sprintf("restarted %d times", s.Restarts))
	}
	if next := s.NextRun.Time(); !next.IsZero() {
		words = append(words, next.Local().Format("runs next at 15:04 on Mon 2 Jan"))
	}
	if s.Exit != nil {
		words = append(words, "last "+ended(*s.Exit))
	}
	if d := lasting(s.Since, now); d != "" {
		words = append(words, "for "+d)
	}
	return clean(strings.Join(words, ", "))
}
