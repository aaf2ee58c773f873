package broker

import "slices"

// mochi makes the buffer for a packet when it has read how long that is: a
// client that announces the largest packet and sends nothing has us hold it
// until its keep-alive ends. So of a large packet mochi sees nothing before all
// of it has come, and what is held until then is what the client has sent.

// largePacket is what of a packet may be announced and not come, in bytes.
const largePacket = 64 << 10

// gathered is the beginning of a large packet that is being waited for, or what
// of it mochi has not read. It belongs to the connection's own goroutine.
type gathered struct {
	bytes []byte
}

// setAside takes the beginning of a large packet away from what was read, and
// returns how much is left for mochi.
func (g *gathered) setAside(read []byte, i *inspection) int {
	missing, come := i.missing()
	if missing <= largePacket {
		return len(read)
	}
	left := max(0, len(read)-come) // a piece of its header may be with mochi
	g.bytes = slices.Clone(read[left:])
	return left
}

// room is where the next piece of the packet goes, of which so much is missing.
func (g *gathered) room(missing int) []byte {
	g.bytes = slices.Grow(g.bytes, min(missing, busyBlock+len(g.bytes)))
	return g.bytes[len(g.bytes):min(cap(g.bytes), len(g.bytes)+missing)]
}

// hand gives mochi what it has asked for.
func (g *gathered) hand(b []byte) int {
	n := copy(b, g.bytes)
	if g.bytes = g.bytes[n:]; len(g.bytes) == 0 {
		g.bytes = nil
	}
	return n
}

// gather waits for the rest of a large packet.
func (c *conn) gather(b []byte) (int, error) {
	for {
		missing, _ := c.inspection.missing()
		if missing == 0 {
			return c.gathered.hand(b), nil
		}
		room := c.gathered.room(missing)
		n, err := c.read(room)
		if n, err = c.inspect(room[:n], err); err != nil {
			return 0, err
		}
		if c.inspection.fault != nil {
			return c.inspect(nil, nil)
		}
		c.gathered.bytes = c.gathered.bytes[:len(c.gathered.bytes)+n]
	}
}
