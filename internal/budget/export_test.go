package budget

import "time"

// WaitForLocks sets how long updates of all ledgers wait for other programs.
func WaitForLocks(d time.Duration) { lockTimeout = d }
