package cgroup

// What only a machine of another kind can show otherwise.
var (
	Unified = unified
	FindIn  = own
)

// Home is where the groups are made.
func (o Own) Home() string { return o.home }
