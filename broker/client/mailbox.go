package client

import (
	"sync"

	"dominion/topics"
)

// letter is a message from the broker and how to acknowledge it.
type letter struct {
	message topics.Message
	ack     func()
}

// mailbox is where the network library's router leaves what it read. It never
// makes the router wait: a slow reader must not cost the keep-alive.
type mailbox struct {
	mu    sync.Mutex // guards mail, bytes and full: the router puts, Run takes
	mail  []letter
	bytes int
	full  bool

	limit int
	wake  chan struct{} // holds one token when there is something to take
}

func newMailbox(limit int) *mailbox {
	return &mailbox{limit: limit, wake: make(chan struct{}, 1)}
}

// cost is what a waiting message is reckoned at, in bytes.
func cost(m topics.Message) int { return len(m.Topic) + len(m.Payload) + 128 }

func (b *mailbox) put(l letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes += cost(l.message); b.bytes > b.limit {
		b.full, b.mail = true, nil
	}
	if !b.full {
		b.mail = append(b.mail, l)
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take empties the box; full tells that mail was lost.
func (b *mailbox) take() (mail []letter, full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	mail = b.mail
	if !b.full {
		b.mail, b.bytes = nil, 0
	}
	return mail, b.full
}
