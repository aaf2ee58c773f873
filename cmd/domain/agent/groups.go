package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"github.com/rs/zerolog"

	"dominion/device/cgroup"
	"dominion/device/systemd"
)

// groups are the control groups that this machine gives its agent: scopes of
// systemd where that runs, else its own; nil if it gives none.
func groups(ctx context.Context, data string, log zerolog.Logger) cgroup.Maker {
	scopes, err := systemd.FindScopes(ctx)
	if err == nil {
		return scopes
	}
	if path, aerr := filepath.Abs(data); aerr == nil {
		data = path
	}
	sum := sha256.Sum256([]byte(data))
	own, oerr := cgroup.FindOwn("dominion-" + hex.EncodeToString(sum[:4]))
	if oerr == nil {
		return own
	}
	log.Debug().AnErr("systemd", err).AnErr("own", oerr).Msg("no control groups: what hides from its parents may escape, and limits do not hold")
	return nil
}
