package route

import (
	"cmp"
	"slices"
)

// roundRobin favours the host whose last call began longest ago. Where hosts differ,
// the slowest sets the pace of all.
func roundRobin(_ Need, hosts []Host) {
	slices.SortStableFunc(hosts, byTurn)
}

func byTurn(a, b Host) int { return cmp.Compare(a.Order, b.Order) }
