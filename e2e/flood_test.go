//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"dominion/discovery"
)

// packet is a message of the DNS as anybody can write one (RFC 1035 section 4).
type packet struct {
	counts [4]uint16 // questions, answers, authorities, additional
	body   []byte
}

const (
	typeA, typePTR, typeTXT, typeSRV = 1, 12, 16, 33
)

// name writes a name without compression.
func name(dotted string) []byte {
	var b []byte
	for label := range strings.SplitSeq(strings.TrimSuffix(dotted, "."), ".") {
		if label != "" {
			b = append(append(b, byte(len(label))), label...)
		}
	}
	return append(b, 0)
}

// pointer is a compressed name: what stands at an offset.
func pointer(offset int) []byte { return binary.BigEndian.AppendUint16(nil, 0xc000|uint16(offset)) }

func (p *packet) question(name []byte, kind, class uint16) {
	p.counts[0]++
	p.body = append(p.body, name...)
	p.body = binary.BigEndian.AppendUint16(p.body, kind)
	p.body = binary.BigEndian.AppendUint16(p.body, class)
}

func (p *packet) record(section int, name []byte, kind uint16, data []byte) {
	p.counts[section]++
	p.body = append(p.body, name...)
	p.body = binary.BigEndian.AppendUint16(p.body, kind)
	p.body = binary.BigEndian.AppendUint16(p.body, 1)
	p.body = binary.BigEndian.AppendUint32(p.body, 120)
	p.body = binary.BigEndian.AppendUint16(p.body, uint16(len(data)))
	p.body = append(p.body, data...)
}

func (p *packet) bytes(flags uint16) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0, 0}, flags)
	for _, count := range p.counts {
		b = binary.BigEndian.AppendUint16(b, count)
	}
	return append(b, p.body...)
}

const response = 0x8400

// service answers as a leader of any name does.
func service(instance, address string, text []byte) []byte {
	var p packet
	full := append(append([]byte{byte(len(instance))}, instance...), pointer(12)...)
	p.record(1, name(discovery.DominionService+".local"), typePTR, full)
	full = append(append([]byte{byte(len(instance))}, instance...), name(discovery.DominionService+".local")...)
	p.record(3, full, typeSRV, append([]byte{0, 0, 0, 0, 0x20, 0xfb}, name("liar.local")...))
	p.record(3, full, typeTXT, text)
	p.record(3, name("liar.local"), typeA, net.ParseIP(address).To4())
	return p.bytes(response)
}

// attacks are packets that no library should mind.
func attacks() map[string][]byte {
	own := discovery.DominionService + ".local"
	all := map[string][]byte{
		"empty":         {},
		"half a header": {0, 0, 0x84},
		"counts alone":  (&packet{counts: [4]uint16{65535, 65535, 65535, 65535}}).bytes(response),
	}
	build := func(what string, flags uint16, make func(p *packet)) {
		var p packet
		make(&p)
		all[what] = p.bytes(flags)
	}
	build("a name that points at itself", response, func(p *packet) { p.record(1, pointer(12), typePTR, pointer(12)) })
	build("a record without data", response, func(p *packet) {
		for _, kind := range []uint16{typeA, typePTR, typeTXT, typeSRV, 28, 41, 47} {
			p.record(1, name(own), kind, nil)
		}
	})
	build("known answers without data", 0, func(p *packet) {
		p.question(name(own), typePTR, 1)
		for _, kind := range []uint16{typePTR, typeA, 41} {
			p.record(1, name(own), kind, nil)
		}
	})
	build("questions of any class", 0, func(p *packet) {
		for class := range uint16(300) {
			p.question(name(own), 255, class<<7)
		}
	})
	build("2,000 questions", 0, func(p *packet) {
		p.question(name(own), typePTR, 1)
		for range 2000 {
			p.question(pointer(12), typePTR, 1)
		}
	})
	build("an update", 5<<11, func(p *packet) { p.question(name(own), 6, 1) })
	build("4,000 answers", response, func(p *packet) {
		p.record(1, name(own), typePTR, pointer(12))
		for range 4000 {
			p.record(1, pointer(12), typePTR, rootAnd(pointer(12)))
		}
	})
	build("names at the limit", response, func(p *packet) {
		long := strings.Repeat(strings.Repeat("x", 61)+".", 3) + own
		for range 200 {
			p.record(1, name(own), typePTR, name(long))
		}
	})
	all["a text of 60,000 bytes"] = service("fat", "10.77.0.66", bytes.Repeat(append([]byte{255}, bytes.Repeat([]byte{'k'}, 255)...), 230))
	all["a text of nothing"] = service("thin", "10.77.0.66", nil)
	all["a terminal's words"] = service("\x1b[2J\x00", "10.77.0.66", []byte("\x03a=\x07"))
	return all
}

