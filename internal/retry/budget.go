// Package retry says whether a failed call may be tried again, and when.
//
// It promises that retries stay a small part of all calls, however many fail, and that
// they are spread over time. It has no lock, clock or goroutine.
// Which failures another try could cure is left to package pool.
package retry

import "time"

// seconds is how long calls and retries count: Finagle's deposits live for as long.
const seconds = 10

// Budget allows retries as a part of the calls of the last ten seconds. Use NewBudget
// to make one; it is not safe for concurrent use.
type Budget struct {
	ratio float64
	floor int

	// slots counts what happened in each of the last seconds, by the second modulo
	// their number.
	slots [seconds]struct{ calls, retries int }
	at    int64 // Unix time of the latest second
}

// NewBudget makes a budget of floor retries and a part of the calls, both in any ten
// seconds. Envoy's and failsafe-go's are 0.2 and 3.
func NewBudget(ratio float64, floor int) *Budget {
	return &Budget{ratio: ratio, floor: floor}
}

// Call counts a call that begins, its first try only.
func (b *Budget) Call(now time.Time) { b.slot(now).calls++ }

// Take reports whether there is a retry left, and takes it.
func (b *Budget) Take(now time.Time) bool {
	if b.Left(now) < 1 {
		return false
	}
	b.slot(now).retries++
	return true
}

// Left is how many retries may be taken now.
func (b *Budget) Left(now time.Time) int {
	b.slot(now)
	var calls, retries int
	for _, s := range b.slots {
		calls += s.calls
		retries += s.retries
	}
	return max(0, b.floor+int(b.ratio*float64(calls))-retries)
}

// slot is the count of the present second. It forgets those too long ago.
func (b *Budget) slot(now time.Time) *struct{ calls, retries int } {
	second := max(now.Unix(), b.at)
	for i := max(b.at+1, second-seconds+1); i <= second; i++ {
		b.slots[i%seconds] = struct{ calls, retries int }{}
	}
	b.at = second
	return &b.slots[second%seconds]
}
