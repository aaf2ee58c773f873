package device

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"

	"dominion/topics"
)

// The ports that are chosen from: below the range that systems take the near
// end of connections from, so that a service finds its port again after a
// restart.
const (
	firstPort = 20000
	lastPort  = 29999
)

// ports remembers which port each service got.
type ports struct {
	path string
	mu   sync.Mutex // guards by: each start asks from a goroutine of its own
	by   map[topics.Service]int
}

func loadPorts(path string) (*ports, error) {
	p := &ports{path: path, by: map[topics.Service]int{}}
	err := readJSON(path, &p.by)
	if p.by == nil {
		p.by = map[topics.Service]int{}
	}
	return p, err
}

// errTaken is why a port cannot be had.
var errTaken = errors.New("is taken by another program")

// pick finds the port for a start: the fixed one if there is one, else the
// one of before, else a free one, which is remembered. A fixed port that is
// taken is an errTaken; when the one of before is taken, note says so.
func (p *ports) pick(name topics.Service, fixed int) (port int, note *topics.Why, err error) {
	if fixed != 0 {
		if !free(fixed) {
			return 0, nil, fmt.Errorf("port %d %w (end it, or give the service another port)", fixed, errTaken)
		}
		return fixed, nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.by[name]
	if before != 0 && free(before) {
		return before, nil, nil
	}
	port, err = p.choose()
	if err != nil {
		return 0, nil, err
	}
	if before != 0 {
		note = &topics.Why{Code: topics.PortTaken, Text: fmt.Sprintf("its port %d was taken by another program: it has %d now", before, port)}
	}
	p.by[name] = port
	if err := writeFile(p.path, mustJSON(p.by), true); err != nil {
		if p.by[name] = before; before == 0 {
			delete(p.by, name) // the next try chooses, and stores, anew
		}
		return 0, nil, fmt.Errorf("its port cannot be kept: %w", err)
	}
	return port, note, nil
}

func (p *ports) choose() (int, error) {
	used := map[int]bool{}
	for _, port := range p.by {
		used[port] = true
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if !used[port] && free(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("each port tried from %d to %d %w", firstPort, lastPort, errTaken)
}

// free tells whether a program could listen on a port. One that only another
// user may listen on is not known to be taken.
func free(port int) bool {
	for _, at := range []string{"", "127.0.0.1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(at, strconv.Itoa(port)))
		if errors.Is(err, syscall.EADDRINUSE) {
			return false
		}
		if err == nil {
			l.Close()
		}
	}
	return true
}
