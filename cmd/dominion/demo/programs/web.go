package programs

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"dominion/topics"
	"dominion/topics/house"

	"github.com/rs/zerolog"
)

//go:embed page.html
var page string

// web is the service webServer: a page of the house as the bus tells it, and
// /healthcheck.
type web struct {
	env environment
	log zerolog.Logger
}

func (w *web) filters() []string {
	return []string{
		strings.TrimSuffix(w.env.space.Summary("x"), "x") + "+",
		strings.TrimSuffix(w.env.space.Lookup("x"), "x") + "+",
	}
}

// shown is what the page shows.
type shown struct {
	Domain   topics.Node
	Services []shownService
}

type shownService struct {
	topics.Summary
	Address string
}

func (w *web) run(ctx context.Context, bus Bus) error {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(w.env.port)))
	if err != nil {
		return fmt.Errorf("listen for the page: %w", err)
	}
	looks := make(chan chan<- shown) // each is answered by the loop below, which owns the house
	server := &http.Server{Handler: w.handler(looks), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	w.log.Info().Str("address", listener.Addr().String()).Msg("serves the house's page")
	view := house.New(w.env.space)
	for {
		select {
		case <-ctx.Done():
			err := server.Close()
			if served := <-served; !errors.Is(served, http.ErrServerClosed) {
				err = errors.Join(err, served)
			}
			return err
		case err := <-served:
			return fmt.Errorf("serve the page: %w", err)
		case in := <-bus.Inbound():
			if in.Link == topics.LinkNone {
				_ = view.Apply(in.Message, time.Now()) // the last good word stands
			}
		case look := <-looks:
			look <- w.show(view, time.Now())
		}
	}
}

func (w *web) show(view *house.House, now time.Time) shown {
	s := shown{Domain: w.env.domain}
	summaries, lookups := view.Summaries(now), view.Lookups(now)
	for _, name := range slices.Sorted(maps.Keys(summaries)) {
		line := shownService{Summary: summaries[name]}
		if l, ok := lookups[name]; ok && l.Ready > 0 && l.Port != 0 {
			line.Address = net.JoinHostPort(l.Host, strconv.Itoa(l.Port))
		}
		s.Services = append(s.Services, line)
	}
	return s
}

func (w *web) handler(looks chan<- chan<- shown) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthcheck", func(out http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(out, "Healthy!\n")
	})
	layout := template.Must(template.New("page").Parse(page))
	mux.HandleFunc("GET /{$}", func(out http.ResponseWriter, r *http.Request) {
		answer := make(chan shown, 1)
		select {
		case looks <- answer:
		case <-r.Context().Done():
			return
		}
		if err := layout.Execute(out, <-answer); err != nil {
			w.log.Debug().Err(err).Msg("page not sent whole")
		}
	})
	return mux
}
