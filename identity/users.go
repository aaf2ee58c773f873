package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"dominion/topics"
)

// users are those who log in with a password, as the file has them.
type users struct {
	Users map[string]user `json:"users"`
}

type user struct {
	Role  topics.Role `json:"role"`
	Hash  string      `json:"hash"` // see hashPassword
	Since time.Time   `json:"since"`
}

func checkUsers(u *users) error {
	if u.Users == nil {
		u.Users = map[string]user{}
	}
	for name, entry := range u.Users {
		if err := topics.CheckName(name); err != nil {
			return err
		}
		if err := checkRole(entry.Role); err != nil {
			return fmt.Errorf("user %s: %w", name, err)
		}
		if _, err := parseHash(entry.Hash); err != nil {
			return fmt.Errorf("user %s: %w", name, err)
		}
	}
	return nil
}

// roles are those that a user may have.
func roles() []topics.Role {
	return []topics.Role{topics.RoleOperator, topics.RoleHomeAssistant, topics.RoleViewer, topics.RoleNode, topics.RoleService}
}

func checkRole(role topics.Role) error {
	if slices.Contains(roles(), role) {
		return nil
	}
	return fmt.Errorf("%q is no role of a user (operator, homeassistant, viewer, node or service)", role)
}

// User is somebody, or something, that logs in with a password.
type User struct {
	Name  string
	Role  topics.Role
	Since time.Time
}

// A password's length, in bytes.
const (
	shortestPassword = 8
	longestPassword  = 256
)

// SetUser adds a user, or gives one another role and password. A user with the
// role node or service is the node or service of his name: a microdomain, say.
func (h *House) SetUser(name string, role topics.Role, password string) error {
	if err := topics.CheckName(name); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	if err := checkRole(role); err != nil {
		return err
	}
	if len(password) < shortestPassword || len(password) > longestPassword {
		return fmt.Errorf("the password of %s has %d characters (want %d to %d)", name, len(password), shortestPassword, longestPassword)
	}
	switch role {
	case topics.RoleNode:
		if err := checkNode(topics.Node(name)); err != nil {
			return err
		}
	case topics.RoleService:
		if err := topics.Service(name).Check(); err != nil {
			return err
		}
	}
	hash, err := hashPassword(password)
	if err != nil {
		return err
	}
	return h.users.change(func(u *users) error {
		for there := range u.Users {
			if there != name && strings.EqualFold(there, name) {
				return fmt.Errorf("there is a user %s already: two names may not differ in the case of letters alone", there)
			}
		}
		l, err := h.ledger.read()
		if err != nil {
			return err
		}
		for node, there := range l.Nodes {
			if strings.EqualFold(string(node), name) {
				return &NameTaken{Node: node, ID: there.ID}
			}
		}
		u.Users[name] = user{Role: role, Hash: hash, Since: time.Now().UTC().Truncate(time.Second)}
		return nil
	})
}

// ErrNoUser is wrapped by RemoveUser's error for a user that is not there.
var ErrNoUser = errors.New("there is no such user")

// RemoveUser takes a user's login from him.
func (h *House) RemoveUser(name string) error {
	return h.users.change(func(u *users) error {
		if _, ok := u.Users[name]; !ok {
			return fmt.Errorf("remove user %q: %w", name, ErrNoUser)
		}
		delete(u.Users, name)
		return nil
	})
}

// Users are those who log in with a password, by name.
func (h *House) Users() []User {
	u, err := h.users.read()
	if err != nil {
		return nil
	}
	var all []User
	for _, name := range slices.Sorted(maps.Keys(u.Users)) {
		all = append(all, User{name, u.Users[name].Role, u.Users[name].Since})
	}
	return all
}

// NewPassword makes a password that can be typed: 20 letters and digits.
func NewPassword() string {
	text := strings.ToLower(rand.Text())[:20]
	return text[:5] + "-" + text[5:10] + "-" + text[10:15] + "-" + text[15:]
}

// errLogin is all that somebody is told who could not log in.
var errLogin = errors.New("wrong user or password")

// Password tells who logs in with a password: a user, a node ("attic") or one
// of its services ("attic.lamp"). A wrong user and a wrong password are the same
// error, after the same time. At most two passwords are worked on at once; who
// would wait for longer than a few seconds is refused with an error of its own.
func (h *House) Password(name, password string) (topics.Account, error) {
	if len(password) > longestPassword || len(name) > 2*longestPassword {
		return topics.Account{}, errLogin
	}
	if account, ok, err := h.machineLogin(name, password); ok || err != nil {
		return account, err
	}
	list, err := h.users.read()
	if err != nil {
		return topics.Account{}, err
	}
	u, ok := list.Users[name]
	if !ok {
		u.Hash = h.checks.nobody // so that it takes as long
	}
	right, err := h.checks.right(u.Hash, password)
	if err != nil {
		return topics.Account{}, err
	}
	if !right || !ok {
		return topics.Account{}, errLogin
	}
	return userAccount(name, u), nil
}

