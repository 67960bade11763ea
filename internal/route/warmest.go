package route

import (
	"cmp"
	"slices"
)

// warmest favours a host that holds the model already: reading forty gigabytes
// from disk costs more than waiting a turn. Among equals the least busy wins, and those
// who are so take turns, so that models and calls spread over the hosts.
func warmest(_ Need, hosts []Host) {
	slices.SortStableFunc(hosts, func(a, b Host) int {
		return cmp.Or(yesFirst(a.Warm, b.Warm), byLoad(a, b), byTurn(a, b))
	})
}

func yesFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}
