package backend

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// creditRest is for how long a provider is not asked again whose account has no credit left:
// long enough to spare vain requests, and short enough for somebody who has just paid.
const creditRest = 5 * time.Minute

// RestTime is for how long a server that refuses a request is to be left alone, by the class
// of the refusal and its body; 0 if it does not say. A header that says so takes precedence.
func RestTime(class Class, body string) time.Duration {
	switch class {
	case Overload:
		return waitIn(body)
	case NoCredit:
		return creditRest
	}
	return 0
}

// waitMember finds the time to wait as a member of JSON, such as Google's "retryDelay": "46s",
// "retry_after": 5 or "estimated_time": 20.5. JSON in a text has backslashes before its quotes.
var waitMember = regexp.MustCompile(`\\*"(?:retry[ _-]?(?:delay|after|in)|estimated_time|wait[ _-]?time)([ _-]?[a-z]+)?\\*"\s*:[\s\\"]*([0-9][0-9a-z. ]*)`)

// waitWords finds where the time to wait begins in a sentence, such as OpenAI's "Please try
// again in 1.2s".
var waitWords = regexp.MustCompile(`\b(?:again|retry\w*|wait\w*|resets?|available)\b[\s:]*(?:(?:in|after|for|at|least|about|approximately|around|another|the|next|your|requests?)\b[\s:]*)*([0-9])`)

// waitPart is a number and its unit.
var waitPart = regexp.MustCompile(`^(?:[\s,]|and\b)*([0-9]+(?:\.[0-9]+)?)[\s-]*([a-z]*)`)

// waitUnits are the units of times to wait.
var waitUnits = map[string]time.Duration{
	"ms": time.Millisecond, "msec": time.Millisecond, "msecs": time.Millisecond, "millis": time.Millisecond,
	"millisecond": time.Millisecond, "milliseconds": time.Millisecond,
	"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hrs": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
}

// waitIn is the time to wait that a body names, 0 if it names none.
func waitIn(body string) time.Duration {
	const most = 8 << 10 // bytes
	body = strings.ToLower(body[:min(len(body), most)])
	if found := waitMember.FindStringSubmatch(body); found != nil {
		unit, ok := waitUnits[strings.TrimLeft(found[1], " _-")]
		if !ok {
			unit = time.Second
		}
		return sumOfParts(found[2], unit)
	}
	if at := waitWords.FindStringSubmatchIndex(body); at != nil {
		return sumOfParts(body[at[2]:], 0)
	}
	return 0
}

// sumOfParts is the time at the beginning of a text, such as "1.2s", "6m0s" or "2 minutes and
// 5 seconds". A number without a unit is of the one given, and ends it.
func sumOfParts(text string, unit time.Duration) (sum time.Duration) {
	const longest = float64(365 * 24 * time.Hour)
	for {
		found := waitPart.FindStringSubmatch(text)
		if found == nil {
			return sum
		}
		of, ok := waitUnits[found[2]]
		if !ok && sum == 0 && found[2] == "" {
			of = unit
		}
		n, err := strconv.ParseFloat(found[1], 64)
		if n = math.Round(n * float64(of)); err != nil || of == 0 || n > longest {
			return sum
		}
		sum += time.Duration(n)
		if !ok || float64(sum) > longest {
			return min(sum, time.Duration(longest))
		}
		text = text[len(found[0]):]
	}
}
