package coordinator

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"dominion/topics"
	"dominion/topics/terms"

	"github.com/blang/semver/v4"
)

// Priorities of a service.
const (
	Required   = "required"   // on every fit domain, or on Instances of them
	Dependency = "dependency" // on one fit domain while something that needs it is wanted
	Manual     = "manual"     // only when an operator says so
	External   = "external"   // a microdomain offers it; it is never started
)

// Entry is one [services.NAME] of the configuration file, as written.
type Entry struct {
	Priority     string            `toml:"priority"`
	Dependencies []string          `toml:"dependencies"`
	Traits       []string          `toml:"traits"`
	Instances    int               `toml:"instances"`
	Version      string            `toml:"version"`
	Port         int               `toml:"port"`
	Env          map[string]string `toml:"env"`
	Follows      bool              `toml:"follows"`
	terms.Words
}

// Fault is one thing wrong with a catalogue. Key is the dotted key of the
// configuration, services.lights.dependencies.
type Fault struct{ Key, Text string }

func (f Fault) Error() string { return f.Key + ": " + f.Text }

// Catalogue is the services the house knows, checked: no unknown names, no cycles.
type Catalogue struct {
	entries map[topics.Service]entry
	order   []topics.Service // dependencies first, ties by name
}

// entry is an Entry, read.
type entry struct {
	priority     string
	dependencies []dependency
	traits       []topics.Trait
	instances    int // 0: every fit domain (required), else how many
	versions     semver.Range
	rangeText    string
	wanted       topics.Wanted // what does not depend on the domain
	because      string
}

type dependency struct {
	service topics.Service
	started bool // satisfied once it is started; else once it is ready
	soft    bool // waited for only while it may still come
}

// Services are the names in the order of their dependencies, ties by name.
func (c *Catalogue) Services() []topics.Service {
	if c == nil {
		return nil
	}
	return slices.Clone(c.order)
}

// NewCatalogue reads and checks entries. It returns every fault it finds, in
// the order of their keys, and a catalogue only when there is none.
func NewCatalogue(entries map[string]Entry) (*Catalogue, []Fault) {
	c := &Catalogue{entries: map[topics.Service]entry{}}
	var faults []Fault
	lower := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		key := "services." + name
		if err := topics.Service(name).Check(); err != nil {
			faults = append(faults, Fault{key, err.Error()})
			continue
		}
		if other, ok := lower[strings.ToLower(name)]; ok {
			faults = append(faults, Fault{key, fmt.Sprintf("differs from %q only in case (choose another name)", other)})
		}
		lower[strings.ToLower(name)] = name
		e, bad := readEntry(key, entries[name])
		faults = append(faults, bad...)
		for _, d := range e.dependencies {
			if _, ok := entries[string(d.service)]; !ok {
				faults = append(faults, Fault{key + ".dependencies", unknownService(d.service, entries)})
			}
		}
		c.entries[topics.Service(name)] = e
	}
	order, cycle := sortByDependencies(c.entries)
	if cycle != nil {
		first := string(cycle[0])
		faults = append(faults, Fault{"services." + first + ".dependencies",
			"goes in a circle: " + joined(cycle, " -> ") + " -> " + first + " (take one of them out)"})
	}
	if len(faults) > 0 {
		return nil, faults
	}
	c.order = order
	return c, nil
}

func readEntry(key string, in Entry) (entry, []Fault) {
	var faults []Fault
	fault := func(field, format string, args ...any) {
		faults = append(faults, Fault{key + "." + field, fmt.Sprintf(format, args...)})
	}
	e := entry{priority: in.Priority, instances: in.Instances}
	switch in.Priority {
	case Required, Manual, External, Dependency:
	case "":
		fault("priority", "is missing (required, dependency, manual or external)")
	default:
		fault("priority", "is %q (required, dependency, manual or external)", in.Priority)
	}
	if in.Instances < 0 {
		fault("instances", "is %d (want 1 or more; leave it out for the default)", in.Instances)
	}
	if e.instances == 0 && in.Priority != Required {
		e.instances = 1
	}
	want, wrong := in.Words.Read()
	e.wanted = want
	for _, text := range in.Dependencies {
		d, err := readDependency(text)
		if err != nil {
			fault("dependencies", "%v", err)
		}
		if slices.Contains(e.wanted.Dependencies, d.service) {
			continue
		}
		e.dependencies = append(e.dependencies, d)
		e.wanted.Dependencies = append(e.wanted.Dependencies, d.service)
		if d.soft {
			e.wanted.Soft = append(e.wanted.Soft, d.service)
		}
	}
	for _, trait := range in.Traits {
		if err := topics.CheckName(trait); err != nil {
			fault("traits", "%v", err)
		}
		e.traits = append(e.traits, topics.Trait(trait))
	}
	if in.Version != "" {
		versions, err := readRange(in.Version)
		if err != nil {
			fault("version", "%v", err)
		}
		e.versions, e.rangeText = versions, in.Version
	}
	if in.Port < 0 || in.Port > 65535 {
		fault("port", "is %d (1 to 65535; leave it out and the domain finds a free one)", in.Port)
	}
	e.wanted.Port = in.Port
	for _, name := range slices.Sorted(maps.Keys(in.Env)) {
		if err := topics.CheckVariable(name, in.Env[name]); err != nil {
			fault("env."+name, "%v", err)
		}
	}
	e.wanted.Env = in.Env
	e.wanted.Follows = in.Follows
	for _, f := range wrong {
		fault(f.Key, "%s", f.Text)
	}
	e.wanted.Rev = rev(e.wanted)
	e.because = because(e)
	return e, faults
}

