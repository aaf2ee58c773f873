package homeassistant

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"dominion/topics"
)

// Home Assistant loses components when a second message for a device comes
// while it still imports the first. So changes are collected, and the messages
// of one topic keep a distance.
const (
	settle = 200 * time.Millisecond // of the house, before it is looked at
	quiet  = time.Second            // without a change, before a message is sent
	gap    = 5 * time.Second        // between two messages on one topic
	poll   = time.Second            // looking again while something may have to go
	stale  = 30 * time.Second       // of a led house, before what nobody speaks of goes
	idle   = time.Hour
	batch  = 32 // messages in one turn, before the inbound stream is read again
)

// mode is what is to be done about a discovery topic.
type mode int

const (
	leave mode = iota // nothing is known yet that could stand there
	show
	drop
)

// topic is one discovery topic of this house.
type topic struct {
	mode   mode
	device device
	want   []byte    // of show: what should stand there
	held   []byte    // what stands there, as far as it was heard or sent; nil: nothing
	shown  platforms // what Home Assistant was told of, also if the broker forgot it
	due    time.Time // a message is not sent before
	sent   time.Time // the last message
	again  bool      // to be sent though it stands there
}

// todo tells whether the topic is not as it should be.
func (t *topic) todo() bool {
	switch t.mode {
	case show:
		return t.again || !bytes.Equal(t.held, t.want)
	case drop:
		return t.held != nil
	}
	return false
}

// next is the payload to send, and whether it takes anything away.
func (t *topic) next() (payload []byte, removes bool) {
	if t.mode == drop {
		return nil, true
	}
	return t.shown.towards(t.want)
}

// stands takes over what now stands on the topic; nil: nothing.
func (t *topic) stands(payload []byte) {
	t.held = payload
	if payload == nil {
		t.shown = nil
		return
	}
	t.shown = t.shown.after(payload)
}

// when is the earliest time for the next message.
func (t *topic) when() time.Time {
	at := t.sent.Add(gap)
	if !t.again && t.due.After(at) {
		return t.due
	}
	return at
}

// publisher keeps the discovery topics as the house is. Hear folds, look
// decides, act sends.
type publisher struct {
	cfg    Config
	fold   *fold
	topics map[string]*topic // by object
	order  []string          // objects to show, parents first

	synced time.Time // the replay is over since; zero: no session
	leads  time.Time // a coordinator leads since; zero: none does
	led    bool      // one has led in this run
	lookAt time.Time // zero: no reason to look
	sendAt time.Time // zero: nothing waits for time

	// Home Assistant forgets no entity for a removal that it slept through. So
	// nothing is removed while it is known to be away.
	away   bool
	born   time.Time // its last birth that was heard
	repeat time.Time // when to send all again that it has not heard since; zero: not
}

func newPublisher(cfg Config) *publisher {
	return &publisher{cfg: cfg, fold: newFold(cfg.Space, cfg.House), topics: map[string]*topic{}}
}

func (p *publisher) topic(object string) *topic {
	t, ok := p.topics[object]
	if !ok {
		t = &topic{}
		p.topics[object] = t
	}
	return t
}

func (p *publisher) hear(in topics.Inbound, now time.Time) {
	switch in.Link {
	case topics.LinkUp:
		p.fold.began()
		p.synced, p.leads, p.away, p.repeat = time.Time{}, time.Time{}, false, time.Time{}
		for _, t := range p.topics {
			t.held, t.again = nil, false // the replay says what the broker kept
		}
	case topics.LinkSynced:
		p.synced, p.lookAt = now, now
		if !p.leads.IsZero() {
			p.leads = now // so far it was the replay that said so
		}
		for _, t := range p.topics {
			t.due = now.Add(quiet)
		}
	case topics.LinkDown:
		p.synced = time.Time{}
	case topics.LinkNone:
		p.hearMessage(in.Message, now)
	}
}

func (p *publisher) hearMessage(m topics.Message, now time.Time) {
	if m.Topic == p.cfg.Space.HABirth() {
		p.hearBirth(m, now)
		return
	}
	if object, ok := p.cfg.Space.ParseHADevice(m.Topic); ok {
		if _, ours := p.fold.parse(object); ours {
			p.hearDiscovery(object, m, now)
		}
		return
	}
	changed, err := p.fold.apply(m, now)
	if err != nil {
		// The coordinator reads the same topic and complains on the bus.
		p.cfg.Log.Debug().Err(err).Msg("unreadable message, the last good one stands")
	}
	switch leads := p.fold.leads(); {
	case !leads:
		p.leads = time.Time{}
	case p.leads.IsZero():
		p.leads, p.led = now, true
	}
	if changed {
		p.wake(now.Add(settle))
	}
}

