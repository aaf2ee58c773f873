package main

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"dominion/discovery"
)

// homeAssistantService is what a Home Assistant announces itself as.
const homeAssistantService = "_home-assistant._tcp"

const (
	listenAround = 3 * time.Second
	knockAtMost  = time.Second
	plainPort    = "1883"
)

// neighbours is what a new house may want to know of the network it is made in.
type neighbours struct {
	brokers []neighbour // that answer
	houses  []neighbour
}

// neighbour is somebody in the local network.
type neighbour struct {
	address string // host:port
	what    string // for people
}

// lookAround listens for some seconds, and knocks where a broker may be.
func lookAround(ctx context.Context) <-chan neighbours {
	found := make(chan neighbours, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, listenAround)
		defer cancel()
		heard := hearAll(ctx, discovery.MQTTService, homeAssistantService, discovery.DominionService)
		n := meet(heard)
		n.brokers = knockAll(context.WithoutCancel(ctx), n.brokers)
		found <- n
	}()
	return found
}

// hearAll collects all who answer for one of the services, until ctx ends.
func hearAll(ctx context.Context, services ...string) []discovery.Entry {
	heard := make([][]discovery.Entry, len(services))
	var listening sync.WaitGroup
	for i, service := range services {
		listening.Go(func() {
			_, tried, _ := discovery.Find(ctx, service, func(discovery.Entry) bool { return false })
			heard[i] = tried.Heard
		})
	}
	listening.Wait()
	return slices.Concat(heard...)
}

// meet tells brokers and houses from what was heard. The broker of another
// Dominion house is none to lead on. Home Assistant does not say where its
// broker is: it is mostly beside it.
func meet(heard []discovery.Entry) neighbours {
	n := neighbours{brokers: []neighbour{{net.JoinHostPort("127.0.0.1", plainPort), "on this machine"}}}
	for _, e := range heard {
		if len(e.Addresses) == 0 {
			continue
		}
		host, port := e.Addresses[0].String(), strconv.Itoa(e.Port)
		switch {
		case e.Service == discovery.DominionService:
			n.houses = append(n.houses, neighbour{net.JoinHostPort(host, port), cmp.Or(e.Text["name"], e.Instance)})
		case e.Service == homeAssistantService:
			n.brokers = append(n.brokers, neighbour{net.JoinHostPort(host, plainPort), "Home Assistant is there"})
		case e.Text["house"] == "":
			n.brokers = append(n.brokers, neighbour{net.JoinHostPort(host, port), e.Instance})
		}
	}
	n.brokers = onlyOnce(n.brokers)
	n.houses = onlyOnce(n.houses)
	return n
}

// onlyOnce leaves out addresses that came before.
func onlyOnce(all []neighbour) []neighbour {
	var once []neighbour
	for _, n := range all {
		if !slices.ContainsFunc(once, func(o neighbour) bool { return o.address == n.address }) {
			once = append(once, n)
		}
	}
	return once
}

// knockAll keeps those where something listens.
func knockAll(ctx context.Context, all []neighbour) []neighbour {
	open := make([]bool, len(all))
	var knocking sync.WaitGroup
	for i, n := range all {
		knocking.Go(func() { open[i] = knock(ctx, n.address) })
	}
	knocking.Wait()
	var answered []neighbour
	for i, n := range all {
		if open[i] {
			answered = append(answered, n)
		}
	}
	return answered
}

// knock tells whether something listens at an address.
func knock(ctx context.Context, address string) bool {
	dialer := net.Dialer{Timeout: knockAtMost}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
