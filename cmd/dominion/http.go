package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"dominion/cmd/dominion/metrics"
	"dominion/cmd/program"
	"dominion/identity/joining"
)

// openHTTP binds the HTTPS port, at which machines join too, and the plain one.
func (l *leader) openHTTP() error {
	var err error
	if l.config.HTTPS != "" {
		if l.https, err = net.Listen("tcp", l.config.HTTPS); err != nil {
			return program.Fail(program.CannotRun, "listen for machines that join: %w (is another program there? choose another https)", err)
		}
	}
	if l.config.HTTP != "" {
		if l.http, err = net.Listen("tcp", l.config.HTTP); err != nil {
			return program.Fail(program.CannotRun, "listen for HTTP: %w (is another program there? choose another http)", err)
		}
		return l.tell(l.httpFile(), "http://"+l.http.Addr().String())
	}
	return nil
}

// httpFile tells other programs on this machine where plain HTTP is spoken.
func (l *leader) httpFile() string { return filepath.Join(l.data.Path, "http") }

// serveWeb answers over HTTP until ctx ends.
func (l *leader) serveWeb(ctx context.Context) error {
	if l.https == nil && l.http == nil {
		return nil
	}
	count := newCensus(l.config.space())
	figures := metrics.Sources{Version: program.Version(), House: func() metrics.House { return count.house(time.Now()) }}
	if l.broker != nil {
		figures.Broker = l.broker.Figures
	}
	w := &web{name: l.config.Name, broker: l.broker, origins: l.origins(), metrics: metrics.New(figures), still: l.watchdog.Still}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return l.takeCensus(ctx, count) })
	if l.https != nil {
		routes := w.routes()
		for _, path := range l.gate.door.Paths() {
			routes.Handle(path, l.gate.door)
		}
		secure := tls.NewListener(newBounded(l.https), l.gate.accounts.TLS(l.names))
		all.Go(func() error { return serveHTTP(ctx, secure, routes) })
		all.Go(func() error { l.gate.door.Run(ctx); return nil })
	}
	if l.http != nil {
		l.log.Info().Stringer("listener", l.http.Addr()).Msg("HTTP without TLS")
		all.Go(func() error { return serveHTTP(ctx, newBounded(l.http), w.routes()) })
	}
	return all.Wait()
}

// origins are those of the pages that may open a WebSocket: the ones that were
// named, and, where there is no certificate to tell our names from a stranger's
// that lead here, our own names.
func (l *leader) origins() []string {
	all := slices.Clone(l.config.Origins)
	if l.http == nil {
		return all
	}
	for _, name := range l.names() {
		all = append(all, "http://"+net.JoinHostPort(name, port(l.http.Addr())))
	}
	return all
}

// serveHTTP answers until ctx ends. What has become a WebSocket by then is the
// broker's.
func serveHTTP(ctx context.Context, listener net.Listener, routes http.Handler) error {
	server := joining.Server()
	server.Handler = routes
	server.ConnState = leaves
	server.ErrorLog = log.New(io.Discard, "", 0) // what strangers do to the port is no news
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve HTTP at %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		server.Close()
	}
	<-ended
	return nil
}
