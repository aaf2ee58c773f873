package broker

// Inspect is what becomes of what a client sends in pieces: how many bytes are
// handed on, and what is wrong with the next packet.
func Inspect(level byte, pieces ...[]byte) (passed int, fault error) {
	i := inspection{level: level, most: 1 << 20, begun: true}
	for _, piece := range pieces {
		good, err := i.pass(piece)
		passed += good
		if err != nil {
			return passed, err
		}
	}
	return passed, nil
}
