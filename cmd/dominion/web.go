package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"dominion/broker"
)

// web is what the leader answers over HTTP beside the door: MQTT over
// WebSocket, figures for Prometheus, and whether it is well.
type web struct {
	name    string         // of the house
	broker  *broker.Server // nil: the house has its own
	origins []string       // of the pages that may open a WebSocket
	metrics http.Handler
	still   func(limit time.Duration) (loop string) // see program.Watchdog
}

// routes is what is answered over HTTP and HTTPS alike.
func (w *web) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/mqtt", readOnly(w.mqtt()))
	mux.Handle("/healthz", readOnly(http.HandlerFunc(w.health)))
	mux.Handle("/metrics", readOnly(w.guarded(w.metrics)))
	mux.Handle("/{$}", readOnly(http.HandlerFunc(w.welcome)))
	return mux
}

// readOnly lets nothing through that would change something.
func readOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "Here is something to read only.", http.StatusMethodNotAllowed)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (w *web) welcome(out http.ResponseWriter, _ *http.Request) {
	out.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(out, "This is the leader of the Dominion house %q.\nA machine joins it with a code: dominion invite here, domain join CODE there.\n", w.name)
}

func (w *web) mqtt() http.Handler {
	if w.broker != nil {
		return w.broker.WebSocket(w.origins)
	}
	return http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		http.Error(out, "This house is on a broker of its owner: ask that one for MQTT over WebSocket.", http.StatusNotFound)
	})
}

// stillAfter is how long the planner, which turns each second at the least, is
// not looked for.
const stillAfter = 15 * time.Second

// health is what /healthz says, to anybody: nothing of the house.
type health struct {
	Status string   `json:"status"`          // ok, or failing
	Why    []string `json:"why,omitempty"`   // it is failing
	Store  string   `json:"store,omitempty"` // failing: the house runs, and is kept in memory alone
}

func (w *web) health(out http.ResponseWriter, _ *http.Request) {
	h, code := health{Status: "ok"}, http.StatusOK
	if w.broker != nil && !w.broker.Serving() {
		h.Why = append(h.Why, "the broker does not serve")
	}
	if loop := w.still(stillAfter); loop != "" {
		h.Why = append(h.Why, "the "+loop+" stands still")
	}
	if len(h.Why) > 0 {
		h.Status, code = "failing", http.StatusServiceUnavailable
	}
	if w.broker != nil && w.broker.Figures().Store.Trouble != "" {
		h.Store = "failing"
	}
	out.Header().Set("Content-Type", "application/json")
	out.Header().Set("Cache-Control", "no-store")
	out.WriteHeader(code)
	_ = json.NewEncoder(out).Encode(h) // it has only text, and who went away does not read it
}

// guarded lets through who is on this machine or has a login of the house.
func (w *web) guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if w.mayRead(r) {
			h.ServeHTTP(out, r)
			return
		}
		if w.broker == nil { // whose patience with guesses is the broker's
			http.Error(out, "This is answered on the leader's own machine only.", http.StatusForbidden)
			return
		}
		out.Header().Set("WWW-Authenticate", `Basic realm="Dominion", charset="UTF-8"`)
		http.Error(out, "Log in as a user of the house: dominion user list.", http.StatusUnauthorized)
	})
}

func (w *web) mayRead(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	if !ok || w.broker == nil {
		return isLocal(r)
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	_, err = w.broker.Login(r.Context(), net.TCPAddrFromAddrPort(remote), user, password)
	return err == nil
}

// isLocal tells whether a program on this machine asks. What a proxy brings may
// come from anywhere, and so may a page in a browser here, whose host has a name
// that leads here for a moment.
func isLocal(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() || broker.Forwarded(r.Header) {
		return false
	}
	asked := r.Host
	if host, _, err := net.SplitHostPort(asked); err == nil {
		asked = host
	}
	return isLoopback(strings.Trim(asked, "[]"))
}
