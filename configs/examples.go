package configs

import _ "embed" // for the example files

// The variables are what go:embed can fill; nothing writes them.
var (
	//go:embed dominion.example.toml
	dominionExample string
	//go:embed domain.example.toml
	domainExample string
	//go:embed service.example.toml
	serviceExample string
)

// DominionExample is dominion.example.toml, a commented file with every setting of the leader and its default, which Load
// reads without an error.
func DominionExample() string { return dominionExample }

// DomainExample is domain.example.toml, the same for the agent.
func DomainExample() string { return domainExample }

// ServiceExample is service.example.toml, the same for a service's own service.toml.
func ServiceExample() string { return serviceExample }