func (p *publisher) wake(at time.Time) {
	if p.lookAt.IsZero() || at.Before(p.lookAt) {
		p.lookAt = at
	}
}

// hearBirth folds Home Assistant's birth and will. It is born some seconds
// after it has subscribed and read what is retained.
func (p *publisher) hearBirth(m topics.Message, now time.Time) {
	switch string(m.Payload) {
	case "online":
		p.away = false
		if !m.Retained {
			p.born, p.repeat = now, now.Add(time.Second+rand.N(2*time.Second))
		}
	case "offline":
		p.away, p.repeat = true, time.Time{}
	}
}

func (p *publisher) hearDiscovery(object string, m topics.Message, now time.Time) {
	t := p.topic(object)
	if bytes.Equal(t.held, m.Payload) {
		return
	}
	t.stands(nil)
	if len(m.Payload) > 0 {
		t.stands(bytes.Clone(m.Payload))
	}
	t.due = now.Add(quiet)
	if m.Retained {
		p.fold.learn(object, m.Payload)
		return
	}
	p.wake(now.Add(settle))
	if t.mode == show && t.todo() {
		p.cfg.Log.Info().Str("device", t.device.name).Bool("deleted", t.held == nil).
			Msg("changed by another in Home Assistant's discovery, is put back (disable a device there to hide it)")
	}
}

// look decides what should stand on every topic.
func (p *publisher) look(now time.Time) {
	p.lookAt = time.Time{}
	p.order = p.order[:0]
	shown := map[string]bool{}
	for _, d := range p.fold.devices(now, p.kept) {
		object := d.object(p.cfg.House)
		t := p.topic(object)
		if t.mode != show || t.device != d {
			t.mode, t.device, t.want = show, d, discovery(p.cfg, d)
			t.due = now.Add(quiet)
		}
		shown[object] = true
		p.order = append(p.order, object)
	}
	for object, t := range p.topics {
		if !shown[object] {
			p.lookAway(object, t, now)
		}
	}
	if now.Sub(p.fold.cleared) < clearGrace {
		p.wake(now.Add(poll))
	}
}

// kept tells whether a device is in Home Assistant and stays, shown or not.
func (p *publisher) kept(object string) bool {
	t := p.topics[object]
	return t != nil && t.mode != drop && t.held != nil
}

// lookAway decides about a topic of a device that cannot be shown now: it goes
// when nobody speaks of the device any more. Unknown is not empty: a clearing
// must have been heard while a coordinator led, or one must have led for a
// while after the replay without a word of the device.
func (p *publisher) lookAway(object string, t *topic, now time.Time) {
	d, _ := p.fold.parse(object)
	switch {
	case p.fold.stands(d, now):
		t.mode = leave
	case p.leads.IsZero():
		t.mode = leave
	case p.fold.meant[object] || now.Sub(p.leads) >= stale:
		if t.mode != drop {
			t.mode, t.again, t.due = drop, false, now.Add(quiet)
			p.wake(now) // what hangs below it hangs elsewhere now
		}
		delete(p.fold.meant, object)
	case t.mode != drop:
		t.mode = leave
		p.wake(now.Add(poll))
	}
}

// act sends what is due and returns for how long nothing will be.
func (p *publisher) act(ctx context.Context, bus Bus, now time.Time) time.Duration {
	if p.synced.IsZero() || !p.led {
		return idle
	}
	if !p.repeat.IsZero() && !now.Before(p.repeat) {
		p.repeat = time.Time{}
		for _, t := range p.topics {
			t.again = t.mode == show && t.sent.Before(p.born)
		}
		p.sendAt = now
	}
	if !p.lookAt.IsZero() && !now.Before(p.lookAt) {
		p.look(now)
		p.sendAt = now
	}
	if !p.sendAt.IsZero() && !now.Before(p.sendAt) {
		p.sendAt = p.send(ctx, bus, now)
	}
	wait := idle
	for _, at := range []time.Time{p.lookAt, p.sendAt, p.repeat} {
		if !at.IsZero() {
			wait = min(wait, at.Sub(now))
		}
	}
	return max(0, wait)
}

