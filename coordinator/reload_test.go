package coordinator_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"dominion/coordinator"
	"dominion/topics"

	"github.com/google/go-cmp/cmp"
)

func TestReloadTakesOverWhatIsNewAndNothingThatIsFaulty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus()
		var fault error
		next, faults := coordinator.NewCatalogue(map[string]coordinator.Entry{"clock": {Priority: coordinator.Required, Traits: []string{"compute"}}})
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		l := lead(t, b, t.TempDir(), chain(t), func(c *coordinator.Config) {
			c.Reload = func() (*coordinator.Catalogue, error) { return next, fault }
		})
		defer l.stop()
		b.connect("s1")
		b.born("attic", "attic1", "compute")
		time.Sleep(4 * time.Second)

		fault = errors.New("house.toml:3: is nonsense")
		b.told()
		b.asks("reload", "catalogue", "now")
		b.asks("reload", "house", "now")
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"refused BAD_PAYLOAD", "refused UNKNOWN_METHOD"}, b.replies()); diff != "" {
			t.Errorf("replies:\n%s", diff)
		}
		if s := b.summary(t, "webServer"); s.Phase == topics.SummaryOrphaned {
			t.Error("a faulty catalogue was taken over")
		}

		fault = nil
		b.asks("reload", "catalogue", "now")
		time.Sleep(2 * time.Second)
		if diff := cmp.Diff([]string{"accepted", "done"}, b.replies()); diff != "" {
			t.Errorf("replies:\n%s", diff)
		}
		if !b.document(t, "attic").Services["clock"].Run {
			t.Error("the new service is not wanted on attic")
		}
	})
}
