package screen

import "dominion/topics"

// Sentence is a service's summary in one line: "webServer is waiting on
// attic: waits for database".
func Sentence(s topics.Summary) string {
	return clean(summarised(s))
}

func summarised(s topics.Summary) string {
	text := string(s.Service) + " is " + phase(s)
	if len(s.Where) > 0 {
		text += " on " + places(s.Where)
	}
	return text + because(s.Why)
}
