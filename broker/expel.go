package broker

import (
	"time"

	"dominion/topics"
)

// expelPatience is how long Expel waits for the last connection to end.
const expelPatience = 5 * time.Second

// Expel ends the connections of the accounts for which stands says false, as
// lost ones: their wills are published. It is called after a credential was
// taken away, so that nobody comes in with it again, and returns how many it
// ended once all of them have ended, after five seconds at most. stands is
// called without a lock held.
func (s *Server) Expel(stands func(topics.Account) bool) int {
	var out []*conn
	for c, account := range s.accounts() {
		if !stands(account) {
			s.log.Info().Str("account", account.Name).Stringer("remote", c.RemoteAddr()).Msg("the account has ended, its connection is closed")
			_ = c.Close()
			out = append(out, c)
		}
	}
	patience := time.NewTimer(expelPatience)
	defer patience.Stop()
	for _, c := range out {
		select {
		case <-c.ended:
		case <-patience.C:
			s.log.Error().Msg("the connection of an account that has ended does not end")
			return len(out)
		}
	}
	return len(out)
}

// accounts are who is connected with an account. A client that is being
// recognised meanwhile is recognised again.
func (s *Server) accounts() map[*conn]topics.Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expulsions.Add(1)
	who := map[*conn]topics.Account{}
	for c := range s.conns {
		if c.account.Name != "" {
			who[c] = c.account
		}
	}
	return who
}
