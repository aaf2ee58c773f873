package topics

import (
	"fmt"
	"strings"
)

// Oneshot is the type of a service that runs and ends, and then is done.
const Oneshot = "oneshot"

// Rules of readiness.
const (
	ReadyTCP    = "tcp"    // its port accepts a connection
	ReadyHTTP   = "http"   // its port answers GET Path with a status from 200 to 399
	ReadyFile   = "file"   // the file Path exists, and is newer than the start
	ReadyNotify = "notify" // it said READY=1 on its NOTIFY_SOCKET (sd_notify)
	ReadyTopic  = "topic"  // it published its START_ID, retained, on SERVICE_TOPIC/ready
	ReadyDelay  = "delay"  // it has lived for Delay seconds
	ReadyDone   = "done"   // it ended with exit code 0: of a oneshot, which has no other rule
)

// Readiness says when a started service is ready: By one of the Ready…
// rules. Delay and Timeout are in seconds; a Timeout of 0 is the default.
type Readiness struct {
	By      string  `json:"by"`
	Path    string  `json:"path,omitempty"` // of http: begins with /; of file: from the service's directory, or absolute
	Delay   float64 `json:"delay,omitempty"`
	Timeout float64 `json:"timeout,omitempty"`
}

// Check tells why the rule cannot be followed, or nil.
func (r Readiness) Check() error {
	switch r.By {
	case ReadyTCP, ReadyHTTP, ReadyFile, ReadyNotify, ReadyTopic, ReadyDelay, ReadyDone:
	case "":
		return missing("by")
	default:
		return &FieldError{"by", fmt.Sprintf("is %.40q (want tcp, http, file, notify, topic or delay)", r.By)}
	}
	if err := checkPath(r.By, r.Path); err != nil {
		return err
	}
	if err := checkSeconds("delay", r.Delay); err != nil {
		return err
	}
	return checkSeconds("timeout", r.Timeout)
}

// Liveness says how a ready service is judged, By one of the Ready… rules but
// delay: file asks that the file was modified since the last look, notify for
// WATCHDOG=1 and topic for its START_ID on SERVICE_TOPIC/alive since then. It
// has failed when that many looks in a row failed. Interval and Timeout are in
// seconds. Zero fields are the defaults of WithDefaults.
type Liveness struct {
	By       string  `json:"by"`
	Path     string  `json:"path,omitempty"`     // as in Readiness
	Interval float64 `json:"interval,omitempty"` // between two looks
	Timeout  float64 `json:"timeout,omitempty"`  // of one look
	Failures int     `json:"failures,omitempty"` // in a row
}

// WithDefaults is the rule with the defaults in its zero fields: every 30 s,
// answered within 5 s, three failures.
func (l Liveness) WithDefaults() Liveness {
	if l.Interval == 0 {
		l.Interval = 30
	}
	if l.Timeout == 0 {
		l.Timeout = 5
	}
	if l.Failures == 0 {
		l.Failures = 3
	}
	return l
}

// Check tells why the rule cannot be followed, or nil.
func (l Liveness) Check() error {
	switch l.By {
	case ReadyTCP, ReadyHTTP, ReadyFile, ReadyNotify, ReadyTopic:
	case "":
		return missing("by")
	default:
		return &FieldError{"by", fmt.Sprintf("is %.40q (want tcp, http, file, notify or topic)", l.By)}
	}
	if err := checkPath(l.By, l.Path); err != nil {
		return err
	}
	if err := checkPause("interval", l.Interval); err != nil {
		return err
	}
	if err := checkPause("timeout", l.Timeout); err != nil {
		return err
	}
	if l.Failures < 0 || l.Failures > 1000 {
		return &FieldError{"failures", fmt.Sprintf("is %d (want 1 to 1000)", l.Failures)}
	}
	return nil
}

// shortest is the shortest interval and timeout of a look at a service, in
// seconds; longest is the longest time that a document may speak of.
const (
	shortest = 0.1
	longest  = 366 * 24 * 3600
)

func checkSeconds(field string, length float64) error {
	if length < 0 {
		return &FieldError{field, "is negative"}
	}
	if length > longest {
		return &FieldError{field, fmt.Sprintf("is %.0f s (want at most %d, a year)", length, longest)}
	}
	return nil
}

func checkPause(field string, length float64) error {
	if length > 0 && length < shortest {
		return &FieldError{field, fmt.Sprintf("is %v s (want %v or more)", length, shortest)}
	}
	return checkSeconds(field, length)
}

// checkPath judges the path of a rule: http and file have one, others have
// none.
func checkPath(by, path string) error {
	switch {
	case len(path) > 1024:
		return &FieldError{"path", fmt.Sprintf("has %d characters (want at most 1024)", len(path))}
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return &FieldError{"path", fmt.Sprintf("is %.40q, which has a control character", path)}
	case by == ReadyHTTP && path != "" && !strings.HasPrefix(path, "/"):
		return &FieldError{"path", fmt.Sprintf("is %.40q (begin it with /)", path)}
	case by == ReadyFile && path == "":
		return &FieldError{"path", "is missing (the file to look for)"}
	case by != ReadyHTTP && by != ReadyFile && path != "":
		return &FieldError{"path", fmt.Sprintf("is %.40q, and only http and file have one", path)}
	}
	return nil
}

// Policies of restarting.
const (
	RestartAlways    = "always"     // however it ended
	RestartOnFailure = "on-failure" // unless it ended with exit code 0
	RestartNever     = "never"
)

