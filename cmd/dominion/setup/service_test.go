package setup_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dominion/cmd/dominion/setup"
	"dominion/coordinator"
	"dominion/topics"
	"dominion/topics/terms"
)

func TestPropose(t *testing.T) {
	const start = "start:\n\t@exec ./server\n"
	known := []topics.Service{"database", "web-server", "webServer"}
	tests := []struct {
		name string
		dir  setup.Directory
		wish setup.Wish
		want setup.Proposal
	}{
		{
			name: "takes the name of the directory and one machine",
			dir:  setup.Directory{Path: "/home/ann/radio", Makefile: start},
			want: setup.Proposal{Name: "radio", Entry: coordinator.Entry{Priority: "required", Instances: 1}, Found: []string{"make start"}},
		},
		{
			name: "takes every machine that has the trait",
			dir:  setup.Directory{Path: "radio", Makefile: "build stop start:\n\ttrue\n"},
			wish: setup.Wish{Traits: []string{"speaker"}},
			want: setup.Proposal{
				Name: "radio", Entry: coordinator.Entry{Priority: "required", Traits: []string{"speaker"}},
				Found: []string{"make build", "make start", "make stop"},
			},
		},
		{
			name: "finds what listens on its port",
			dir:  setup.Directory{Path: "web", Makefile: "start:\n\tpython3 -m http.server $(SERVICE_PORT)\n"},
			want: setup.Proposal{
				Name: "web", Entry: coordinator.Entry{Priority: "required", Instances: 1, Words: terms.Words{Ready: "tcp"}},
				Found: []string{"make start", "it listens on $SERVICE_PORT"},
			},
		},
		{
			name: "takes the Makefile's port",
			dir:  setup.Directory{Path: "web", Makefile: "SERVICE_PORT ?= 8080 # as ever\n" + start},
			want: setup.Proposal{
				Name: "web", Entry: coordinator.Entry{Priority: "required", Instances: 1, Port: 8080, Words: terms.Words{Ready: "tcp"}},
				Found: []string{"make start", "its Makefile has port 8080"},
			},
		},
		{
			name: "asks nobody to start what is only observed",
			dir:  setup.Directory{Path: "mosquitto", Manifest: setup.Manifest{Outside: "mosquitto.service", Port: 1883, Ready: "tcp"}},
			want: setup.Proposal{
				Name: "mosquitto", Entry: coordinator.Entry{Priority: "external"},
				Found: []string{"it is mosquitto.service, which the house only observes", "service.toml has port 1883"},
			},
		},
		{
			name: "runs what was given to the house",
			dir:  setup.Directory{Path: "mosquitto", Manifest: setup.Manifest{Outside: "mosquitto.service", Own: true, Port: 1883, Ready: "tcp"}},
			want: setup.Proposal{
				Name: "mosquitto", Entry: coordinator.Entry{Priority: "required", Instances: 1},
				Found: []string{"it is mosquitto.service, which the house starts and stops", "service.toml has port 1883", "service.toml says when it is ready: tcp"},
			},
		},
		{
			name: "takes what has its directory elsewhere by its name",
			wish: setup.Wish{Name: "frigate", Priority: "external"},
			want: setup.Proposal{Name: "frigate", Entry: coordinator.Entry{Priority: "external"}, Found: []string{"only its name is known here"}},
		},
		{
			name: "leaves to service.toml what that says",
			dir: setup.Directory{Path: "web", Makefile: start, Manifest: setup.Manifest{
				Version: "1.2.0", Command: []string{"./server", "-v"}, Port: 8080, Ready: "delay",
			}},
			want: setup.Proposal{
				Name: "web", Entry: coordinator.Entry{Priority: "required", Instances: 1},
				Found: []string{"version 1.2.0", "service.toml starts ./server -v", "service.toml has port 8080", "service.toml says when it is ready: delay"},
			},
		},
		{
			name: "waits for the port that service.toml has",
			dir:  setup.Directory{Path: "web", Manifest: setup.Manifest{Command: []string{"./server"}, Port: 8080}},
			want: setup.Proposal{
				Name: "web", Entry: coordinator.Entry{Priority: "required", Instances: 1, Words: terms.Words{Ready: "tcp"}},
				Found: []string{"service.toml starts ./server", "service.toml has port 8080"},
			},
		},
		{
			name: "hears from the one that says it itself",
			dir:  setup.Directory{Path: "web", Makefile: start, Programs: []string{`publish(os.environ["SERVICE_TOPIC"] + "/x"); p(f"{port(SERVICE_PORT)}")`, `mosquitto_pub -t "$SERVICE_TOPIC/ready" -m "$START_ID"`}},
			want: setup.Proposal{
				Name: "web", Entry: coordinator.Entry{Priority: "required", Instances: 1, Words: terms.Words{Ready: "topic"}},
				Found: []string{"make start", "it says itself when it is ready, on $SERVICE_TOPIC/ready"},
			},
		},
		{
			name: "needs those whose address it uses, not itself",
			dir: setup.Directory{Path: "database", Makefile: start, Programs: []string{
				`os.environ["SERVICE_web_server_HOST"], os.environ["SERVICE_web_server_PORT"], "SERVICE_database_PORT"`,
			}},
			want: setup.Proposal{
				Name: "database", Entry: coordinator.Entry{Priority: "required", Instances: 1, Dependencies: []string{"web-server"}},
				Found: []string{"make start", "it uses the address of web-server"},
			},
		},
		{
			name: "doubts what the house does not know",
			dir:  setup.Directory{Path: "web", Makefile: "include common.mk\nrun = $(SERVICE_queue_HOST)\n"},
			want: setup.Proposal{
				Name: "web", Entry: coordinator.Entry{Priority: "required", Instances: 1},
				Doubt: []string{
					"no target start is in the Makefile itself: is it in one that it includes?",
					"it uses SERVICE_queue_HOST or _PORT, but the house knows no service queue yet",
				},
			},
		},
		{
			name: "does as it is told",
			dir:  setup.Directory{Path: "web", Makefile: "SERVICE_PORT = 8080\n" + start + "x := $(SERVICE_database_HOST)\n"},
			wish: setup.Wish{Name: "page", Priority: "dependency", Instances: 2, Dependencies: []string{"webServer:started"}, Port: 80, Ready: "delay"},
			want: setup.Proposal{
				Name:  "page",
				Entry: coordinator.Entry{Priority: "dependency", Instances: 2, Dependencies: []string{"webServer:started"}, Port: 80, Words: terms.Words{Ready: "delay"}},
				Found: []string{"make start"},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := setup.Propose(tt.dir, tt.wish, known)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestProposeRefuses(t *testing.T) {
	tests := []struct {
		name string
		dir  setup.Directory
		want string
	}{
		{"an empty directory", setup.Directory{Path: "radio"}, "neither a Makefile nor a service.toml with a command"},
		{"a Makefile that starts nothing", setup.Directory{Path: "radio", Makefile: "start := 1\nstarts:\n\ttrue\nrestart : x\n\tstart: no\n"}, "Makefile without a target start"},
		{"a name that is none", setup.Directory{Path: "my radio", Makefile: "start:\n"}, "--name"},
		{"a name that is taken by the bus", setup.Directory{Path: "state", Makefile: "start:\n"}, "--name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := setup.Propose(tt.dir, setup.Wish{}, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("proposes %+v, %v; want an error with %q", p, err, tt.want)
			}
		})
	}
}

func TestTOML(t *testing.T) {
	tests := []struct {
		entry coordinator.Entry
		want  string
	}{
		{coordinator.Entry{Priority: "required"}, "# Runs on every machine.\n[services.x]\npriority = \"required\"\n"},
		{
			coordinator.Entry{Priority: "required", Instances: 2, Traits: []string{"a", "b"}, Dependencies: []string{"c:started"}, Port: 80, Words: terms.Words{Ready: "tcp"}},
			"# Runs on 2 machines, each one that has the traits a, b.\n[services.x]\npriority = \"required\"\ndependencies = [\"c:started\"]\ntraits = [\"a\", \"b\"]\ninstances = 2\nport = 80\nready = \"tcp\"\n",
		},
		{coordinator.Entry{Priority: "required", Traits: []string{"a"}}, "# Runs on every machine that has the trait a.\n[services.x]\npriority = \"required\"\ntraits = [\"a\"]\n"},
		{coordinator.Entry{Priority: "required", Instances: 3}, "# Runs on 3 machines.\n[services.x]\npriority = \"required\"\ninstances = 3\n"},
		{coordinator.Entry{Priority: "dependency"}, "# Runs on one machine, while another service needs it.\n[services.x]\npriority = \"dependency\"\n"},
		{coordinator.Entry{Priority: "manual"}, "# Runs on one machine, when somebody says so (dominion start).\n[services.x]\npriority = \"manual\"\n"},
		{coordinator.Entry{Priority: "external"}, "# Runs without the house, which only watches it.\n[services.x]\npriority = \"external\"\n"},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, setup.Proposal{Name: "x", Entry: tt.entry}.TOML()); diff != "" {
			t.Errorf("%+v: %s", tt.entry, diff)
		}
	}
}
