package joining

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"dominion/topics"
)

// Limits of invitations.
const (
	// MaxInvitations is how many may be open at a time, and how many a start is
	// answered for.
	MaxInvitations = 8
	// MaxTries is how many wrong tries void a code.
	MaxTries = 5
	// DefaultLife is how long a code is good when nobody said otherwise.
	DefaultLife = 15 * time.Minute
	// MaxLife is the longest that a code can be good.
	MaxLife = 7 * 24 * time.Hour
)

const (
	invitationsFile = "invitations.json"
	invitationsLock = "invitations.lock"
	remembered      = 24 * time.Hour // what has ended is listed for so long
	mostUsed        = 32             // that are kept for the machine that used them
	// clockSlack is how far the clock may have been set back since a code was made.
	clockSlack = time.Minute
)

// Invitation is a code that brings one machine in.
//
// It ends by the leader's wall clock, since two processes must agree on it. A
// clock that is set forward ends it early. One that is set back does not make
// it last longer: before the time at which it was made, it is not good either.
type Invitation struct {
	Code    Code      `json:"code"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	// Tries counts the wrong tries made while it was open; MaxTries void it.
	Tries int `json:"tries,omitempty"`
	// ID and Key (the SHA-256 of its public key, hex) are the machine that used
	// the code; only that may use it again. Empty: unused.
	ID  topics.MachineID `json:"id,omitempty"`
	Key string           `json:"key,omitempty"`
	// Node is the name it came in under, written before it is admitted. Empty: it
	// was not admitted.
	Node topics.Node `json:"node,omitempty"`
	// Used is when it was last used.
	Used time.Time `json:"used,omitzero"`
}

// State says in one word what has become of the invitation at a time: "open",
// "used", "expired", "void" (MaxTries wrong tries), "unborn" (the clock was set
// back since it was made).
func (i Invitation) State(now time.Time) string {
	switch {
	case i.Node != "":
		return "used"
	case !now.Before(i.Expires):
		return "expired"
	case i.Tries >= MaxTries:
		return "void"
	case now.Before(i.Made.Add(-clockSlack)):
		return "unborn"
	default:
		return "open"
	}
}

// answers tells whether the door still speaks with who has the code: also when
// it was used, so that the same machine can repeat it and another is told.
func (i Invitation) answers(now time.Time) bool {
	i.Node = ""
	return i.State(now) == "open"
}

// Invite makes a code that is good for a time (0: DefaultLife) and writes it to
// invitations.json in the house's directory, where the running Door finds it.
// Several processes may do so at once.
func Invite(dir string, lasts time.Duration) (Code, error) {
	if lasts == 0 {
		lasts = DefaultLife
	}
	if lasts < 0 || lasts > MaxLife {
		return "", fmt.Errorf("invite for %v: a code is good for at most %d days", lasts, MaxLife/(24*time.Hour))
	}
	now := time.Now().UTC()
	made := Invitation{Code: NewCode(), Made: now, Expires: now.Add(lasts)}
	err := invitations(dir).change(func(all []Invitation) ([]Invitation, error) {
		all = slices.DeleteFunc(all, func(i Invitation) bool { return now.Sub(i.Expires) > remembered })
		all = forgetUsed(all)
		if err := roomFor(all, now); err != nil {
			return nil, err
		}
		return append(all, made), nil
	})
	if err != nil {
		return "", err
	}
	return made.Code, nil
}

// forgetUsed keeps mostUsed of the used: those that were used last.
func forgetUsed(all []Invitation) []Invitation {
	var used []time.Time
	for _, i := range all {
		if i.Node != "" {
			used = append(used, i.Used)
		}
	}
	if len(used) <= mostUsed {
		return all
	}
	slices.SortFunc(used, time.Time.Compare)
	first := used[len(used)-mostUsed]
	return slices.DeleteFunc(all, func(i Invitation) bool { return i.Node != "" && i.Used.Before(first) })
}

func roomFor(all []Invitation, now time.Time) error {
	var open int
	first := now.Add(MaxLife)
	for _, i := range all {
		if i.State(now) == "open" {
			open++
			if i.Expires.Before(first) {
				first = i.Expires
			}
		}
	}
	if open < MaxInvitations {
		return nil
	}
	return fmt.Errorf("invite: %d codes are open, and that is the most there can be; the first ends in %v", open, first.Sub(now).Round(time.Second))
}

// Invitations lists what is in the house's directory, the oldest first, those
// included that ended in the last day.
func Invitations(dir string) ([]Invitation, error) { return invitations(dir).read() }

// invitations are those in a house's directory.
type invitations string

func (dir invitations) path() string { return filepath.Join(string(dir), invitationsFile) }

func (dir invitations) read() ([]Invitation, error) {
	content, err := readFile(dir.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, diskError{fmt.Errorf("read the invitations: %w", err)}
	}
	var all []Invitation
	if err := json.Unmarshal(content, &all); err != nil {
		return nil, diskError{fmt.Errorf("%s is damaged: %w (remove it; codes that were not used yet are lost, nothing else)", dir.path(), err)}
	}
	return all, nil
}

// change reads the invitations, changes them and writes them, with nobody in
// between; nothing when do returns an error.
func (dir invitations) change(do func([]Invitation) ([]Invitation, error)) error {
	unlock, err := lockFile(filepath.Join(string(dir), invitationsLock))
	if err != nil {
		return diskError{fmt.Errorf("change the invitations: %w", err)}
	}
	defer unlock()
	all, err := dir.read()
	if err != nil {
		return err
	}
	if all, err = do(all); err != nil {
		return err
	}
	return dir.write(all)
}

func (dir invitations) write(all []Invitation) error {
	content, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	if err := writeFile(dir.path(), append(content, '\n')); err != nil {
		return diskError{fmt.Errorf("write the invitations: %w", err)}
	}
	return nil
}

// answering are those that the door speaks with at a time: the open ones, and as
// many as there is room for of the used, those first that were used last.
func (dir invitations) answering(now time.Time) ([]Invitation, error) {
	all, err := dir.read()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(i Invitation) bool { return !i.answers(now) })
	slices.SortStableFunc(all, func(a, b Invitation) int {
		if aUsed, bUsed := a.Node != "", b.Node != ""; aUsed != bUsed {
			if aUsed {
				return 1
			}
			return -1
		}
		return b.Used.Compare(a.Used)
	})
	return all[:min(len(all), MaxInvitations)], nil
}

// try charges each of the codes with a try before it looks whether one of them
// is proven, and takes the charge back when one is: so a guess costs a try even
// at a leader that is killed, or whose disk is full, right after it looked. It
// returns the index into codes, or -1 when none is proven; left are the tries
// that the best of them still has.
func (dir invitations) try(codes []Code, now time.Time, proven func(index int) bool) (index, left int, err error) {
	index = -1
	err = dir.change(func(all []Invitation) ([]Invitation, error) {
		charged := slices.Clone(all)
		for i := range charged {
			if slices.Contains(codes, charged[i].Code) && charged[i].answers(now) {
				charged[i].Tries++
				left = max(left, MaxTries-charged[i].Tries)
			}
		}
		if err := dir.write(charged); err != nil {
			return nil, err
		}
		for i, code := range codes {
			if at := slices.IndexFunc(all, func(i Invitation) bool { return i.Code == code }); at >= 0 && all[at].answers(now) && proven(i) {
				index = i
				return all, nil
			}
		}
		return charged, nil
	})
	return index, left, err
}

// errUsed is a code that has served another machine.
type errUsed struct {
	by   topics.Node // empty: it was not admitted
	same bool        // who comes with it is of the same name and id, with another key
}

func (e *errUsed) Error() string {
	if e.by == "" {
		return "the code was used by another machine"
	}
	return fmt.Sprintf("the code was used by %s", e.by)
}

var errEnded = errors.New("the code has ended meanwhile")

// bind gives a code to the machine that proved to have it, for good, and notes
// the name that it comes in under, before it does: a code of which that could
// not be noted would bring it back after it was forgotten. It returns the node
// that the code brought in before, if any.
func (dir invitations) bind(code Code, now time.Time, node topics.Node, id topics.MachineID, key string) (before topics.Node, err error) {
	err = dir.change(func(all []Invitation) ([]Invitation, error) {
		at := slices.IndexFunc(all, func(i Invitation) bool { return i.Code == code })
		if at < 0 || !all[at].answers(now) {
			return nil, errEnded
		}
		i := &all[at]
		if i.ID == "" && i.Key == "" {
			i.ID, i.Key = id, key
		}
		if i.ID != id || i.Key != key || i.Node != "" && i.Node != node {
			return nil, &errUsed{i.Node, i.ID == id && i.Node == node}
		}
		before, i.Node, i.Used = i.Node, node, now.UTC()
		return all, nil
	})
	return before, err
}

// release notes that the machine that has a code was not admitted: it may try
// again, under another name too.
func (dir invitations) release(code Code) error {
	return dir.change(func(all []Invitation) ([]Invitation, error) {
		for i := range all {
			if all[i].Code == code {
				all[i].Node = ""
			}
		}
		return all, nil
	})
}