// readDependency reads one of a service's dependencies: its name, and the
// conditions behind it, each after a colon.
func readDependency(text string) (dependency, error) {
	name, rest, _ := strings.Cut(text, ":")
	d := dependency{service: topics.Service(name)}
	for condition := range strings.SplitSeq(rest, ":") {
		switch condition {
		case "", "ready":
		case "started":
			d.started = true
		case "soft":
			d.soft = true
		default:
			return d, fmt.Errorf("%q: condition %q is none of ready, started and soft", text, condition)
		}
	}
	return d, nil
}

// readRange reads a semver range. What parses and can match nothing is refused.
func readRange(text string) (semver.Range, error) {
	if strings.ContainsAny(text, "^~") {
		return nil, fmt.Errorf("range %q: ^ and ~ are not known (write >=1.2.0 <2.0.0)", text)
	}
	if strings.Contains(text, " - ") {
		return nil, fmt.Errorf("range %q would match nothing (write >=1.2.0 <=2.0.0)", text)
	}
	r, err := semver.ParseRange(text)
	if err != nil {
		return nil, fmt.Errorf("range %q: %v (write >=1.2.0 <2.0.0)", text, err)
	}
	return r, nil
}

func because(e entry) string {
	where := ""
	if len(e.traits) > 0 {
		where = " where trait " + joined(e.traits, ", ")
		if len(e.traits) > 1 {
			where = " where traits " + joined(e.traits, ", ")
		}
	}
	switch {
	case e.priority != Required:
		return ""
	case e.instances == 1:
		return "required" + where
	case e.instances > 1:
		return fmt.Sprintf("required on %d domains%s", e.instances, where)
	case where == "":
		return "required everywhere"
	}
	return "required" + where
}

func unknownService(name topics.Service, entries map[string]Entry) string {
	best, distance := "", 3
	for _, other := range slices.Sorted(maps.Keys(entries)) {
		if d := editDistance(strings.ToLower(string(name)), strings.ToLower(other)); d < distance {
			best, distance = other, d
		}
	}
	if best != "" {
		return fmt.Sprintf("unknown service %q (%s?)", name, best)
	}
	return fmt.Sprintf("unknown service %q (give it a [services.%s] of its own)", name, name)
}

// editDistance is the number of letters to insert, delete or replace.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}

// sortByDependencies orders services so that each comes after what it needs,
// ties by name, or returns a cycle, beginning with its smallest name.
func sortByDependencies(entries map[topics.Service]entry) (order, cycle []topics.Service) {
	const visiting, done = 1, 2
	state := map[topics.Service]int{}
	var path []topics.Service
	var visit func(name topics.Service) bool
	visit = func(name topics.Service) bool {
		switch state[name] {
		case done:
			return true
		case visiting:
			cycle = rotated(path[slices.Index(path, name):])
			return false
		}
		state[name] = visiting
		path = append(path, name)
		for _, d := range entries[name].dependencies {
			if _, known := entries[d.service]; known && !visit(d.service) {
				return false
			}
		}
		path = path[:len(path)-1]
		state[name] = done
		order = append(order, name)
		return true
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if !visit(name) {
			return nil, cycle
		}
	}
	return order, nil
}

func rotated(cycle []topics.Service) []topics.Service {
	i := slices.Index(cycle, slices.Min(cycle))
	return append(slices.Clone(cycle[i:]), cycle[:i]...)
}

func joined[S ~string](words []S, sep string) string {
	text := make([]string, len(words))
	for i, w := range words {
		text[i] = string(w)
	}
	return strings.Join(text, sep)
}
