// Package metrics shows the figures of a leader to Prometheus.
//
// Nothing is counted here: each scrape asks whoever knows. The names follow
// Prometheus' guide: dominion_<who>_<what>_<unit>, counters with _total.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"dominion/broker"
)

// House is what is known of a house at one moment.
type House struct {
	Leading  bool           // this leader's house has a coordinator that leads
	Term     uint64         // of it
	Domains  map[string]int // how many by judgement
	Services map[string]int // how many by phase of their summaries
	Alerts   map[string]int // how many by severity
}

// Sources are whom a scrape asks. Both are called at once by several scrapes.
type Sources struct {
	Version string
	Broker  func() broker.Figures // nil: the house is on another broker
	House   func() House
}

// New makes what answers GET /metrics.
func New(s Sources) http.Handler {
	all := prometheus.NewRegistry()
	all.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(s.Version),
		houseMetrics(s.House),
	)
	if s.Broker != nil {
		all.MustRegister(brokerMetrics(s.Broker))
	}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             5 * time.Second,
		DisableCompression:  true, // it is a few KiB, mostly on this machine
	})
}

// group is metrics that one question answers: Collect asks once, so that they
// are of one moment.
type group[T any] struct {
	ask  func() T
	each []metric[T]
}

// metric is one name and what it is worth.
type metric[T any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(T) []sample
}

// sample is one line of a metric; label is the value of its label, if it has one.
type sample struct {
	value float64
	label []string
}

// Describe and Collect make a group a prometheus.Collector.
func (g group[T]) Describe(out chan<- *prometheus.Desc) {
	for _, m := range g.each {
		out <- m.desc
	}
}

// Collect asks.
func (g group[T]) Collect(out chan<- prometheus.Metric) {
	now := g.ask()
	for _, m := range g.each {
		for _, s := range m.of(now) {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, s.value, s.label...)
		}
	}
}

func one[N int | int64 | uint64 | float64](n N) []sample { return []sample{{value: float64(n)}} }

// truth is 1 or 0.
func truth(is bool) []sample {
	if is {
		return one(1)
	}
	return one(0)
}

// moment is seconds since 1970, nothing for never.
func moment(t time.Time) []sample {
	if t.IsZero() {
		return nil
	}
	return one(float64(t.UnixNano()) / 1e9)
}

// counted has a line for each label.
func counted(by map[string]int) []sample {
	var all []sample
	for label, n := range by {
		all = append(all, sample{float64(n), []string{label}})
	}
	return all
}

func (g *group[T]) gauge(name, help string, of func(T) []sample, labels ...string) {
	g.each = append(g.each, metric[T]{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue, of})
}

func (g *group[T]) counter(name, help string, of func(T) []sample) {
	g.each = append(g.each, metric[T]{prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, of})
}

func buildInfo(version string) prometheus.Collector {
	g := group[string]{ask: func() string { return version }}
	g.gauge("dominion_build_info", "1; the label is the version of the program.",
		func(version string) []sample { return []sample{{1, []string{version}}} }, "version")
	return g
}

