package metrics_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"dominion/broker"
	"dominion/cmd/dominion/metrics"
)

func scrape(t *testing.T, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, _ := io.ReadAll(w.Body)
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Fatalf("status %d, %s:\n%s", w.Code, w.Header().Get("Content-Type"), body)
	}
	return string(body)
}

func figures() broker.Figures {
	return broker.Figures{
		Started: time.Unix(1000, 0), Connections: 1, ConnectionsMost: 2, Sessions: 3, Subscriptions: 4, Retained: 5, RetainedBytes: 6,
		BytesReceived: 7, BytesSent: 8, PacketsReceived: 9, PacketsSent: 10, MessagesReceived: 11, MessagesSent: 12, Dropped: 13,
		Accepted: 14, TurnedAway: 15, Refused: 16, Panics: 17,
		Store: broker.StoreFigures{Path: "retained.db", Bytes: 18, Live: 19, Waiting: 20, Flushed: time.Unix(2000, 5e8), Trouble: "the disk is full"},
	}
}

func house() metrics.House {
	return metrics.House{
		Leading: true, Term: 21,
		Domains: map[string]int{"online": 22, "lost": 0}, Services: map[string]int{"ready": 23}, Alerts: map[string]int{"warning": 24},
	}
}

// ours are the lines about the house and the broker, in the order of names.
func ours(text string) []string {
	return regexp.MustCompile(`(?m)^dominion_.*$`).FindAllString(text, -1)
}

func TestMetrics(t *testing.T) {
	h := metrics.New(metrics.Sources{Version: "1.2.3", Broker: figures, House: house})
	text := scrape(t, h)
	want := `dominion_broker_accepted_connections_total 14
dominion_broker_connections 1
dominion_broker_connections_most 2
dominion_broker_dropped_messages_total 13
dominion_broker_panics_total 17
dominion_broker_received_bytes_total 7
dominion_broker_received_messages_total 11
dominion_broker_received_packets_total 9
dominion_broker_refusals_total 16
dominion_broker_retained_bytes 6
dominion_broker_retained_messages 5
dominion_broker_sent_bytes_total 8
dominion_broker_sent_messages_total 12
dominion_broker_sent_packets_total 10
dominion_broker_sessions 3
dominion_broker_start_time_seconds 1000
dominion_broker_store_bytes 18
dominion_broker_store_flush_time_seconds 2000.5
dominion_broker_store_live_bytes 19
dominion_broker_store_trouble 1
dominion_broker_store_waiting_messages 20
dominion_broker_subscriptions 4
dominion_broker_turned_away_connections_total 15
dominion_build_info{version="1.2.3"} 1
dominion_house_alerts{severity="warning"} 24
dominion_house_domains{judgement="lost"} 0
dominion_house_domains{judgement="online"} 22
dominion_house_leading 1
dominion_house_services{phase="ready"} 23
dominion_house_term 21`
	if diff := cmp.Diff(strings.Split(want, "\n"), ours(text)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	for _, name := range []string{"go_goroutines", "process_start_time_seconds"} {
		if !strings.Contains(text, "\n"+name+" ") {
			t.Errorf("no %s", name)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestWhatThereIsNot(t *testing.T) {
	nothing := func() metrics.House { return metrics.House{} }
	for _, line := range ours(scrape(t, metrics.New(metrics.Sources{House: nothing}))) {
		if strings.HasPrefix(line, "dominion_broker_") {
			t.Errorf("on another's broker: %s", line)
		}
	}
	for _, line := range ours(scrape(t, metrics.New(metrics.Sources{House: nothing, Broker: func() broker.Figures { return broker.Figures{} }}))) {
		if strings.Contains(line, "store") || strings.Contains(line, "start_time") {
			t.Errorf("without a store, before the start: %s", line)
		}
	}
}
