package setup

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"dominion/coordinator"
	"dominion/topics"
	"dominion/topics/terms"
)

// Directory is a service's directory as it was found.
type Directory struct {
	Path string // for people, its last element is the name that is proposed

	Makefile string   // its text, "" if there is none
	Programs []string // the texts of what else may tell what it needs
	Manifest Manifest // its service.toml
}

// Manifest is what of a service.toml is needed here. The file's own word on
// port and readiness counts when the catalogue has none.
type Manifest struct {
	Command []string
	Version string
	Port    int
	Ready   string
	Ends    bool // it is a oneshot: nothing shows that it is ready but its end

	// Outside is what runs already that it is made of, a unit, a container or a
	// process; "": it is none. Own: the house starts and stops that.
	Outside string
	Own     bool
}

// Wish is what the operator wants of an entry; what is zero is proposed.
type Wish struct {
	Name         string
	Priority     string
	Instances    int
	Traits       []string
	Dependencies []string
	Port         int
	Ready        string
}

// Proposal is an entry for the catalogue, and why it is this one.
type Proposal struct {
	Name  string
	Entry coordinator.Entry
	Found []string // what was found in the directory, a line each, for people
	Doubt []string // what the operator should look at before it is added
}

// Propose makes the entry of a service from its directory. Known are the
// services of the catalogue. The error says why the directory is none of a
// service.
func Propose(d Directory, w Wish, known []topics.Service) (Proposal, error) {
	p := Proposal{Name: w.Name, Entry: coordinator.Entry{
		Priority: w.Priority, Instances: w.Instances, Traits: w.Traits, Dependencies: w.Dependencies, Port: w.Port, Words: terms.Words{Ready: w.Ready},
	}}
	if p.Name == "" {
		p.Name = filepath.Base(d.Path)
	}
	if err := topics.Service(p.Name).Check(); err != nil {
		return Proposal{}, fmt.Errorf("%w (name it with --name; the directory on the machines bears that name then)", err)
	}
	if d.Path == "" { // there is none on this machine: its name is all that is needed
		p.found("only its name is known here")
	} else if err := p.run(d); err != nil {
		return Proposal{}, err
	}
	if p.Entry.Priority == "" {
		p.Entry.Priority = coordinator.Required
	}
	if p.Entry.Priority == coordinator.Required && p.Entry.Instances == 0 && len(p.Entry.Traits) == 0 {
		p.Entry.Instances = 1 // all machines would be a surprise
	}
	p.port(d)
	p.ready(d)
	p.needs(d, known)
	return p, nil
}

func (p *Proposal) found(format string, args ...any) {
	p.Found = append(p.Found, fmt.Sprintf(format, args...))
}

func (p *Proposal) doubt(format string, args ...any) {
	p.Doubt = append(p.Doubt, fmt.Sprintf(format, args...))
}

var (
	rule    = regexp.MustCompile(`(?m)^([A-Za-z0-9_.-]+(?:[ \t]+[A-Za-z0-9_.-]+)*)[ \t]*::?(?:[^=:]|$)`)
	include = regexp.MustCompile(`(?m)^[ \t]*[-s]?include[ \t]`)
)

// run finds how the directory is started.
func (p *Proposal) run(d Directory) error {
	if d.Manifest.Version != "" {
		p.found("version %s", d.Manifest.Version)
	}
	if d.Manifest.Outside != "" {
		p.outside(d.Manifest)
		return nil
	}
	if len(d.Manifest.Command) > 0 {
		p.found("service.toml starts %s", strings.Join(d.Manifest.Command, " "))
		return nil
	}
	if d.Makefile == "" {
		return fmt.Errorf("%s has neither a Makefile nor a service.toml with a command, so nothing says how it is started (write a Makefile with a target start, or: dominion example service > %s)",
			d.Path, filepath.Join(d.Path, "service.toml"))
	}
	targets := targetsOf(d.Makefile)
	switch {
	case slices.Contains(targets, "start"):
	case include.MatchString(d.Makefile):
		p.doubt("no target start is in the Makefile itself: is it in one that it includes?")
	default:
		return fmt.Errorf("%s has a Makefile without a target start, so nothing says how it is started (add one: start: and below it, after a tab, the program)", d.Path)
	}
	for _, target := range []string{"build", "start", "stop"} {
		if slices.Contains(targets, target) {
			p.found("make %s", target)
		}
	}
	return nil
}

// outside is for what was adopted: what is only observed is never started.
func (p *Proposal) outside(m Manifest) {
	if m.Own {
		p.found("it is %s, which the house starts and stops", m.Outside)
		return
	}
	p.found("it is %s, which the house only observes", m.Outside)
	if p.Entry.Priority == "" {
		p.Entry.Priority = coordinator.External
	}
}

func targetsOf(makefile string) []string {
	var targets []string
	for _, found := range rule.FindAllStringSubmatch(makefile, -1) {
		targets = append(targets, strings.Fields(found[1])...)
	}
	return targets
}

