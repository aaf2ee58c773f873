// Counter publishes its state every two seconds, and shows it on a page. It
// needs Go's standard library alone.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err) // it is started again
	}
}

// run counts until ctx ends. The error is what the broker or the port has
// against it.
func run(ctx context.Context) error {
	bus, err := dial(os.Getenv("DOMINION_URL"), os.Getenv("DOMINION_CA"))
	if err != nil {
		return err
	}
	defer bus.Close()
	var count atomic.Int64
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {}) // 200
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "counted to %d\n", count.Load()) })
	failed := make(chan error, 1)
	go func() { failed <- http.ListenAndServe(":"+os.Getenv("SERVICE_PORT"), nil) }()

	say := func(on bool) error {
		return bus.publish(os.Getenv("SERVICE_TOPIC")+"/state", fmt.Sprintf(`{"count":%d,"on":%t}`, count.Load(), on))
	}
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		if err := say(true); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return say(false) // its leave
		case err := <-failed:
			return err
		case <-tick.C:
			count.Add(1)
		}
	}
}
