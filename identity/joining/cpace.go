package joining

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"errors"

	"github.com/gtank/ristretto255"
)

// This file is CPACE-RISTR255-SHA512 of draft-irtf-cfrg-cpace-21, in the
// initiator-responder setting; numbers are its sections. Each function is
// tested with the vectors of its appendix B.3.

const (
	cpaceDSI   = "CPaceRistretto255" // 8.3
	shareBytes = 32
	proofBytes = sha512.Size
)

// cpaceSide is what one party keeps to itself during a run.
type cpaceSide struct {
	sid    []byte
	scalar *ristretto255.Scalar
	share  []byte // Ya or Yb
}

// newCPaceSide begins a run (7.2): the share is for the other side, and tells
// nothing about the password.
func newCPaceSide(password string, channel, sid []byte) cpaceSide {
	uniform := make([]byte, 64)
	rand.Read(uniform)
	return cpaceSideWith(ristretto255.NewScalar().FromUniformBytes(uniform), password, channel, sid) // 8.3, uniform sampling
}

func cpaceSideWith(scalar *ristretto255.Scalar, password string, channel, sid []byte) cpaceSide {
	share := ristretto255.NewElement().ScalarMult(scalar, cpaceGenerator(password, channel, sid))
	return cpaceSide{sid: sid, scalar: scalar, share: share.Encode(nil)}
}

// key computes the intermediate session key (7.2): the same at both sides, if
// password, channel, sid and both messages were the same. messageA and messageB
// are lvCat(Y, AD).
func (s cpaceSide) key(peerShare, messageA, messageB []byte) ([]byte, error) {
	secret, err := scalarMultVerify(s.scalar, peerShare)
	if err != nil {
		return nil, err
	}
	h := sha512.New()
	h.Write(lvCat([]byte(cpaceDSI+"_ISK"), s.sid, secret))
	h.Write(messageA)
	h.Write(messageB)
	return h.Sum(nil), nil
}

// scalarMultVerify is 8.3's scalar_mult_vfy, with an error for the neutral element.
func scalarMultVerify(scalar *ristretto255.Scalar, share []byte) ([]byte, error) {
	peer := ristretto255.NewElement()
	if err := peer.Decode(share); err != nil {
		return nil, errors.New("the share is no element of the group")
	}
	product := ristretto255.NewElement().ScalarMult(scalar, peer)
	if product.Equal(ristretto255.NewElement().Zero()) == 1 {
		return nil, errors.New("the share is the neutral element")
	}
	return product.Encode(nil), nil
}

// cpaceProof is the tag with which a party shows that it has the key, over the
// message that it sent (10.4).
func cpaceProof(sid, key, message []byte) []byte {
	h := sha512.New()
	h.Write([]byte("CPaceMac"))
	h.Write(sid)
	h.Write(key)
	mac := hmac.New(sha512.New, h.Sum(nil))
	mac.Write(message)
	return mac.Sum(nil)
}

// cpaceGenerator is 8.3's calculate_generator.
func cpaceGenerator(password string, channel, sid []byte) *ristretto255.Element {
	sum := sha512.Sum512(cpaceGeneratorString(password, channel, sid))
	return ristretto255.NewElement().FromUniformBytes(sum[:])
}

// cpaceGeneratorString is 8.1's generator_string: the zeros fill the first
// block of the hash, so that its time does not tell the password's length.
func cpaceGeneratorString(password string, channel, sid []byte) []byte {
	head := lvCat([]byte(cpaceDSI), []byte(password))
	zeros := make([]byte, max(0, sha512.BlockSize-1-len(head)))
	return append(head, lvCat(zeros, channel, sid)...)
}

// lvCat puts each part's length (LEB128) before it (A.1), so that no two lists
// of parts look alike.
func lvCat(parts ...[]byte) []byte {
	var all []byte
	for _, part := range parts {
		all = binary.AppendUvarint(all, uint64(len(part)))
		all = append(all, part...)
	}
	return all
}
