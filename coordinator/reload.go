package coordinator

import (
	"context"
	"fmt"

	"dominion/topics"
)

// reload reads the catalogue again. A faulty one changes nothing.
func (c *Coordinator) reload(ctx context.Context, r topics.Request) {
	if r.Subject != "catalogue" {
		c.refuse(ctx, r, topics.FaultUnknown, fmt.Sprintf("%q cannot be reloaded", r.Subject), "reload/catalogue")
		return
	}
	if c.cfg.Reload == nil {
		c.refuse(ctx, r, topics.FaultUnknown, "this leader was given its catalogue for good", "restart it")
		return
	}
	read, err := c.cfg.Reload()
	if err != nil {
		c.refuse(ctx, r, topics.FaultBad, fmt.Sprintf("the configuration has faults, and the catalogue stays as it is: %v", err), "dominion check FILE")
		return
	}
	c.reply(ctx, r, topics.Reply{Status: topics.Accepted})
	c.cfg.Catalogue = read
	for _, s := range read.Services() {
		delete(c.memory.Removed, s)
	}
	c.dirty = true
	result := fmt.Sprintf("%d services are in the catalogue", len(read.Services()))
	if len(read.Services()) == 1 {
		result = "1 service is in the catalogue"
	}
	c.done(ctx, r, result)
}
