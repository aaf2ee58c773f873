package broker_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"dominion/broker"
)

// Readings, which come again, do not wear the disk out.
func TestWhatNeedNotSurviveIsNotWritten(t *testing.T) {
	dir := t.TempDir()
	s, stop := startAndStop(t, func(o *broker.Options) { o.Data = dir })
	const reading, fact = "dominion/attic/state/host", "dominion/attic/state/info"
	for _, topic := range []string{reading, fact} {
		if err := s.Inject(topic, []byte("{}"), true, 1); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]bool{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{reading, fact} {
			written[topic] = written[topic] || bytes.Contains(content, []byte(topic))
		}
	}
	if written[reading] || !written[fact] {
		t.Errorf("on the disk: %v; want the fact alone", written)
	}
}
