package broker

import (
	"math"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// flow keeps to the Receive Maximum of a client of MQTT 5 (3.3.4): no more
// messages of QoS 1 and 2 than that are on their way to it. mochi's own count
// loses places until nothing is sent any more, and looking at it takes a read
// lock twice, which deadlocks with a publisher; so mochi is told that there is
// no limit. Who replays waits here for a place; news wait in delivery.go.
type flow struct {
	most int // no limit when 0; set before the first message

	mu    sync.Mutex          // guards out
	out   map[uint16]struct{} // packet ids that are not acknowledged
	freed chan struct{}       // has an element when there may be a place
}

// takeOver takes the limit away from mochi. It is called at CONNECT.
func (f *flow) takeOver(cl *mqtt.Client) {
	if most := cl.Properties.Props.ReceiveMaximum; cl.Properties.ProtocolVersion == 5 && most > 0 && most < math.MaxUint16 {
		f.most = int(most)
		f.out = map[uint16]struct{}{}
		f.freed = make(chan struct{}, 1)
	}
	cl.Properties.Props.ReceiveMaximum = 0
	cl.State.Inflight.ResetSendQuota(0)
}

// take waits for a place for a message.
func (f *flow) take(id uint16, closed <-chan struct{}) {
	for !f.try(id) {
		select {
		case <-f.freed:
		case <-closed:
			return
		}
	}
}

// try takes a place for a message if there is one, or the message has it already.
func (f *flow) try(id uint16) bool {
	if f.most == 0 {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.out[id]; known {
		return true
	}
	if len(f.out) >= f.most {
		return false
	}
	f.out[id] = struct{}{}
	if len(f.out) < f.most {
		f.wake() // somebody else may wait too
	}
	return true
}

// free is called when a message is acknowledged.
func (f *flow) free(id uint16) {
	if f.most == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.out, id)
	f.wake()
}

func (f *flow) wake() {
	select {
	case f.freed <- struct{}{}:
	default:
	}
}
