package joining

import (
	"time"

	"github.com/gtank/ristretto255"

	"dominion/topics"
)

// What the tests of the draft's vectors and the codes need to see.

func LVCat(parts ...[]byte) []byte { return lvCat(parts...) }

func CPaceGeneratorString(password string, channel, sid []byte) []byte {
	return cpaceGeneratorString(password, channel, sid)
}

func CPaceGenerator(password string, channel, sid []byte) []byte {
	return cpaceGenerator(password, channel, sid).Encode(nil)
}

// CPaceRun is one side's run with a given scalar (little endian).
func CPaceRun(scalar []byte, password string, channel, sid []byte) (share []byte, key func(peer, messageA, messageB []byte) ([]byte, error), err error) {
	s := ristretto255.NewScalar()
	if err := s.Decode(scalar); err != nil {
		return nil, nil, err
	}
	side := cpaceSideWith(s, password, channel, sid)
	return side.share, side.key, nil
}

// Guess is a run of who thinks that a code is this one: its share, and its proof
// that would go with a share that was sent.
func Guess(scalar []byte, code Code, o Options, house topics.HouseID, name string, sid []byte) (share []byte, proof func(sent []byte, session string, index int, theirs []byte) []byte, err error) {
	share, key, err := CPaceRun(scalar, string(code), channel(o.Node, o.ID, house, name), sid)
	return share, func(sent []byte, session string, index int, theirs []byte) []byte {
		own := messageOf(sent, nil)
		k, err := key(theirs, own, messageOf(theirs, associatedWith(session, index)))
		if err != nil {
			return nil
		}
		return cpaceProof(sid, k, own)
	}, err
}

func ScalarMultVerify(scalar, share []byte) ([]byte, error) {
	s := ristretto255.NewScalar()
	if err := s.Decode(scalar); err != nil {
		return nil, err
	}
	return scalarMultVerify(s, share)
}

func WordsOf(transcript []byte) string { return wordsOf(transcript) }

const WordList = wordList

// Impatient asks the leader more often than a machine does.
func Impatient(o Options) Options {
	o.poll = 10 * time.Millisecond
	return o
}
