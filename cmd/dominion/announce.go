package main

import (
	"context"
	"net"
	"net/url"
	"strings"

	"dominion/discovery"
	"dominion/topics"
)

// announce tells the local network by mDNS where the house is, as soon as that
// has an id, and as long as other machines can reach it at all.
func (l *leader) announce(ctx context.Context) error {
	select {
	case <-l.known:
	case <-ctx.Done():
		return nil
	}
	return discovery.Advertise(ctx, l.component("discovery"), l.announcements)
}

// announcements are what can be found of this leader. Until it knows which
// house it leads there is nothing to find.
func (l *leader) announcements() []discovery.Announcement {
	house, _ := l.house.Load().(topics.HouseID)
	if house == "" {
		return nil
	}
	instance := "dominion-" + strings.ToLower(string(house))
	broker, open := bare(l.url), true
	if l.broker != nil {
		broker, open = l.lanURL()
	} else if u, err := url.Parse(broker); err != nil || isLoopback(u.Hostname()) {
		open = false
	}
	text := map[string]string{"v": "1", "house": string(house), "name": l.config.Name, "base": string(l.config.Base)}
	at := 0
	if open {
		text["url"] = broker
		at = number(portOfURL(broker))
	}
	if l.https != nil && !isLoopback(hostOf(l.https.Addr())) {
		at = number(port(l.https.Addr()))
		text["join"] = port(l.https.Addr())
	}
	if at == 0 {
		return nil // nobody else reaches anything of it
	}
	all := []discovery.Announcement{{Service: discovery.DominionService, Instance: instance, Port: at, Text: text}}
	if l.broker == nil {
		return all
	}
	for service, addrs := range map[string][]net.Addr{discovery.SecureMQTTService: l.broker.TLSAddrs(), discovery.MQTTService: l.broker.Addrs()} {
		for _, a := range addrs {
			if !isLoopback(hostOf(a)) {
				all = append(all, discovery.Announcement{Service: service, Instance: instance, Port: number(port(a)), Text: map[string]string{"house": string(house)}})
				break
			}
		}
	}
	return all
}