func brokerMetrics(ask func() broker.Figures) prometheus.Collector {
	type figures = broker.Figures
	g := group[figures]{ask: ask}
	g.gauge("dominion_broker_start_time_seconds", "When the broker began, in seconds since 1970.", func(f figures) []sample { return moment(f.Started) })
	g.gauge("dominion_broker_connections", "Clients that are let in now.", func(f figures) []sample { return one(f.Connections) })
	g.gauge("dominion_broker_connections_most", "The most of them at one time since the start.", func(f figures) []sample { return one(f.ConnectionsMost) })
	g.gauge("dominion_broker_sessions", "Clients that are let in, or gone and may come back.", func(f figures) []sample { return one(f.Sessions) })
	g.gauge("dominion_broker_subscriptions", "Subscriptions of all sessions.", func(f figures) []sample { return one(f.Subscriptions) })
	g.gauge("dominion_broker_retained_messages", "Retained messages.", func(f figures) []sample { return one(f.Retained) })
	g.gauge("dominion_broker_retained_bytes", "Payloads, topics and properties of retained messages.", func(f figures) []sample { return one(f.RetainedBytes) })
	g.counter("dominion_broker_received_bytes_total", "MQTT packets that came, without TLS and WebSocket around them.", func(f figures) []sample { return one(f.BytesReceived) })
	g.counter("dominion_broker_sent_bytes_total", "MQTT packets that were sent, the same.", func(f figures) []sample { return one(f.BytesSent) })
	g.counter("dominion_broker_received_packets_total", "Packets of any type that came.", func(f figures) []sample { return one(f.PacketsReceived) })
	g.counter("dominion_broker_sent_packets_total", "Packets of any type that were sent.", func(f figures) []sample { return one(f.PacketsSent) })
	g.counter("dominion_broker_received_messages_total", "Messages that clients published.", func(f figures) []sample { return one(f.MessagesReceived) })
	g.counter("dominion_broker_sent_messages_total", "Messages that were sent, one for each subscriber.", func(f figures) []sample { return one(f.MessagesSent) })
	g.counter("dominion_broker_dropped_messages_total", "Messages for which a subscriber had no more room.", func(f figures) []sample { return one(f.Dropped) })
	g.counter("dominion_broker_accepted_connections_total", "Connections that came over listeners and had a place.", func(f figures) []sample { return one(f.Accepted) })
	g.counter("dominion_broker_turned_away_connections_total", "Connections that ended before they were let in.", func(f figures) []sample { return one(f.TurnedAway) })
	g.counter("dominion_broker_refusals_total", "What clients wanted and were not let do.", func(f figures) []sample { return one(f.Refused) })
	g.counter("dominion_broker_panics_total", "Panics, each of which ended one client's connection.", func(f figures) []sample { return one(f.Panics) })
	g.gauge("dominion_broker_store_bytes", "Size of the file of retained messages.", ofStore(func(s broker.StoreFigures) []sample { return one(s.Bytes) }))
	g.gauge("dominion_broker_store_live_bytes", "Size that it would have when compacted, about.", ofStore(func(s broker.StoreFigures) []sample { return one(s.Live) }))
	g.gauge("dominion_broker_store_waiting_messages", "Retained messages that are not on the disk yet.", ofStore(func(s broker.StoreFigures) []sample { return one(s.Waiting) }))
	g.gauge("dominion_broker_store_flush_time_seconds", "When the disk was last written, in seconds since 1970.", ofStore(func(s broker.StoreFigures) []sample { return moment(s.Flushed) }))
	g.gauge("dominion_broker_store_trouble", "1 if retained messages cannot be written to the disk.", ofStore(func(s broker.StoreFigures) []sample { return truth(s.Trouble != "") }))
	return g
}

// ofStore says nothing where there is no store.
func ofStore(of func(broker.StoreFigures) []sample) func(broker.Figures) []sample {
	return func(f broker.Figures) []sample {
		if f.Store.Path == "" {
			return nil
		}
		return of(f.Store)
	}
}

func houseMetrics(ask func() House) prometheus.Collector {
	g := group[House]{ask: ask}
	g.gauge("dominion_house_leading", "1 if a coordinator leads the house.", func(h House) []sample { return truth(h.Leading) })
	g.gauge("dominion_house_term", "Term of the coordinator that leads.", func(h House) []sample { return one(h.Term) })
	g.gauge("dominion_house_domains", "Domains, by what the coordinator makes of them.", func(h House) []sample { return counted(h.Domains) }, "judgement")
	g.gauge("dominion_house_services", "Services, by phase.", func(h House) []sample { return counted(h.Services) }, "phase")
	g.gauge("dominion_house_alerts", "Open alerts, by severity.", func(h House) []sample { return counted(h.Alerts) }, "severity")
	return g
}
