package topics

// LogLines is <node>/event/log/<subject>, QoS 1: lines that a service printed,
// or the node itself (subject host), for who asked for them with the command
// tail. Stream is the word of that command, Seq counts its messages from 1.
// Skipped is how many bytes before Lines were left out; after Last no more come.
type LogLines struct {
	V       V        `json:"v"`
	Stream  string   `json:"stream"`
	Service Service  `json:"service,omitempty"`
	Seq     int      `json:"seq"`
	Lines   []string `json:"lines"`
	Skipped int64    `json:"skipped,omitempty"`
	Last    bool     `json:"last,omitempty"`
}

func (l LogLines) check() error {
	if l.Stream == "" {
		return missing("stream")
	}
	return nil
}
