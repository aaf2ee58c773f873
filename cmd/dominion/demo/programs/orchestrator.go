package programs

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"dominion/topics"

	"github.com/rs/zerolog"
)

// frames is how often the lamps are told a colour.
const frames = time.Second

// Frame is <SERVICE_TOPIC>/frame of lightOrchestrator, not retained: what the
// lamps show now, as #rrggbb.
type Frame struct {
	V      topics.V `json:"v"`
	Colour string   `json:"colour"`
}

// orchestrator is the service lightOrchestrator: it finds webServer by its
// lookup, follows it where it goes, and tells the lamps what to show.
type orchestrator struct {
	env environment
	bus Bus
	log zerolog.Logger

	target place // the first of webServer's lookup
	found  place // the last that answered
	turn   int
}

// place is where a service is found.
type place struct {
	domain topics.Node
	host   string
	port   int
}

// visit is whether a place answered.
type visit struct {
	to  place
	err error
}

func (o *orchestrator) filters() []string {
	return []string{o.env.space.Lookup(WebServer)}
}

// run looks for webServer again each second until it answers.
func (o *orchestrator) run(ctx context.Context, bus Bus) error {
	o.bus = bus
	visits := make(chan visit, 1)
	visiting, asked := false, false
	tick := time.NewTicker(frames)
	defer tick.Stop()
	for {
		if !visiting && !asked && o.target != o.found {
			visiting = true
			to := o.target
			go func() { visits <- visit{to, healthy(ctx, to)} }()
		}
		select {
		case <-ctx.Done():
			if visiting {
				<-visits
			}
			o.leave(context.WithoutCancel(ctx))
			return nil
		case v := <-visits:
			visiting = false
			if v.err != nil {
				o.log.Warn().Err(v.err).Msg("webServer does not answer, asking again")
				asked = true
				break
			}
			o.found = v.to
			o.log.Info().Str("domain", string(v.to.domain)).Msg("found webServer by lookup")
			o.tell(ctx)
		case in := <-o.bus.Inbound():
			o.hear(ctx, in)
			asked = false
		case <-tick.C:
			o.frame(ctx)
			asked = false
		}
	}
}

func (o *orchestrator) hear(ctx context.Context, in topics.Inbound) {
	switch {
	case in.Link == topics.LinkSynced:
		o.tell(ctx)
	case in.Link != topics.LinkNone || in.Message.Topic != o.env.space.Lookup(WebServer):
	default:
		lookup, err := topics.Decode[topics.Lookup](in.Message.Payload)
		if err != nil {
			return // unknown is not empty: the last good word stands
		}
		if lookup.Ready > 0 && len(lookup.Endpoints) > 0 {
			first := lookup.Endpoints[0]
			o.target = place{first.Domain, first.Host, first.Port}
		}
	}
}

// tell says whom it found, the first frame, and that it is ready: again after
// each connect, because brokers forget.
func (o *orchestrator) tell(ctx context.Context) {
	if o.found == (place{}) {
		return
	}
	found := topics.Happening{
		Text:    fmt.Sprintf("found %s on %s by lookup", WebServer, o.found.domain),
		Service: WebServer,
		Domain:  o.found.domain,
	}
	o.publish(ctx, topics.Message{Topic: o.env.topic("found"), Payload: topics.Encode(found), QoS: 1, Retained: true})
	o.frame(ctx)
	o.publish(ctx, topics.Message{Topic: o.env.topic("ready"), Payload: []byte(o.env.start), QoS: 1, Retained: true})
}

func (o *orchestrator) frame(ctx context.Context) {
	if o.found == (place{}) {
		return
	}
	frame := Frame{Colour: colour(o.turn)}
	o.turn++
	o.publish(ctx, topics.Message{Topic: o.env.topic("frame"), Payload: topics.Encode(frame)})
}

func (o *orchestrator) leave(ctx context.Context) {
	for _, name := range []string{"found", "ready"} {
		o.publish(ctx, topics.Message{Topic: o.env.topic(name), QoS: 1, Retained: true})
	}
}

// publish does not insist: all is said again after the next connect.
func (o *orchestrator) publish(ctx context.Context, m topics.Message) {
	if err := o.bus.Publish(ctx, m); err != nil {
		o.log.Debug().Err(err).Str("topic", m.Topic).Msg("not said")
	}
}

// healthy asks a webServer whether it is well.
func healthy(ctx context.Context, p place) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	url := "http://" + net.JoinHostPort(p.host, strconv.Itoa(p.port)) + "/healthcheck"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s says %s", url, response.Status)
	}
	return nil
}

// colour goes once around the colour circle in 24 turns.
func colour(turn int) string {
	channel := func(shift float64) int {
		angle := 2*math.Pi*float64(turn%24)/24 + shift
		return int(math.Round(127.5 * (1 + math.Cos(angle))))
	}
	return fmt.Sprintf("#%02x%02x%02x", channel(0), channel(-2*math.Pi/3), channel(2*math.Pi/3))
}
