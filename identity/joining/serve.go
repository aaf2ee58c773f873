package joining

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"dominion/topics"
)

const (
	readWithin  = 10 * time.Second
	serveWithin = 30 * time.Second
)

// Paths are the patterns to mount the door at in an http.ServeMux.
func (d *Door) Paths() []string { return []string{"/join/", renewPath} }

// Server is an HTTP server with the bounds that the door needs against clients
// that never end a sentence; the caller gives it its Handler, TLS and errors.
func Server() *http.Server {
	return &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      serveWithin,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    longestMessage,
	}
}

// visit is who sent a message, and when it came.
type visit struct {
	address netip.Addr
	leaf    *x509.Certificate // of the client, if it showed one
	now     time.Time
	paid    *bool // it, or what began its conversation, was counted by the limits
}

func (v visit) remote() string {
	if !v.address.IsValid() {
		return "an unknown address"
	}
	return v.address.String()
}

// route answers a message.
type route func(v visit, body []byte) (any, error)

// on makes a route of a function from a message to its answer.
func on[Q message, A any](answer func(visit, Q) (A, error)) route {
	return func(v visit, body []byte) (any, error) {
		question, err := decode[Q](body)
		switch {
		case errors.Is(err, errVersion):
			return nil, &refusal{Why: OtherVersion, err: err}
		case err != nil:
			return nil, &refusal{Why: BadRequest, err: err}
		}
		return answer(v, question)
	}
}

// refusal is why a message was refused: the reason for the client, and what to
// tell the owner.
type refusal struct {
	Why  Why
	wait time.Duration
	node topics.Node // as it calls itself
	id   topics.MachineID
	text string // a sentence for the owner; made up from Why if empty
	next string
	err  error
}

func (r *refusal) Error() string {
	if r.err != nil {
		return r.err.Error()
	}
	return string(r.Why)
}

func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := visit{address: addressOf(r.RemoteAddr), now: d.o.Now(), paid: new(bool)}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		v.leaf = r.TLS.PeerCertificates[0]
	}
	answer, ok := d.routes[r.URL.Path]
	if !ok || r.Method != http.MethodPost {
		d.lost(w, r, v, ok)
		return
	}
	body, err := readBody(w, r)
	if err != nil {
		d.refuse(w, v, &refusal{Why: BadRequest, err: err})
		return
	}
	result, err := answer(v, body)
	if err != nil {
		d.refuse(w, v, asRefusal(err))
		return
	}
	reply(w, http.StatusOK, result)
}

// lost answers who is no newcomer: a browser, or who tries what there is.
func (d *Door) lost(w http.ResponseWriter, r *http.Request, v visit, here bool) {
	if err := d.let(v, "", ""); err != nil {
		d.refuse(w, v, asRefusal(err))
		return
	}
	if !here {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Allow", http.MethodPost)
	http.Error(w, "machines join here: domain join CODE", http.StatusMethodNotAllowed)
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// Not every ResponseWriter can; then the server's own timeouts must do.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readWithin))
	return io.ReadAll(http.MaxBytesReader(w, r.Body, longestMessage))
}

func addressOf(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

func asRefusal(err error) *refusal {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r
	case isDisk(err):
		return &refusal{Why: LeaderDisk, err: err}
	default:
		return &refusal{Why: LeaderFault, err: err}
	}
}

// refuse answers that a message is refused, and tells so. Each costs a try, once,
// so that nobody is refused as often as he likes.
func (d *Door) refuse(w http.ResponseWriter, v visit, r *refusal) {
	if !*v.paid {
		if err := d.let(v, r.node, r.id); err != nil {
			r = asRefusal(err)
		}
	}
	d.tellRefusal(v, r)
	seconds := int((r.wait + time.Second - 1) / time.Second)
	if seconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	reply(w, r.Why.status(), refusalAnswer{current(), r.Why, seconds})
}

func reply(w http.ResponseWriter, status int, what any) {
	body, err := json.Marshal(what)
	if err != nil {
		http.Error(w, "this answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // to who has gone
}

func (w Why) status() int {
	switch w {
	case Busy:
		return http.StatusTooManyRequests
	case BadRequest, OtherVersion:
		return http.StatusBadRequest
	case Stale:
		return http.StatusGone
	case LeaderDisk:
		return http.StatusInsufficientStorage
	case LeaderFault:
		return http.StatusInternalServerError
	default:
		return http.StatusForbidden
	}
}
