package device

import (
	"context"

	"dominion/topics"
)

// WatchLive is the loop that looks at a ready service.
func WatchLive(ctx context.Context, rule topics.Liveness, try func(context.Context) error, tell func(err error, over bool)) {
	watchLive(ctx, rule, false, try, func(p pulse) { tell(p.err, p.over) })
}
