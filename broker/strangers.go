package broker

import (
	"net"
	"net/netip"
	"sync"
)

// strangers counts the connections that are not let in yet: a machine that
// opens many and says nothing keeps nobody out who comes from elsewhere, or was
// let in before. This machine itself has places of its own.
type strangers struct {
	each int // the most of one address
	most int // the most of this machine, and of all others together

	mu    sync.Mutex // guards what follows
	from  map[netip.Prefix]int
	here  int
	there int
}

func newStrangers(o Options) strangers {
	return strangers{each: o.MaxStrangers, most: max(1, o.MaxConnections/4), from: map[netip.Prefix]int{}}
}

// enter counts a connection, unless there are too many like it. left is called
// once it is let in, or has ended.
func (s *strangers) enter(a net.Addr) (left func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	address := subnet(a)
	if address.Addr().IsLoopback() {
		if s.here >= s.most {
			return nil, false
		}
		s.here++
		return sync.OnceFunc(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.here--
		}), true
	}
	if s.there >= s.most || s.from[address] >= s.each {
		return nil, false
	}
	s.there++
	s.from[address]++
	return sync.OnceFunc(func() { s.leave(address) }), true
}

func (s *strangers) leave(address netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.there--
	if s.from[address]--; s.from[address] == 0 {
		delete(s.from, address)
	}
}