// makePort is a port that a Makefile has for when it is started by hand.
var makePort = regexp.MustCompile(`(?m)^[ \t]*(?:export[ \t]+)?SERVICE_PORT[ \t]*(?:\?|::?)?=[ \t]*([0-9]{1,5})[ \t]*(?:#.*)?$`)

// port is the Makefile's, if it has one. What service.toml says stays there.
func (p *Proposal) port(d Directory) {
	if p.Entry.Port != 0 {
		return
	}
	if d.Manifest.Port != 0 {
		p.found("service.toml has port %d", d.Manifest.Port)
		return
	}
	if found := makePort.FindStringSubmatch(d.Makefile); found != nil {
		if port, err := strconv.Atoi(found[1]); err == nil && port > 0 && port <= 65535 {
			p.Entry.Port = port
			p.found("its Makefile has port %d", port)
		}
	}
}

var (
	saysReady   = regexp.MustCompile(`SERVICE_TOPIC[\]"'})]*/ready`)
	usesPort    = regexp.MustCompile(`\bSERVICE_PORT\b`)
	usesService = regexp.MustCompile(`\bSERVICE_([A-Za-z0-9_]+)_(?:HOST|PORT)\b`)
)

// ready is what shows that it is ready, from what its texts use.
func (p *Proposal) ready(d Directory) {
	switch {
	case p.Entry.Ready != "", p.Entry.Priority == coordinator.External:
	case d.Manifest.Ends:
		p.found("service.toml says that it runs and ends")
	case d.Manifest.Ready != "":
		p.found("service.toml says when it is ready: %s", d.Manifest.Ready)
	case d.mentions(saysReady):
		p.Entry.Ready = topics.ReadyTopic
		p.found("it says itself when it is ready, on $SERVICE_TOPIC/ready")
	case p.Entry.Port != 0 || d.Manifest.Port != 0:
		p.Entry.Ready = topics.ReadyTCP
	case d.mentions(usesPort):
		p.Entry.Ready = topics.ReadyTCP
		p.found("it listens on $SERVICE_PORT")
	}
}

// needs are the services whose address it uses.
func (p *Proposal) needs(d Directory, known []topics.Service) {
	if len(p.Entry.Dependencies) > 0 {
		return
	}
	var used []string
	for _, text := range append([]string{d.Makefile}, d.Programs...) {
		for _, found := range usesService.FindAllStringSubmatch(text, -1) {
			used = append(used, found[1])
		}
	}
	slices.Sort(used)
	for _, variable := range slices.Compact(used) {
		i := slices.IndexFunc(known, func(s topics.Service) bool { return strings.ReplaceAll(string(s), "-", "_") == variable })
		switch {
		case i < 0:
			p.doubt("it uses SERVICE_%s_HOST or _PORT, but the house knows no service %s yet", variable, variable)
		case string(known[i]) != p.Name:
			p.Entry.Dependencies = append(p.Entry.Dependencies, string(known[i]))
			p.found("it uses the address of %s", known[i])
		}
	}
}

func (d Directory) mentions(what *regexp.Regexp) bool {
	return what.MatchString(d.Makefile) || slices.ContainsFunc(d.Programs, what.MatchString)
}

// Where says in words where and when a service of that entry runs.
func Where(e coordinator.Entry) string {
	has := ""
	switch len(e.Traits) {
	case 0:
	case 1:
		has = " that has the trait " + e.Traits[0]
	default:
		has = " that has the traits " + strings.Join(e.Traits, ", ")
	}
	on := fmt.Sprintf("on %d machines, each one", e.Instances)
	switch {
	case e.Instances == 1 || e.Instances == 0 && e.Priority != coordinator.Required:
		on = "on one machine"
	case e.Instances == 0 && has == "":
		return "on every machine"
	case e.Instances == 0:
		on = "on every machine"
	case has == "":
		on = fmt.Sprintf("on %d machines", e.Instances)
	}
	switch e.Priority {
	case coordinator.Dependency:
		return on + has + ", while another service needs it"
	case coordinator.Manual:
		return on + has + ", when somebody says so (dominion start)"
	case coordinator.External:
		return "without the house, which only watches it"
	}
	return on + has
}

// TOML is the entry as it stands in the file.
func (p Proposal) TOML() string {
	e := p.Entry
	var b strings.Builder
	fmt.Fprintf(&b, "# Runs %s.\n[services.%s]\n", Where(e), p.Name)
	text := func(key, value string) {
		if value != "" {
			b.WriteString(Text(key, value).toml())
		}
	}
	list := func(key string, values []string) {
		if len(values) > 0 {
			b.WriteString(List(key, values...).toml())
		}
	}
	number := func(key string, value int) {
		if value != 0 {
			fmt.Fprintf(&b, "%s = %d\n", key, value)
		}
	}
	text("priority", e.Priority)
	list("dependencies", e.Dependencies)
	list("traits", e.Traits)
	number("instances", e.Instances)
	number("port", e.Port)
	text("ready", e.Ready)
	return b.String()
}
