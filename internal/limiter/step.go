package limiter

import "math/bits"

// Trials go by the steps 1, 2, 3, 4, 6, 8, 12, 16, 24 and so on: each is large enough to
// be told from noise, and how many calls a host works on at once is mostly a power of 2.

// above is the next step after n.
func above(n int) int {
	power := 1 << (bits.Len(uint(n)) - 1) // at most n
	if half := power + power/2; n < half {
		return half
	}
	return 2 * power
}

// below is the last step before n, or 0.
func below(n int) int {
	power := (1 << bits.Len(uint(n-1))) / 2 // less than n
	if half := power + power/2; n > half {
		return half
	}
	return power
}
