package route

import "slices"

// roundRobin gives each host calls in turn, by its weight: one of weight 2 gets twice as
// many as one of weight 1. Where hosts differ in speed, the slowest sets the pace of all.
func roundRobin(_ Need, hosts []Host) {
	slices.SortStableFunc(hosts, byTurn)
}