func userAccount(name string, u user) topics.Account {
	return topics.Account{Name: "user " + name, Who: topics.Identity{Role: u.Role, Name: name}, Key: digest(u.Hash)}
}

// machineLogin is the login of a node or a service, if it is one and right. One
// that is wrong is left to take as long as a user's.
func (h *House) machineLogin(name, password string) (account topics.Account, ok bool, err error) {
	l, err := h.ledger.read()
	if err != nil {
		return topics.Account{}, false, err
	}
	account, want, known := l.login(name)
	if !known {
		return topics.Account{}, false, nil
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(password))) != 1 {
		return topics.Account{}, false, nil
	}
	return account, true, nil
}

// login is the account of a node's or a service's name, and its password.
func (l *ledger) login(name string) (account topics.Account, password string, known bool) {
	node, service, ofService := strings.Cut(name, ".")
	e, known := l.Nodes[topics.Node(node)]
	if !known || ofService && topics.Service(service).Check() != nil {
		return topics.Account{}, "", false
	}
	if !ofService {
		account = nodeAccount(topics.Node(node), e)
		account.Key = digest(e.Secret)
		_, password = NodeLogin(topics.Node(node), e.Secret)
		return account, password, true
	}
	_, password = ServiceLogin(topics.Node(node), e.Secret, topics.Service(service))
	return topics.Account{
		Name: "service " + name, Who: topics.Identity{Role: topics.RoleService, Name: service}, Key: digest(e.Secret),
	}, password, true
}

func digest(secret string) string {
	sum := sha256.Sum256([]byte("dominion account 1\x00" + secret))
	return hex.EncodeToString(sum[:8])
}

// Stands tells whether an account is still let in with the credential that it
// was let in with. Accounts that are not of this house (Key "") stand.
func (h *House) Stands(a topics.Account) bool {
	if a.Key == "" {
		return true
	}
	kind, name, _ := strings.Cut(a.Name, " ")
	if kind == "user" {
		list, err := h.users.read()
		if err != nil {
			return true // a damaged file throws nobody out
		}
		u, ok := list.Users[name]
		return ok && userAccount(name, u) == a
	}
	l, err := h.ledger.read()
	if err != nil {
		return true
	}
	node, _, _ := strings.Cut(name, ".")
	e, ok := l.Nodes[topics.Node(node)]
	return ok && (a.Key == digest(e.Secret) || kind == "node" && a.Key == e.Key)
}

// PasswordLine is a line of mosquitto's password file.
type PasswordLine struct{ User, Hash string }

func (p PasswordLine) String() string { return p.User + ":" + p.Hash }

// Mosquitto is everybody who may log in with a password, for a mosquitto that
// shall let them in too: users, nodes, and of each node the services.
func (h *House) Mosquitto(services []topics.Service) ([]PasswordLine, error) {
	list, err := h.users.read()
	if err != nil {
		return nil, err
	}
	l, err := h.ledger.read()
	if err != nil {
		return nil, err
	}
	var lines []PasswordLine
	for _, name := range slices.Sorted(maps.Keys(list.Users)) {
		lines = append(lines, PasswordLine{name, list.Users[name].Hash})
	}
	for _, node := range slices.Sorted(maps.Keys(l.Nodes)) {
		names := []string{string(node)}
		for _, s := range services {
			names = append(names, string(node)+"."+string(s))
		}
		for _, name := range names {
			_, password, _ := l.login(name)
			lines = append(lines, PasswordLine{name, hashMachine(password)})
		}
	}
	return lines, nil
}

// checks compares passwords with their slow hashes.
type checks struct {
	nobody string        // a hash that no password has
	turns  chan struct{} // at most two at once
	key    []byte

	mu    sync.Mutex // guards known
	known map[[32]byte]struct{}
}

func (c *checks) init() {
	c.nobody = nobodysHash()
	c.turns = make(chan struct{}, 2)
	c.key = []byte(rand.Text())
	c.known = map[[32]byte]struct{}{}
}

const mostKnown = 256

// right tells whether a password has a hash. What was right once is remembered
// under a key that exists in this process alone: a client that reconnects is
// no work.
func (c *checks) right(hash, password string) (bool, error) {
	mac := hmac.New(sha256.New, c.key)
	mac.Write([]byte(hash + "\x00" + password))
	id := [32]byte(mac.Sum(nil))
	c.mu.Lock()
	_, known := c.known[id]
	c.mu.Unlock()
	if known {
		return true, nil
	}
	if err := c.wait(); err != nil {
		return false, err
	}
	ok := verify(hash, password)
	<-c.turns
	if ok {
		c.mu.Lock()
		if len(c.known) >= mostKnown {
			clear(c.known)
		}
		c.known[id] = struct{}{}
		c.mu.Unlock()
	}
	return ok, nil
}

// patience is how long a login waits for its turn: as long as a client has to
// send its CONNECT.
const patience = 5 * time.Second

var errBusy = errors.New("too many passwords are being checked at once (it may try again)")

// wait takes one of the turns.
func (c *checks) wait() error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case c.turns <- struct{}{}:
		return nil
	case <-late.C:
		return errBusy
	}
}
