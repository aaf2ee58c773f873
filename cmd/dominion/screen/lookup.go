package screen

import (
	"strings"

	"dominion/topics"
)

// Lookup is where a service is reached: host:port, one ready instance a line.
func Lookup(l topics.Lookup) string {
	var b strings.Builder
	for _, e := range l.Endpoints {
		b.WriteString(clean(address(e.Host, e.Port)) + "\n")
	}
	if len(l.Endpoints) == 0 && l.Ready > 0 {
		b.WriteString(clean(address(l.Host, l.Port)) + "\n")
	}
	return b.String()
}

// Missing is the sentence for a service without a ready instance.
func Missing(v View, name topics.Service) (text, next string) {
	text, next = string(name)+" has no ready instance", whyCommand+string(name)
	if sum, ok := v.House.Summary(name, v.Now); ok {
		text += ": it is " + string(sum.Phase)
		if sum.Why != nil {
			text += ", " + clean(sum.Why.Text)
		}
	}
	return text, next
}