// send publishes what is due and returns when the next will be; zero when
// nothing waits for time.
func (p *publisher) send(ctx context.Context, bus Bus, now time.Time) (next time.Time) {
	later := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	sent := 0
	for _, object := range p.queue() {
		t := p.topics[object]
		switch {
		case t.mode == show && t.device.via != "" && p.topics[t.device.via].held == nil:
			continue // after its parent
		case t.mode == drop && p.leads.IsZero():
			continue // a look decides anew when one leads
		case now.Before(t.when()):
			later(t.when())
			continue
		case sent == batch:
			return now
		}
		payload, removes := t.next()
		if removes && (p.away || !p.repeat.IsZero()) {
			continue // after Home Assistant's birth
		}
		m := topics.Message{Topic: p.cfg.Space.HADevice(object), Payload: payload, QoS: 1, Retained: true}
		if err := bus.Publish(ctx, m); err != nil {
			p.cfg.Log.Debug().Err(err).Msg("discovery message kept for later")
			return now.Add(quiet)
		}
		sent++
		p.log(t, object)
		t.stands(payload)
		t.sent, t.due, t.again = now, now.Add(quiet), false
		if t.todo() {
			later(t.when())
		}
	}
	return next
}

func (p *publisher) log(t *topic, object string) {
	switch {
	case t.mode == drop:
		p.cfg.Log.Info().Str("device", object).Msg("taken out of Home Assistant")
	case t.held == nil:
		p.cfg.Log.Debug().Str("device", object).Msg("shown in Home Assistant")
	}
}

// queue are the objects that are not as they should be: parents first, then
// what goes.
func (p *publisher) queue() []string {
	var objects []string
	for _, object := range p.order {
		if p.topics[object].mode == show && p.topics[object].todo() {
			objects = append(objects, object)
		}
	}
	shown := len(objects)
	for object, t := range p.topics {
		if t.mode == drop && t.todo() {
			objects = append(objects, object)
		}
	}
	slices.Sort(objects[shown:])
	return objects
}

// standing are the topics on which something of this house stands, children first.
func (p *publisher) standing() []string {
	var objects []string
	for _, object := range slices.Sorted(maps.Keys(p.topics)) {
		if p.topics[object].held != nil {
			objects = append(objects, object)
		}
	}
	slices.SortStableFunc(objects, func(a, b string) int {
		x, _ := p.fold.parse(a)
		y, _ := p.fold.parse(b)
		return cmp.Compare(rank(x.kind), rank(y.kind))
	})
	for i, object := range objects {
		objects[i] = p.cfg.Space.HADevice(object)
	}
	return objects
}

func rank(k kind) int { return slices.Index([]kind{serviceDevice, domainDevice, houseDevice}, k) }

// platforms are the platforms of a device's components in Home Assistant, by key.
type platforms map[string]string

// read are the components of a discovery message; a gone one has a platform alone.
func read(payload []byte) (components map[string]map[string]any, ok bool) {
	var m struct {
		Components map[string]map[string]any `json:"components"`
	}
	err := json.Unmarshal(payload, &m)
	return m.Components, err == nil
}

// after are the platforms once Home Assistant has heard a message: what it
// leaves out stays.
func (p platforms) after(payload []byte) platforms {
	components, _ := read(payload)
	all := platforms{}
	maps.Copy(all, p)
	for key, c := range components {
		platform, _ := c["platform"].(string)
		if len(c) > 1 && platform != "" {
			all[key] = platform
		} else {
			delete(all, key)
		}
	}
	return all
}

// towards is the message that leads towards what should stand on a topic: a
// component that is no more, or that changed its platform, is sent with a
// platform alone once, because leaving it out leaves its entity.
func (p platforms) towards(want []byte) (payload []byte, removes bool) {
	components, ok := read(want)
	if !ok {
		return want, false
	}
	gone := map[string]component{}
	for key, platform := range p {
		if platform != components[key]["platform"] {
			gone[key] = component{Platform: platform}
		}
	}
	if len(gone) == 0 {
		return want, false
	}
	var m message
	if json.Unmarshal(want, &m) != nil {
		return want, false
	}
	maps.Copy(m.Components, gone)
	return topics.Encode(m), true
}
