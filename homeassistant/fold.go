package homeassistant

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"dominion/topics"
	"dominion/topics/house"
)

// fold is what the bus says, as far as Home Assistant is shown it. The house
// is of one session; the rest outlives sessions, because unknown is not empty.
type fold struct {
	space topics.Space
	id    topics.HouseID
	house *house.House

	leader   topics.Info // zero Kind: not heard yet
	asking   string      // what the house's device has of it, as of when a coordinator led last
	infos    map[topics.Node]topics.Info
	offered  map[topics.Node]readings
	services map[topics.Service]placed
	// meant has the services and domains whose summary or judgement was
	// cleared while a coordinator led, by discovery object.
	meant   map[string]bool
	cleared time.Time // the last such clearing, meant or not; it counts after clearGrace
}

// clearGrace is longer than house.House lets what was cleared stand.
const clearGrace = 6 * time.Second

// placed is what was last known of a service's place and version. A service
// that runs nowhere keeps both: switching it off and on changes no message.
type placed struct {
	known   bool        // a place was heard
	on      topics.Node // the one domain that runs it; "" for several
	version string
}

func newFold(space topics.Space, id topics.HouseID) *fold {
	return &fold{
		space: space, id: id,
		house:    house.New(space),
		infos:    map[topics.Node]topics.Info{},
		offered:  map[topics.Node]readings{},
		services: map[topics.Service]placed{},
		meant:    map[string]bool{},
	}
}

// began starts a new session: the replay says anew what there is.
func (f *fold) began() {
	f.house = house.New(f.space)
	f.meant = map[string]bool{}
}

// leads tells whether a coordinator of this house leads.
func (f *fold) leads() bool {
	if !f.house.Leads() {
		return false
	}
	theirs := f.house.Leader().Presence.House
	return theirs == "" || theirs == f.id
}

// apply folds one message. It tells whether what is shown may have changed.
func (f *fold) apply(m topics.Message, now time.Time) (changed bool, err error) {
	a, err := f.space.Parse(m.Topic)
	if err != nil || a.Class != topics.State {
		return false, nil // not of a node, or its coordinator's to complain about
	}
	object, shown := f.shows(a)
	if !shown {
		return false, nil
	}
	if err := f.house.Apply(m, now); err != nil {
		return false, err
	}
	delete(f.meant, object)
	if len(m.Payload) == 0 && object != "" {
		f.meant[object], f.cleared = true, now
	}
	if !f.leads() {
		clear(f.meant) // who takes over says anew what there is
	}
	return f.remember(a, now), nil
}

// shows tells whether the topic bears on what is shown, and whose discovery
// object ends with it.
func (f *fold) shows(a topics.Address) (object string, ok bool) {
	switch {
	case a.Node == topics.Coordinator && a.Kind == "summary" && a.Subject != "":
		return f.service(topics.Service(a.Subject)).object(f.id), true
	case a.Node == topics.Coordinator && a.Kind == "domain" && a.Subject != "":
		return f.domain(topics.Node(a.Subject)).object(f.id), true
	case a.Node == topics.Coordinator && a.Kind == "alert" && a.Subject != "":
		return "", true
	case a.Subject != "":
		return "", false
	case a.Node == topics.Coordinator:
		return "", a.Kind == "presence" || a.Kind == "info"
	default:
		return "", a.Kind == "info" || a.Kind == "host"
	}
}

func (f *fold) remember(a topics.Address, now time.Time) (changed bool) {
	var n house.Node // a node of which the last word was cleared is gone
	if known := f.house.Node(a.Node); known != nil {
		n = *known
	}
	asked := f.asking
	if f.leads() {
		f.asking = asking(f.house.Alerts(now))
	}
	switch a.Kind {
	case "alert":
		return f.asking != asked
	case "info":
		switch info := n.Info; {
		case info.Kind == "":
			return false // cleared: what was known of it stands
		case a.Node == topics.Coordinator:
			f.leader = info
		default:
			f.infos[a.Node] = info
		}
	case "host":
		before := f.offered[a.Node]
		f.offered[a.Node] |= seen(n.Host)
		return f.offered[a.Node] != before
	case "summary":
		name := topics.Service(a.Subject)
		s, ok := f.house.Summary(name, now)
		if !ok {
			break
		}
		p := f.services[name]
		if len(s.Where) > 0 {
			p.known, p.on = true, ""
		}
		if len(s.Where) == 1 {
			p.on = s.Where[0]
		}
		p.version = cmp.Or(s.Version, p.version)
		f.services[name] = p
	}
	return true
}