// Restart says what becomes of a service that ended by itself. The zero
// Policy is RestartAlways, and RestartOnFailure for a oneshot. First and Cap
// are in seconds; 0 is the domain's own.
type Restart struct {
	Policy string  `json:"policy,omitempty"`
	First  float64 `json:"first,omitempty"` // the wait after the first failure; doubled by each that follows
	Cap    float64 `json:"cap,omitempty"`   // the longest wait
}

// Check tells why the policy cannot be followed, or nil.
func (r Restart) Check() error {
	switch r.Policy {
	case "", RestartAlways, RestartOnFailure, RestartNever:
	default:
		return &FieldError{"policy", fmt.Sprintf("is %.40q (want always, on-failure or never)", r.Policy)}
	}
	if err := checkSeconds("first", r.First); err != nil {
		return err
	}
	if err := checkSeconds("cap", r.Cap); err != nil {
		return err
	}
	if r.Cap != 0 && r.Cap < r.First {
		return &FieldError{"cap", fmt.Sprintf("is %v s, less than first (%v s)", r.Cap, r.First)}
	}
	return nil
}

// Ends tells whether the service is one that runs and ends.
func (w Wanted) Ends() bool { return w.Type == Oneshot || w.Schedule != "" }

// RestartPolicy is the policy that holds, one of Restart….
func (w Wanted) RestartPolicy() string {
	switch {
	case w.Restart != nil && w.Restart.Policy != "":
		return w.Restart.Policy
	case w.Ends():
		return RestartOnFailure
	}
	return RestartAlways
}

// Limits that make no sense are refused: a program needs some memory, and no
// machine of a house has that many cores.
const (
	leastMemory = 1 << 20
	mostCPU     = 1024
)

// CheckTerms tells why a service cannot be run as its type, schedule, rules,
// policy and limits say, or nil. The error is a *FieldError.
func (w Wanted) CheckTerms() error {
	if faults := w.Faults(); len(faults) > 0 {
		return faults[0]
	}
	return nil
}

// Faults are all that CheckTerms would complain of, one after the other.
func (w Wanted) Faults() []*FieldError {
	var faults []*FieldError
	fault := func(err error, within ...string) {
		if f, ok := err.(*FieldError); ok {
			faults = append(faults, &FieldError{strings.Join(append(within, f.Field), "."), f.Text})
		}
	}
	if w.Type != "" && w.Type != Oneshot {
		fault(&FieldError{"type", fmt.Sprintf("is %.40q (want oneshot, or nothing for a service that runs for ever)", w.Type)})
	}
	if w.Schedule != "" {
		if err := CheckSchedule(w.Schedule); err != nil {
			fault(&FieldError{"schedule", err.Error()})
		}
	}
	if w.Ready != nil {
		fault(w.Ready.Check(), "ready")
	}
	if w.Live != nil {
		fault(w.Live.Check(), "live")
	}
	if w.Restart != nil {
		fault(w.Restart.Check(), "restart")
	}
	if w.Memory != 0 && w.Memory < leastMemory {
		fault(&FieldError{"memory", fmt.Sprintf("is %d bytes (want 1048576, a megabyte, or more)", w.Memory)})
	}
	if !(w.CPU >= 0 && w.CPU <= mostCPU) { // nor what is no number: TOML knows that
		fault(&FieldError{"cpu", fmt.Sprintf("is %v cores (want more than 0, at most %d)", w.CPU, mostCPU)})
	}
	if len(faults) == 0 {
		fault(w.checkTogether())
	}
	return faults
}

// checkTogether refuses what each alone would be right.
func (w Wanted) checkTogether() error {
	switch {
	case w.Ends() && w.Ready != nil && w.Ready.By != ReadyDone:
		return &FieldError{"ready.by", fmt.Sprintf("is %s, and a oneshot is ready when it is done (leave ready out)", w.Ready.By)}
	case !w.Ends() && w.Ready != nil && w.Ready.By == ReadyDone:
		return &FieldError{"ready.by", "is done, which only a oneshot can be (say type = \"oneshot\")"}
	case w.Ends() && w.Live != nil:
		return &FieldError{"live", "judges services that run for ever (limit a oneshot with start_timeout)"}
	case w.Ends() && w.RestartPolicy() == RestartAlways:
		return &FieldError{"restart.policy", "is always, and a oneshot that succeeded is done (want on-failure or never; give it a schedule to run it often)"}
	}
	return nil
}

// CheckSchedule tells why text is not written as a schedule is, or nil: five
// fields (minute, hour, day of the month, month, day of the week) of digits,
// names and * , - / ?, or one of @hourly, @daily, @midnight, @weekly,
// @monthly, @yearly and @annually. Whether each field is in its range only a
// reader of schedules knows (topics/schedule).
func CheckSchedule(text string) error {
	const remedy = `write five fields, as in "30 3 * * *" for 3:30 every night, or @hourly, @daily, @weekly, @monthly, @yearly`
	if len(text) > 256 {
		return fmt.Errorf("has %d characters (want at most 256)", len(text))
	}
	if strings.HasPrefix(text, "@") {
		switch text {
		case "@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually":
			return nil
		}
		return fmt.Errorf("is %.40q (%s)", text, remedy)
	}
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return fmt.Errorf("is %.40q, which has %d fields (%s)", text, len(fields), remedy)
	}
	for _, field := range fields {
		if i := strings.IndexFunc(field, func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("*,-/?", r) }); i >= 0 {
			return fmt.Errorf("is %.40q, which has %q (%s)", text, field[i:i+1], remedy)
		}
	}
	return nil
}
