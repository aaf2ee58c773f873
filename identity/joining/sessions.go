package joining

import (
	"crypto/rand"
	"time"
)

const (
	sessionAge   = time.Minute
	mostSessions = 128 // more than what limits let begin in a sessionAge
)

// sessions are conversations that have begun, by their random names. The zero
// value has none.
type sessions[T any] struct{ of map[string]session[T] }

type session[T any] struct {
	what  T
	since time.Time
}

func newSession() string { return rand.Text() } // 130 bits

// put keeps a conversation; false: there are too many.
func (s *sessions[T]) put(name string, what T, now time.Time) bool {
	for name, there := range s.of {
		if now.Sub(there.since) > sessionAge {
			delete(s.of, name)
		}
	}
	if len(s.of) >= mostSessions {
		return false
	}
	if s.of == nil {
		s.of = make(map[string]session[T])
	}
	s.of[name] = session[T]{what, now}
	return true
}

// take takes a conversation out, so that each of its messages counts once.
func (s *sessions[T]) take(name string, now time.Time) (T, bool) {
	there, ok := s.of[name]
	delete(s.of, name)
	if !ok || now.Sub(there.since) > sessionAge {
		var none T
		return none, false
	}
	return there.what, true
}
