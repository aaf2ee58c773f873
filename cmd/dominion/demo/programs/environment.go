package programs

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"dominion/topics"
)

// The demo's services.
const (
	NPBar             topics.Service = "npBar"             // a lamp, required where there is one
	LightOrchestrator topics.Service = "lightOrchestrator" // tells lamps what to show
	WebServer         topics.Service = "webServer"         // a page of the house
)

// Version is what the services say of themselves.
const Version = "1.0.0"

// FolderVariable names, in a service's environment, the folder of the demo it
// belongs to. A service without it belongs to none, and ends only when told.
const FolderVariable = "DEMO_FOLDER"

// Lock is the file in a demo's folder that the demo holds as long as it lives.
func Lock(folder string) string { return filepath.Join(folder, "lock") }

// environment is what an agent gives a service that it starts.
type environment struct {
	service topics.Service
	domain  topics.Node
	broker  string
	space   topics.Space
	port    int
	start   string
	folder  string
}

func readEnvironment(environ []string) (environment, error) {
	vars := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	for _, name := range []string{"SERVICE", "DOMAIN", "DOMINION_URL", "START_ID", "SERVICE_PORT"} {
		if vars[name] == "" {
			return environment{}, fmt.Errorf("environment has no %s (an agent starts this program: dominion demo)", name)
		}
	}
	port, err := strconv.Atoi(vars["SERVICE_PORT"])
	if err != nil {
		return environment{}, fmt.Errorf("SERVICE_PORT: %w", err)
	}
	return environment{
		service: topics.Service(vars["SERVICE"]),
		domain:  topics.Node(vars["DOMAIN"]),
		broker:  vars["DOMINION_URL"],
		space:   topics.Space{Base: topics.Base(vars["DOMINION_BASE"])},
		port:    port,
		start:   vars["START_ID"],
		folder:  vars[FolderVariable],
	}, nil
}

// topic is one of the instance's own topics.
func (e environment) topic(name string) string {
	return e.space.ServiceTopic(e.service, e.domain) + "/" + name
}