func rootAnd(b []byte) []byte { return append([]byte{1, 'x'}, b...) }

// flood sends attacks, answers of hundreds of invented leaders, and both with
// bits turned, as fast as it can until ctx ends.
func flood(ctx context.Context) error {
	var sent int
	defer func() { fmt.Println(sent) }()
	conn, err := net.Dial("udp4", "224.0.0.251:5353")
	if err != nil {
		return err
	}
	defer conn.Close()
	chance := rand.New(rand.NewPCG(1, 2))
	var kinds [][]byte
	for _, attack := range attacks() {
		kinds = append(kinds, attack)
	}
	for ; ctx.Err() == nil; sent++ {
		b := kinds[chance.IntN(len(kinds))]
		if sent%2 == 0 {
			b = service(fmt.Sprintf("liar-%d", sent), "10.77.0.66", []byte("\x07house=x"))
		}
		if sent%3 == 0 && len(b) > 0 {
			b = bytes.Clone(b)
			for range 1 + chance.IntN(4) {
				b[chance.IntN(len(b))] ^= 1 << chance.IntN(8)
			}
			b = b[:1+chance.IntN(len(b))]
		}
		conn.Write(b) // a packet that is not sent is one of many
	}
	return nil
}

// TestAHostileNeighbour holds that nothing that somebody in the network sends
// stops who announces or who looks for others, or fills its memory.
func TestAHostileNeighbour(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	victim, honest, liar := l.host(1), l.host(2), l.host(3)
	victims := []*process{
		victim.mdns("advertise", string(announce(t, lonely()))),
		victim.mdns("advertise", string(announce(t, discovery.Announcement{Service: discovery.DominionService, Instance: "victim", Port: 1}))),
		victim.mdns("browse", discovery.DominionService),
	}
	honest.mdns("advertise", string(announce(t, leader(8443))))
	honest.mustFind(discovery.DominionService, "victim")
	flooding := liar.mdns("flood", "4s")
	flooding.awaitEnd(10 * time.Second)

	var list []discovery.Entry
	if said(t, victims[2], &list); len(list) < 10 || len(list) > 256 {
		t.Errorf("the watcher's list has %d entries: the flood was none, or has no bound", len(list))
	}
	t.Logf("%s packets, the list has %d entries", tail(flooding.output, 1), len(list))
	for _, p := range victims {
		if !p.alive() {
			t.Errorf("%v ended with %v:\n%s", p.cmd.Args, p.cmd.ProcessState, tail(p.output, 30))
			continue
		}
		if mb := peak(t, p); mb > 200 {
			t.Errorf("%v took %d MB", p.cmd.Args, mb)
		} else {
			t.Logf("%v took %d MB", p.cmd.Args[len(p.cmd.Args)-2:], mb)
		}
	}
	honest.mustFind(discovery.DominionService, "victim")
	victim.mustFind(discovery.DominionService, leader(8443).Instance)
}

// peak is the most memory that a process has had, in megabytes.
func peak(t testing.TB, p *process) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb / 1024
}
