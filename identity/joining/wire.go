package joining

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"dominion/topics"
)

// The messages, as docs/joining.md describes them: JSON objects, POSTed; bytes
// are base64. A message names its version; its other fields are needed, unless
// they say omitempty.

const (
	protocolName    = "dominion-join"
	protocolVersion = 1
	longestMessage  = 16 << 10
	longestName     = 200 // of a house or a machine id, bytes
	sidBytes        = 16
	nonceBytes      = 32
)

const (
	helloPath  = "/join/hello"
	startPath  = "/join/start"
	provePath  = "/join/prove"
	finishPath = "/join/finish"
	askPath    = "/join/ask"
	revealPath = "/join/reveal"
	waitPath   = "/join/wait"
	renewPath  = "/renew"
)

type version struct {
	V int `json:"v"`
}

func (v version) number() int { return v.V }

func current() version { return version{protocolVersion} }

// message is any of the messages: version is embedded in each.
type message interface{ number() int }

type helloQuestion struct{ version }

type helloAnswer struct {
	version
	Protocol string         `json:"protocol"`
	House    topics.HouseID `json:"house"`
	Name     string         `json:"name"`
}

type startQuestion struct {
	version
	Sid   []byte           `json:"sid"`
	Node  topics.Node      `json:"node"`
	ID    topics.MachineID `json:"id"`
	Share []byte           `json:"share"`
}

type startAnswer struct {
	version
	Session string   `json:"session"`
	Shares  [][]byte `json:"shares"` // one for each open invitation
}

type proveQuestion struct {
	version
	Session string   `json:"session"`
	Proofs  [][]byte `json:"proofs"` // one for each share
}

type proveAnswer struct {
	version
	Pick  int    `json:"pick"` // the index of the invitation
	Proof []byte `json:"proof"`
}

type finishQuestion struct {
	version
	Session string `json:"session"`
	Box     []byte `json:"box"` // a request
}

// boxAnswer answers finish, and wait when there is an outcome.
type boxAnswer struct {
	version
	Waiting bool   `json:"waiting,omitempty"`
	Box     []byte `json:"box,omitempty"` // an outcome
}

// request is what a newcomer asks the authority to sign.
type request struct {
	Request string `json:"request"` // PEM
}

// outcome is what comes back in a box: papers, or why not.
type outcome struct {
	Why    Why              `json:"why,omitempty"`
	Node   topics.Node      `json:"node,omitempty"`
	ID     topics.MachineID `json:"id,omitempty"`
	Papers *papers          `json:"papers,omitempty"`
}

// papers are all that makes a member.
type papers struct {
	House       topics.HouseID `json:"house"`
	Name        string         `json:"name"`
	Node        topics.Node    `json:"node"`
	Base        topics.Base    `json:"base"`
	Broker      string         `json:"broker"`
	Door        string         `json:"door"`
	Username    string         `json:"username,omitempty"`
	Password    string         `json:"password,omitempty"`
	Logins      string         `json:"logins"`
	Secret      string         `json:"secret"`
	Certificate string         `json:"certificate"` // PEM
	Authority   string         `json:"authority"`   // PEM
}

type askQuestion struct {
	version
	Node       topics.Node      `json:"node"`
	ID         topics.MachineID `json:"id"`
	Commitment []byte           `json:"commitment"`
}

type askAnswer struct {
	version
	Session string `json:"session"`
	Nonce   []byte `json:"nonce"`
	Key     []byte `json:"key"` // X25519
}

type revealQuestion struct {
	version
	Session string `json:"session"`
	Nonce   []byte `json:"nonce"`
	Key     []byte `json:"key"` // X25519
	Request string `json:"request"`
}

type revealAnswer struct {
	version
	As topics.Node `json:"as"` // Request.As
}

type waitQuestion struct {
	version
	Session string `json:"session"`
}

type renewQuestion struct {
	version
	Request string `json:"request"`
}

type renewAnswer struct {
	version
	Certificate string `json:"certificate"`
}

// refusalAnswer comes with a status that is no success.
type refusalAnswer struct {
	version
	Why  Why `json:"why"`
	Wait int `json:"wait,omitempty"` // seconds
}

var errVersion = errors.New("another version of the protocol")

// decode reads a message whole: nothing may follow it.
func decode[T message](body []byte) (T, error) {
	var m T
	if err := json.Unmarshal(body, &m); err != nil {
		return m, err
	}
	if m.number() != protocolVersion {
		return m, fmt.Errorf("%w (%d, ours is %d)", errVersion, m.number(), protocolVersion)
	}
	return m, nil
}

// checkWho tells whether a machine may call itself so.
func checkWho(node topics.Node, id topics.MachineID) error {
	if err := node.Check(); err != nil {
		return err
	}
	if id == "" {
		return errors.New("the machine's id is missing")
	}
	return checkText("the machine's id", string(id))
}

// checkText refuses what could play tricks on a screen or in a log.
func checkText(what, s string) error {
	if len(s) > longestName || !utf8.ValidString(s) {
		return fmt.Errorf("%s is longer than %d bytes, or no text", what, longestName)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%s has the character %U", what, r)
		}
	}
	return nil
}
