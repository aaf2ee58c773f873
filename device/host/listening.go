package host

import (
	"context"
	"net"
	"slices"

	gonet "github.com/shirou/gopsutil/v4/net"
)

// Listening has the TCP ports that processes listen on where others reach
// them or on loopback, by pid. Whose a port is is hidden from users that are
// neither root nor its owner: those stand under 0.
func Listening(ctx context.Context) (map[int][]int, error) {
	all, err := gonet.ConnectionsWithoutUidsWithContext(ctx, "tcp")
	if err != nil {
		return nil, err
	}
	ports := map[int][]int{}
	for _, c := range all {
		pid, port := int(c.Pid), int(c.Laddr.Port)
		if c.Status == "LISTEN" && net.ParseIP(c.Laddr.IP) != nil && !slices.Contains(ports[pid], port) {
			ports[pid] = append(ports[pid], port)
		}
	}
	for _, of := range ports {
		slices.Sort(of)
	}
	return ports, nil
}
