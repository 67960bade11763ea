package retry

import (
	"math/rand/v2"
	"time"
)

const (
	base    = 250 * time.Millisecond
	longest = 5 * time.Second
)

// Backoff is how long to wait before the attempt-th retry, the first being 1: a random
// part of a time that doubles from 250 ms up to 5 s. That is the "full jitter" of AWS,
// which spreads retries best. What a host asked for with Retry-After comes on top, so
// that callers who were told the same do not return together.
func Backoff(attempt int, retryAfter time.Duration, rnd *rand.Rand) time.Duration {
	most := longest
	if doublings := max(0, attempt-1); doublings < 10 {
		most = min(longest, base<<doublings)
	}
	return max(0, retryAfter) + time.Duration(rnd.Int64N(int64(most)+1))
}
