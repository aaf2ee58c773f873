package device

import (
	"maps"
	"slices"
	"time"

	"dominion/topics"
)

// load reads what was stored, or what was stored before it if that cannot be
// read: a card that lost its power may lose what it wrote last.
func (a *Agent) load() {
	var stored, before memory
	err := readJSON(a.memoryPath(), &stored)
	if err == nil && stored.House != "" {
		a.memory = stored
		return
	}
	if berr := readJSON(a.memoryPath()+previous, &before); berr == nil && before.House != "" {
		a.cfg.Log.Error().AnErr("stored", err).Msg("what should run here was lost, and what should run before that is taken: the house will say the rest")
		a.memory = before
		return
	}
	if err != nil {
		a.cfg.Log.Error().Err(err).Msg("what should run here is lost: what runs is kept, and the house will say it again")
	}
}

// previous ends the name of what was stored before.
const previous = ".before"

// recall takes up what was stored.
func (a *Agent) recall() {
	a.enter(a.cfg.House)
	doc, bad, err := topics.Document{}, map[topics.Service]error(nil), error(nil)
	if len(a.memory.Document) > 0 {
		if doc, bad, err = topics.DecodeDocument(a.memory.Document); err != nil {
			a.cfg.Log.Error().Err(err).Msg("the stored document is unreadable: what runs is kept, and the house will say it again")
			a.memory.Document = nil
		} else {
			bad = withValues(&doc, bad)
		}
	}
	a.term, a.gen = doc.Term, doc.Gen
	a.adoptWanted(doc, bad, a.memory.Kept)
	for _, name := range a.memory.Known {
		a.unit(name)
	}
}

// enter makes the house that this machine has joined the one it listens to.
// What another house wanted here is forgotten; what runs is kept running until
// the new one speaks of it.
func (a *Agent) enter(house topics.HouseID) {
	before := a.memory.House
	if house == "" || house == before {
		return
	}
	if before != "" {
		a.cfg.Log.Warn().Str("house", string(house)).Str("before", string(before)).
			Msg("this machine has joined another house: what the former one wanted here is forgotten, what runs is kept")
		a.memory.Document, a.memory.Kept = nil, nil
	}
	a.memory.House = house
}

func (a *Agent) held() Held {
	return Held{House: a.memory.House, Term: a.term, Gen: a.gen, Payload: a.memory.Document}
}

// accept stores a document and then makes it what is wanted. On an error
// nothing has changed.
func (a *Agent) accept(payload []byte, j Judged) error {
	before := a.memory
	next := memory{House: or(before.House, j.Document.House), Document: payload, Kept: Keep(a.wanted, j.Document, j.Bad)}
	known := maps.Clone(a.units)
	for name := range j.Document.Services {
		known[name] = nil
	}
	for name := range j.Bad {
		if name.Check() == nil {
			known[name] = nil
		}
	}
	next.Known = slices.Sorted(maps.Keys(known))
	if before.House != "" {
		if err := writeFile(a.memoryPath()+previous, mustJSON(before), true); err != nil {
			return err
		}
	}
	if err := writeFile(a.memoryPath(), mustJSON(next), true); err != nil {
		return err
	}
	a.memory = next
	a.term, a.gen = j.Document.Term, j.Document.Gen
	a.adoptWanted(j.Document, j.Bad, next.Kept)
	a.cfg.Log.Info().Uint64("term", a.term).Uint64("gen", a.gen).Int("services", len(j.Document.Services)).Msg("desired document accepted")
	return nil
}

// adoptWanted makes a document, with what is kept beside it, what is wanted.
func (a *Agent) adoptWanted(doc topics.Document, bad map[topics.Service]error, kept map[topics.Service]topics.Wanted) {
	before := a.wanted
	a.wanted = maps.Clone(kept)
	if a.wanted == nil {
		a.wanted = map[topics.Service]topics.Wanted{}
	}
	maps.Copy(a.wanted, doc.Services)
	a.refused = map[topics.Service]*topics.Why{}
	for name, err := range bad {
		if name.Check() == nil {
			a.refused[name] = &topics.Why{Code: topics.BadValue, Text: err.Error(), Next: "dominion why " + string(name)}
			a.unit(name)
		}
	}
	for name, want := range a.wanted {
		u := a.unit(name)
		a.reckon(u, time.Now())
		if !want.Run && !waits(reasonToRest(want).Code) {
			a.forgetOver(name) // when it is wanted again, it runs again
		}
		if old, had := before[name]; !had || string(topics.Encode(old)) != string(topics.Encode(want)) {
			u.term, u.gen = a.term, a.gen
		}
	}
}

// remember stores what is wanted after units were forgotten.
func (a *Agent) remember() error {
	a.memory.Known = slices.Sorted(maps.Keys(a.units))
	return writeFile(a.memoryPath(), mustJSON(a.memory), true)
}