// learn takes from a discovery message of before what only that still knows:
// the readings once offered, a service's last place and version.
func (f *fold) learn(object string, payload []byte) {
	var was message
	if json.Unmarshal(payload, &was) != nil {
		return
	}
	d, ok := f.parse(object)
	if !ok {
		return
	}
	switch d.kind {
	case domainDevice:
		node := topics.Node(d.name)
		for _, r := range allReadings() {
			if c, ok := was.Components[r.key]; ok && c.UniqueID != "" {
				f.offered[node] |= r.bit
			}
		}
	case serviceDevice:
		name := topics.Service(d.name)
		p := f.services[name]
		p.version = cmp.Or(p.version, was.Device.Version)
		if via, ok := f.parse(was.Device.Via); ok && !p.known {
			p.known, p.on = true, topics.Node(via.name)
		}
		f.services[name] = p
	}
}

// parse reads a discovery object of this house; others' are not ok.
func (f *fold) parse(object string) (device, bool) {
	rest, ok := strings.CutPrefix(object, string(f.id)+"_")
	if !ok {
		return device{}, false
	}
	if rest == string(houseDevice) {
		return device{kind: houseDevice}, true
	}
	k, name, _ := strings.Cut(rest, "_")
	d := device{kind: kind(k), name: name}
	known := d.kind == domainDevice || d.kind == serviceDevice
	return d, known && topics.CheckName(name) == nil
}

func (f *fold) domain(n topics.Node) device     { return device{kind: domainDevice, name: string(n)} }
func (f *fold) service(s topics.Service) device { return device{kind: serviceDevice, name: string(s)} }

// stands tells whether the coordinator still speaks of a device.
func (f *fold) stands(d device, now time.Time) bool {
	switch d.kind {
	case domainDevice:
		_, ok := f.house.Judgement(topics.Node(d.name), now)
		return ok
	case serviceDevice:
		_, ok := f.house.Summary(topics.Service(d.name), now)
		return ok
	}
	return true
}

// devices are all that can be shown now, parents first: the house once its
// coordinator said who it is, every judged domain whose info is known, every
// summarised service. A service hangs below the one domain that runs it, if
// that is shown or its device is kept, and else below the house.
func (f *fold) devices(now time.Time, kept func(object string) bool) []device {
	if f.leader.Kind == "" {
		return nil
	}
	top := device{kind: houseDevice, name: cmp.Or(f.leader.Name, "Dominion"), version: f.leader.Version, asking: f.asking}
	all := []device{top}
	shown := map[topics.Node]bool{}
	judged := f.house.Judgements(now)
	for _, n := range slices.Sorted(maps.Keys(judged)) {
		info := f.infos[n]
		if info.Kind != topics.KindDomain && info.Kind != topics.KindMicro {
			continue
		}
		d := f.domain(n)
		d.model, d.version, d.readings = model(info), info.Version, f.offered[n]
		d.blinks = slices.Contains(info.Methods, "identify")
		d.via = top.object(f.id)
		shown[n] = true
		all = append(all, d)
	}
	summaries := f.house.Summaries(now)
	for _, s := range slices.Sorted(maps.Keys(summaries)) {
		p := f.services[s]
		d := f.service(s)
		d.observed = summaries[s].Observed
		d.version, d.via = p.version, top.object(f.id)
		if on := f.domain(p.on).object(f.id); p.on != "" && (shown[p.on] || kept(on)) {
			d.via = on
		}
		all = append(all, d)
	}
	return all
}

// asking are the machines that ask to join the house: each has an alert
// join-<node>. A name too long for that is only in what the alert is about.
func asking(alerts map[string]topics.Alert) string {
	var nodes []string
	for id, a := range alerts {
		name, joins := strings.CutPrefix(id, "join-")
		if joins && topics.Node(cmp.Or(a.About, name)).Check() == nil {
			nodes = append(nodes, cmp.Or(a.About, name))
		}
	}
	slices.Sort(nodes)
	return strings.Join(slices.Compact(nodes), " ")
}

func model(i topics.Info) string {
	switch {
	case i.Model != "":
		return i.Model
	case i.OS != "" || i.Arch != "":
		return strings.TrimSpace(i.OS + " " + i.Arch)
	case i.Kind == topics.KindMicro:
		return "Microdomain"
	}
	return "Domain"
}
