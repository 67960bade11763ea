package route

import (
	"cmp"
	"slices"
)

// leastBusy favours the host with the smallest part of its slots taken. It asks all
// hosts rather than two at random, which is no better until there are many.
func leastBusy(_ Need, hosts []Host) {
	slices.SortStableFunc(hosts, func(a, b Host) int {
		return cmp.Or(byLoad(a, b), byCost(a, b), byTurn(a, b))
	})
}

// byLoad compares Busy/Slots without dividing.
func byLoad(a, b Host) int { return cmp.Compare(a.Busy*b.Slots, b.Busy*a.Slots) }
